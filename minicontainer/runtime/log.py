"""The log of a command: the file that `--log` names, for the program that called us, and one line on stderr.

Several processes append to the same file, so a message is one write(2). The caller shows its user the last
message of level error.

See runc(8) "--log", "--log-format".
"""

from __future__ import annotations

import posix
import time

from minicontainer.trace.json_lines import dumps


class Log:
    """Where messages go, once the command line has said so."""

    __slots__ = ("debugging", "format", "path")

    def __init__(self) -> None:
        self.path = ""
        self.format = "text"
        self.debugging = False

    def write(self, level: str, message: str) -> None:
        """Append one message to the log file, if there is one."""
        if not self.path:
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.format == "json":
            line = dumps({"level": level, "msg": message, "time": now})
        else:
            line = f"time={dumps(now)} level={level} msg={dumps(message)}"
        fd = posix.open(self.path, posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC, 0o644)
        try:
            posix.write(fd, (line + "\n").encode())
        finally:
            posix.close(fd)


log = Log()


def warn(message: str) -> None:
    """Log something that did not stop the command; without a log file it is said on stderr."""
    if log.path:
        log.write("warning", message)
    else:
        posix.write(2, f"minicontainer-runtime: warning: {one_line(message)}\n".encode())


def one_line(message: str) -> str:
    """Write out what would end the line or steer a terminal: a message quotes what a config says."""
    if message.isprintable():
        return message
    shown = [sign if sign.isprintable() else " " if sign == "\n" else repr(sign)[1:-1] for sign in message]
    return "".join(shown)


def debug(message: str) -> None:
    """Log something that only `--debug` wants to know."""
    if log.debugging:
        log.write("debug", message)


def fail(message: str) -> None:
    """Log what made the command fail, and say it in one line on stderr."""
    text = one_line(message)
    try:
        log.write("error", text)
    except OSError as problem:
        text += f" (and the log {log.path} cannot be written: {posix.strerror(problem.errno or 0)})"
    posix.write(2, f"minicontainer-runtime: {text}\n".encode("utf-8", "backslashreplace"))
