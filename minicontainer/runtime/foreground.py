"""Staying with a container: what `run` and `exec` do until the program ends, when they are not detached.

Signals that we get are the program's; its end is our exit code. The status comes by waitpid(2), which nobody
else can take from us: the process is our child.

See runc(8) "run"; signal(7), pidfd_open(2).
"""

from __future__ import annotations

import _signal
import posix
import select

from minicontainer.errors import KernelError
from minicontainer.linux.process import pidfd_send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minicontainer.runtime.first_process import FirstProcess

# Not forwarded: those that cannot be caught, those that are about ourselves, and the child's end.
NOT_FORWARDED = (
    _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGURG, _signal.SIGXFSZ,
    _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGTRAP, _signal.SIGABRT,
    _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGTSTP, _signal.SIGCONT, _signal.SIGPROF,
)  # fmt: skip
LAST_SIGNAL = 64


def forward_signals(first: FirstProcess, on_resize: Callable[[], None] | None = None) -> None:
    """Pass on to the program whatever signal this process gets, from now on."""

    def forward(number: int, _frame: object) -> None:
        if number == _signal.SIGWINCH and on_resize:
            on_resize()
            return
        try:
            pidfd_send_signal(first.pidfd, number)
        except KernelError:
            return  # it has just ended: the wait below sees it

    for number in range(1, LAST_SIGNAL + 1):
        if number not in NOT_FORWARDED and number not in (32, 33):
            _signal.signal(number, forward)


def wait_for_end(first: FirstProcess) -> int:
    """Wait until the program has ended; returns its exit code, 128 + n for a signal."""
    _, status = posix.waitpid(first.pid, 0)
    if posix.WIFSIGNALED(status):
        return 128 + posix.WTERMSIG(status)
    return posix.WEXITSTATUS(status)


class Terminal:
    """The caller's terminal, or its streams, connected to the one that is made in the container.

    The first process sends the master through a socket pair, just as it would to a caller's console socket.
    """

    __slots__ = ("master", "old", "ours", "theirs")

    def __init__(self) -> None:
        self.ours = self.theirs = self.master = -1
        self.old: list[Any] = []

    def open(self) -> int:
        """Make the socket pair; returns the end for the first process."""
        import _socket

        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self.ours, self.theirs = ours.detach(), theirs.detach()
        return self.theirs

    def receive(self) -> None:
        """Take over the master, once the first process has sent it, and make our own side raw."""
        if self.ours < 0:
            return
        from minicontainer.linux.terminals import raw_mode, receive_descriptor

        self.master, _ = receive_descriptor(self.ours)
        posix.close(self.ours)
        self.ours = -1
        if posix.isatty(0):
            self.resize()
            self.old = raw_mode(0)

    def resize(self) -> None:
        """Give the container's terminal the size of ours."""
        if self.master >= 0 and posix.isatty(0):
            from minicontainer.linux.terminals import set_window_size, window_size

            set_window_size(self.master, *window_size(0))

    def restore(self) -> None:
        """Leave the caller's terminal as it was."""
        if self.old:
            import termios

            from minicontainer.linux.terminals import tcsetattr

            tcsetattr(0, termios.TCSADRAIN, self.old)
            self.old = []

    def relay_until_end(self, first: FirstProcess) -> int:
        """Copy both ways until the program has ended; returns its exit code."""
        try:
            self.relay()
            return wait_for_end(first)
        finally:
            self.restore()

    def relay(self) -> None:
        """Copy between our streams and the container's terminal until its last process has closed it.

        What is typed waits here until the terminal takes it: if we waited there, while the program waits for
        us to read what it says, nobody would ever go on.
        """
        posix.set_blocking(self.master, False)
        typed, listening = b"", True
        while True:
            ready = self.wait(typed != b"", listening)
            said = read_some(self.master) if ready.get(self.master, 0) & ~select.POLLOUT else None
            if said == b"":
                return
            if said and not write_whole(1, said):
                posix.close(self.master)  # nobody listens to us any more: the program's terminal hangs up
                self.master = -1
                return
            if typed and ready.get(self.master, 0) & select.POLLOUT:
                typed = typed[write_some(self.master, typed) :]
            elif 0 in ready:
                read = read_some(0)
                typed, listening = read or b"", read != b""

    def wait(self, has_typed: bool, listening: bool) -> dict[int, int]:
        """Wait until one of the streams that matter now is ready; returns poll(2)'s answer."""
        watch = select.poll()
        watch.register(self.master, select.POLLIN | (select.POLLOUT if has_typed else 0))
        if listening and not has_typed:
            watch.register(0, select.POLLIN)
        return dict(watch.poll())


def read_some(source: int) -> bytes | None:
    """Read what is there now: None when there is nothing yet, no bytes at the end."""
    try:
        return posix.read(source, 65536)
    except BlockingIOError:
        return None
    except OSError:
        return b""  # EIO: the last process has closed the terminal


def write_some(target: int, data: bytes) -> int:
    """Write what can be written now; a terminal that is closed takes everything."""
    try:
        return posix.write(target, data)
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)


def write_whole(target: int, data: bytes) -> bool:
    """Write all of it, however long that takes; False when nobody reads it any more."""
    while data:
        try:
            data = data[posix.write(target, data) :]
        except BlockingIOError:  # our caller made it so
            watch = select.poll()
            watch.register(target, select.POLLOUT)
            watch.poll()
        except OSError:
            return False
    return True
