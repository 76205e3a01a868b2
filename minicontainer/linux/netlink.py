"""Netlink: letters to the kernel's network stack.

    header                                   body            attributes, each padded to 4 bytes
    length 4 | type 2 | flags 2 | seq 4 | port 4 | fixed part ... | length 2 | type 2 | value ... | ...

Only what the per-container path needs; everything else goes through pyroute2, the tests' oracle.

See netlink(7), rtnetlink(7), <linux/rtnetlink.h>.
"""

from __future__ import annotations

import posix

from minicontainer.linux.kernel import check, kernel_call, long, syscall, u32
from minicontainer.linux.numbers import SYS_sendto, SYS_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

AF_NETLINK, NETLINK_ROUTE = 16, 0
SOCK_RAW, SOCK_CLOEXEC = 3, 0o2000000
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLA_TYPE_MASK = 0x3FFF
HEADER = 16


def open_netlink(protocol: int = NETLINK_ROUTE) -> int:
    """Open a socket to the caller's network namespace."""
    return check(syscall(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol))


def attribute(kind: int, value: bytes) -> bytes:
    """Write one attribute."""
    length = len(value) + 4
    return length.to_bytes(2, "little") + kind.to_bytes(2, "little") + value + bytes(-length % 4)


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Write a message: header, then `body`."""
    return u32(len(body) + HEADER, flags << 16 | kind, 1, 0) + body


@kernel_call
def sendto(descriptor: int, request: bytes) -> None:
    """Send a request that asks to be acknowledged, and wait: what the answer says is the result."""
    check(syscall(SYS_sendto, descriptor, request, long(len(request)), 0, None, 0))
    _answers(posix.read(descriptor, 65536))


def change(descriptor: int, kind: int, flags: int, body: bytes) -> None:
    """Ask for a change. Raises KernelError with the errno of the answer."""
    sendto(descriptor, message(kind, flags | NLM_F_REQUEST | NLM_F_ACK, body))


def dump(descriptor: int, kind: int, body: bytes) -> list[bytes]:
    """Read the whole table that `kind` asks for, as the bodies of its messages."""
    request = message(kind, NLM_F_REQUEST | NLM_F_DUMP, body)
    check(syscall(SYS_sendto, descriptor, request, long(len(request)), 0, None, 0))
    found: list[bytes] = []
    finished = False
    while not finished:
        bodies, finished = _answers(posix.read(descriptor, 65536))
        found += bodies
    return found


def _answers(data: bytes) -> tuple[list[bytes], bool]:
    """Split what was received into bodies; tell whether the end of a dump, or an answer, was there."""
    bodies: list[bytes] = []
    for kind, body in messages(data):
        if kind in (NLMSG_ERROR, NLMSG_DONE):
            number = -int.from_bytes(body[:4], "little", signed=True)
            if number:
                raise OSError(number, "")
            return bodies, True
        bodies.append(body)
    return bodies, False


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk over the messages in `data` as (type, body)."""
    at = 0
    while at + HEADER <= len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        yield int.from_bytes(data[at + 4 : at + 6], "little"), data[at + HEADER : at + length]
        at += max(length + 3 & ~3, HEADER)


def attributes(data: bytes) -> dict[int, bytes]:
    """Read the attributes in `data` as type -> value; of a repeated one the last counts."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 2], "little")
        found[int.from_bytes(data[at + 2 : at + 4], "little") & NLA_TYPE_MASK] = data[at + 4 : at + length]
        at += max(length + 3 & ~3, 4)
    return found
