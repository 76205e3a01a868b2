"""What the runtime and the container's first process say to each other: two pipes, one letter a message.

    runtime                                 first process (init)
      |  clone3 --------------------------->  |
      |  maps ids, sets limits, records pid   |  (a stage in between says the pid: PID)
      |  GO --------------------------------> |  mounts, devices
      |  <------------------------- HOOKS ME  |  only when there are hooks for the host's side
      |  prestart, createRuntime; GO -------> |  createContainer hooks, pivot_root, identity
      |  <--------------------------- LISTEN  |  only with a seccomp listener
      |  <---------------------------- READY  |
      |  GO, perhaps said ahead ------------> |  [`start`,] startContainer hooks, execve closes the pipe

FAILED and a line of JSON may come at any time. The end of a pipe is the other side's death: no endless wait.
See runtime-spec, runtime.md "Lifecycle"; pipe(7).
"""

from __future__ import annotations

import posix

from minicontainer.errors import Error, KernelError, Refused, SpecError, Unsupported
from minicontainer.trace.events import steps
from minicontainer.trace.json_lines import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

GO, HOOKS_ME, READY, LISTEN, FAILED, PID, MAP_ME, EXEC = b"g", b"h", b"r", b"l", b"e", b"p", b"m", b"x"
NUMBER = 12  # digits of a pid or descriptor that follow PID and LISTEN


class Channel:
    """One end of the conversation."""

    __slots__ = ("reading", "writing")

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self.writing = writing

    def say(self, message: bytes) -> None:
        """Say a message. Raises BrokenPipeError when the other side is gone (SIGPIPE is ignored)."""
        posix.write(self.writing, message)

    def hear(self) -> bytes:
        """Wait for the next message; empty when the other side is gone or has become another program."""
        return posix.read(self.reading, 1)

    def hear_number(self) -> int:
        """Read the number that follows PID or LISTEN."""
        return int(posix.read(self.reading, NUMBER))

    def hear_all(self) -> bytes:
        """Read what is said until the end."""
        said = b""
        while part := posix.read(self.reading, 65536):
            said += part
        return said

    def close(self) -> None:
        """Close both pipes."""
        posix.close(self.reading)
        posix.close(self.writing)
        self.reading = self.writing = -1


def channel_pair() -> tuple[Channel, Channel]:
    """Make both ends: the runtime's and the first process's."""
    to_init, from_runtime = posix.pipe2(posix.O_CLOEXEC)
    to_runtime, from_init = posix.pipe2(posix.O_CLOEXEC)
    return Channel(to_runtime, from_runtime), Channel(to_init, from_init)


def with_number(message: bytes, number: int) -> bytes:
    """Append a number in its fixed width."""
    return message + str(number).zfill(NUMBER).encode()


FAMILY = {"Error": Error, "SpecError": SpecError, "Unsupported": Unsupported, "Refused": Refused}


def failure_report(problem: BaseException) -> bytes:
    """Write a failure so that the other side can raise it: numbers and names, no text is made here."""
    told: dict[str, object] = {"step": steps[-1] if steps else ""}
    if isinstance(problem, KernelError):
        shown = [len(value) if isinstance(value, bytes) else value for value in problem.arguments]
        told.update(call=problem.call, errno=problem.errno, arguments=shown)
    elif isinstance(problem, Error):
        told.update(kind=type(problem).__name__, message=problem.message, hint=problem.hint)
    elif isinstance(problem, OSError):
        what = problem.filename or "the container's first process"
        told.update(kind="Error", message=f"{what}: {posix.strerror(problem.errno or 0)}", hint="")
    else:
        told.update(kind="Bug", message=f"{type(problem).__name__}: {problem}")
    return FAILED + dumps(told).encode()


def raise_reported(report: bytes) -> NoReturn:
    """Raise what the other side reported."""
    from minicontainer.oci.json_text import loads

    told = loads(report, ours=True)
    if not isinstance(told, dict):
        raise RuntimeError(f"the container's first process reported {report!r}")
    if "call" in told:
        raise KernelError(told["errno"], told["call"], told["arguments"], told["step"])
    if told["kind"] == "Bug":
        raise RuntimeError(f"in the container's first process, {told['step']}: {told['message']}")
    if told["kind"] == "SpecError":
        raise SpecError("", told["message"], told["hint"])
    raise FAMILY.get(told["kind"], Error)(told["message"], told["hint"])
