"""Terminals: a pair of devices, of which the container gets one end and the caller the other.

    conmon, containerd, our own `run -t`  <-- master   slave -->  0, 1, 2 and /dev/console of the container

The slave is asked of the master itself (TIOCGPTPEER), never opened by its name: a name inside the container's
root may be a link that leads elsewhere (CVE-2025-52565).

See pty(7), ioctl_tty(2), devpts in <Documentation/filesystems/devpts.rst>, unix(7) "SCM_RIGHTS", termios(3).
"""

from __future__ import annotations

import posix

from minicontainer.errors import Refused
from minicontainer.linux.ioctls import (
    TIOCGPTN,
    TIOCGPTPEER,
    TIOCGWINSZ,
    TIOCSCTTY,
    TIOCSPTLCK,
    TIOCSWINSZ,
    ask,
    ioctl,
)
from minicontainer.linux.kernel import address, check, keep, kernel_call, long, syscall, u32, u64
from minicontainer.linux.numbers import SYS_sendmsg
from minicontainer.linux.paths import fchown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TERMINAL_FLAGS = posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC
PTMX_DEVICE = 5 << 8 | 2
S_IFMT, S_IFCHR = 0o170000, 0o020000
SOL_SOCKET, SCM_RIGHTS = 1, 1
MSG_NOSIGNAL = 0x4000


def open_terminal(devpts: int) -> tuple[int, int]:
    """Make a new terminal on the devpts whose root directory is `devpts`; return (master, slave)."""
    found = posix.stat("ptmx", dir_fd=devpts, follow_symlinks=False)
    # Opening a FIFO that somebody put there instead would never come back.
    if found.st_mode & S_IFMT != S_IFCHR or found.st_rdev != PTMX_DEVICE:
        raise Refused("/dev/pts/ptmx: not the terminal multiplexer, is a devpts mounted there?")
    master = posix.open("ptmx", TERMINAL_FLAGS | posix.O_NOFOLLOW, dir_fd=devpts)
    try:
        ioctl(master, TIOCSPTLCK, u32(0))
        return master, int(ioctl(master, TIOCGPTPEER, TERMINAL_FLAGS))
    except OSError:
        posix.close(master)
        raise


def terminal_number(master: int) -> int:
    """Tell the N of the slave's name /dev/pts/N."""
    return int.from_bytes(ask(master, TIOCGPTN, bytes(4)), "little")


def give_terminal(slave: int, uid: int) -> None:
    """Make the slave belong to `uid`; its group (tty, from devpts' gid=) stays."""
    fchown(slave, uid, -1)


def take_terminal(slave: int) -> None:
    """Make the slave the controlling terminal of this session, which the caller leads and which has none."""
    ioctl(slave, TIOCSCTTY, 0)


def window_size(terminal: int) -> tuple[int, int]:
    """Tell (rows, columns)."""
    size = ask(terminal, TIOCGWINSZ, bytes(8))
    return int.from_bytes(size[:2], "little"), int.from_bytes(size[2:4], "little")


def set_window_size(terminal: int, rows: int, columns: int) -> None:
    """Resize the terminal; its foreground processes get SIGWINCH."""
    ioctl(terminal, TIOCSWINSZ, rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4))


def raw_mode(terminal: int) -> list[Any]:
    """Pass every key on unread and unechoed, as cfmakeraw(3); return the old attributes for `tcsetattr`."""
    import termios as t

    old = t.tcgetattr(terminal)
    iflag, oflag, cflag, lflag, *speeds, characters = t.tcgetattr(terminal)
    iflag &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
    lflag &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
    characters[t.VMIN], characters[t.VTIME] = 1, 0
    cflag = cflag & ~(t.CSIZE | t.PARENB) | t.CS8
    tcsetattr(terminal, t.TCSADRAIN, [iflag, oflag & ~t.OPOST, cflag, lflag, *speeds, characters])
    return old


@kernel_call
def tcsetattr(terminal: int, when: int, attributes: list[Any]) -> None:
    """Set a terminal's attributes, in the form of termios.tcgetattr()."""
    import termios

    try:
        termios.tcsetattr(terminal, when, attributes)
    except termios.error as problem:
        raise OSError(problem.args[0], problem.args[1]) from None


def connect_to(path: str) -> int:
    """Connect to the stream socket at `path` (`--console-socket`); return the descriptor."""
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connection.connect(path)
        return connection.detach()
    finally:
        connection.close()


def send_descriptor(connection: int, descriptor: int, data: bytes = b"/dev/ptmx") -> None:
    """Hand an open file to the process at the other end of a unix socket, with one or more bytes `data`."""
    sendmsg(connection, data, descriptor)


@kernel_call
def sendmsg(connection: int, data: bytes, passed: int) -> int:
    """Send `data` and with it the descriptor `passed`."""
    text, control = keep(data), keep(u64(20) + u32(SOL_SOCKET, SCM_RIGHTS, passed, 0))
    vector = keep(u64(address(text), len(data)))
    header = keep(u64(0, 0, address(vector), 1, address(control), 24, 0))
    return check(syscall(SYS_sendmsg, connection, long(address(header)), MSG_NOSIGNAL))


def receive_descriptor(connection: int) -> tuple[int, bytes]:
    """Take what `send_descriptor` sent; return (descriptor, data), -1 when the other end sent none."""
    import _socket

    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, connection)
    try:
        data, control, _flags, _sender = channel.recvmsg(4096, 24, _socket.MSG_CMSG_CLOEXEC)
    finally:
        channel.detach()
    rights = [bytes(item[2]) for item in control if item[:2] == (SOL_SOCKET, SCM_RIGHTS)]
    return (int.from_bytes(rights[0][:4], "little") if rights else -1), data
