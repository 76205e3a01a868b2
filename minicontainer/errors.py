"""Every failure that a user can see, as one small family of exceptions.

* Error            anything minicontainer raises on purpose: printed as one line, without a traceback
  * KernelError    a system call was refused: which one, with which arguments, and the errno
  * SpecError      the input contradicts its specification; the message names the field
  * NotFound       the named object does not exist
  * Conflict       the object exists but is in the wrong state, or exists already
  * Unsupported    this machine, or this program, cannot give what was asked for
  * Refused        the caller may not do that, or it would not be safe
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Error(Exception):
    """Base of all expected failures; `hint` tells what to try next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class KernelError(Error, OSError):
    """A refused system call.

    The text (the call as strace would print it, then the reason) is made when it is asked for: the process
    in which the call failed may be inside a container, where nothing may be imported any more.
    """

    def __init__(self, number: int, call: str, arguments: Sequence[object] = (), step: str = "") -> None:
        Error.__init__(self, call)
        self.errno = number
        self.call = call
        self.arguments = tuple(arguments)
        self.step = step

    def __str__(self) -> str:
        from minicontainer.linux.spelling import spell_failure

        return spell_failure(self.call, self.arguments, self.errno or 0)


class SpecError(Error):
    """The input contradicts the specification at `path` (for example `process.user.uid`)."""

    def __init__(self, path: str, problem: str, hint: str = "") -> None:
        super().__init__(f"{path}: {problem}" if path else problem, hint)
        self.path = path
        self.problem = problem


class NotFound(Error):
    """The named object does not exist."""


class Conflict(Error):
    """The object is in a state in which this cannot be done, or exists already."""


class Unsupported(Error):
    """This machine cannot give what was asked for."""


class Refused(Error):
    """What was asked for would not be safe, so it is not done."""
