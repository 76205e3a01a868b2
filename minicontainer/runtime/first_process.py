"""A process on its way into a container, as the runtime sees it from outside: a handle, and the answers.

The first process and those of `exec` report alike; the letters are drawn in channel.py.

See pidfd_open(2).
"""

from __future__ import annotations

import posix

from minicontainer.errors import Error, KernelError
from minicontainer.linux.process import pidfd_send_signal
from minicontainer.runtime.channel import EXEC, FAILED, GO, HOOKS_ME, LISTEN, READY, Channel, raise_reported
from minicontainer.trace.events import step, witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SIGKILL = 9


class FirstProcess:
    """The container's first process, as the runtime sees it."""

    __slots__ = ("channel", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, channel: Channel) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel

    @step
    def kill(self) -> None:
        """Kill the first process, which cannot become the program any more.

        pidfd_send_signal(2)
        """
        try:
            pidfd_send_signal(self.pidfd, SIGKILL)
            posix.waitpid(self.pid, 0)
        except (OSError, KernelError):
            return  # it is gone already

    def reap(self) -> None:
        """Collect it after somebody else has ended it."""
        posix.waitpid(self.pid, 0)


def converse(first: FirstProcess, on_hooks: Callable[[], None], on_listener: Callable[[int], None]) -> None:
    """Answer the first process until it is ready to be started. Raises what it reports, or that it died."""
    while True:
        heard = first.channel.hear()
        if heard == READY:
            return
        if heard == HOOKS_ME:
            on_hooks()
        elif heard == LISTEN:
            on_listener(first.channel.hear_number())
        elif heard == FAILED:
            raise_reported(first.channel.hear_all())
        else:
            raise Error("the container's first process died before it was ready")
        first.channel.say(GO)


def wait_for_program(first: FirstProcess) -> None:
    """Wait, after GO, until the user's program has taken over. Raises what went wrong."""
    heard = first.channel.hear()
    if heard == EXEC:
        for witness in witnesses:
            witness.flush()
        first.channel.say(GO)
        heard = first.channel.hear()
    if heard == FAILED:
        raise_reported(first.channel.hear_all())
