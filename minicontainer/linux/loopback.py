"""The loopback device of a new network namespace: it is down, and even 127.0.0.1 answers ENETUNREACH.

See network_namespaces(7), netdevice(7).
"""

from __future__ import annotations

import posix

from minicontainer.linux.ioctls import SIOCSIFFLAGS, ioctl
from minicontainer.linux.kernel import check, syscall, u32
from minicontainer.linux.numbers import SYS_socket

AF_INET = 2
SOCK_DGRAM, SOCK_CLOEXEC = 2, 0o2000000
IFF_UP, IFF_RUNNING = 0x1, 0x40
IFNAMSIZ = 16


def bring_up_loopback() -> None:
    """Switch on `lo` in the caller's network namespace."""
    control = check(syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))
    try:
        ioctl(control, SIOCSIFFLAGS, interface_request("lo", IFF_UP | IFF_RUNNING))
    finally:
        posix.close(control)


def interface_request(name: str, number: int = 0) -> bytes:
    """Write a struct ifreq: a name, and a flag word or an index."""
    return name.encode()[: IFNAMSIZ - 1].ljust(IFNAMSIZ, b"\0") + u32(number) + bytes(20)
