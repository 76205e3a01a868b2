"""ioctl: the call behind what has no call of its own.

The argument is either a number, passed as it is, or bytes: a structure that the kernel
reads and may write back.

See ioctl(2), ioctl_tty(2), netdevice(7), <asm-generic/ioctls.h>, <linux/sockios.h>.
"""

from __future__ import annotations

import fcntl

from minicontainer.linux.kernel import kernel_call

TIOCSCTTY = 0x540E
TIOCGWINSZ = 0x5413
TIOCSWINSZ = 0x5414
TIOCGPTN = 0x80045430
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441

SIOCGIFFLAGS = 0x8913
SIOCGIFINDEX = 0x8933
SIOCSIFFLAGS = 0x8914


@kernel_call
def ioctl(descriptor: int, request: int, argument: int | bytes = 0) -> int | bytes:
    """Do what `request` says; return a number, or for bytes the structure as the kernel left it."""
    return fcntl.ioctl(descriptor, request, argument)


def ask(descriptor: int, request: int, block: bytes) -> bytes:
    """Read the structure `block` as the kernel fills it in: for requests that change nothing."""
    return fcntl.ioctl(descriptor, request, block)
