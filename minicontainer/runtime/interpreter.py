"""The interpreter that enters a container is never a file that the container could write to.

A program in the container can open /proc/PID/exe of whoever enters, and later write through it: for runc that
was runc (CVE-2019-5736), for us it would be the host's Python. So the runtime runs from a read-only overlay
of the interpreter's directory, mounted once per boot, where the same attack gets EROFS; where no overlay can
be mounted, from a sealed copy in memory, where it gets EPERM.

See overlayfs(5), memfd_create(2) "File sealing"; docs/decisions/0002.
"""

from __future__ import annotations

import fcntl
import posix
import sys

from minicontainer.linux.process import execve

PLACE = "/run/minicontainer-runtime/interpreter"
ST_RDONLY = 1
F_GET_SEALS, ALL_SEALS = 1034, 0xF


def is_protected() -> bool:
    """Tell whether this process runs from a file that nobody can write to, and that is not out of date."""
    running = posix.readlink("/proc/self/exe")
    if running.startswith(PLACE + "/"):
        read_only = posix.statvfs("/proc/self/exe").f_flag & ST_RDONLY
        return bool(read_only) and is_same_file("/proc/self/exe", running.removeprefix(PLACE))
    if running.startswith("/memfd:"):
        fd = posix.open("/proc/self/exe", posix.O_RDONLY | posix.O_CLOEXEC)
        seals = fcntl.fcntl(fd, F_GET_SEALS)
        posix.close(fd)
        return seals & ALL_SEALS == ALL_SEALS
    return False


def is_same_file(seen: str, real: str) -> bool:
    """Tell whether an overlay still shows what is on the host: an upgrade replaces the file below it."""
    shown, wanted = posix.stat(seen), posix.stat(real)
    return (shown.st_size, shown.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)


def protect_interpreter() -> None:
    """Start this command again from a protected interpreter, unless it runs from one."""
    if is_protected():
        return
    from minicontainer.runtime.interpreter_view import mounted_interpreter, sealed_interpreter

    interpreter = posix.readlink("/proc/self/exe").removeprefix(PLACE)
    try:
        program = mounted_interpreter(interpreter)
    except OSError:
        program = sealed_interpreter(interpreter)
    variables = {key.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape")
                 for key, value in posix.environ.items()}  # fmt: skip
    execve(program, [sys.executable or interpreter, *sys.orig_argv[1:]], variables)
