"""Network devices that are moved from the host into a network namespace.

A device that changes its namespace loses its addresses: they are read before and given back afterwards.

See network_namespaces(7), netdevice(7), rtnetlink(7); config-linux.md "netDevices".
"""

from __future__ import annotations

import errno
import posix

from minicontainer.linux.ioctls import SIOCGIFFLAGS, SIOCGIFINDEX, ask
from minicontainer.linux.kernel import check, syscall, u32
from minicontainer.linux.loopback import (
    AF_INET,
    IFF_UP,
    IFNAMSIZ,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    interface_request,
)
from minicontainer.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    attribute,
    attributes,
    change,
    dump,
    open_netlink,
)
from minicontainer.linux.numbers import SYS_socket

AF_UNSPEC = 0
RTM_NEWLINK, RTM_NEWADDR, RTM_GETADDR = 16, 20, 22
IFLA_IFNAME, IFLA_NET_NS_FD = 3, 28
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
KEPT = (IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST)
IFA_F_PERMANENT = 0x80
RT_SCOPE_UNIVERSE = 0
INFO, ADDRESS = 16, 8  # the sizes of struct ifinfomsg and struct ifaddrmsg


def interface_index(name: str) -> int:
    """Tell the number of a device of the caller's network namespace. Raises OSError ENODEV."""
    return int.from_bytes(_interface(name, SIOCGIFINDEX)[:4], "little")


def interface_flags(name: str) -> int:
    """Tell the flags of a device of the caller's network namespace. Raises OSError ENODEV."""
    return int.from_bytes(_interface(name, SIOCGIFFLAGS)[:2], "little")


def _interface(name: str, request: int) -> bytes:
    control = check(syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))
    try:
        return ask(control, request, interface_request(name))[IFNAMSIZ:]
    finally:
        posix.close(control)


def move_link(name: str, netns: int, new_name: str) -> list[bytes]:
    """Move device `name` into the network namespace `netns` as `new_name`.

    Returns its permanent global addresses, for `settle_link` to give back; the device is down then. One that
    cannot be moved (EINVAL: a bridge, for example) is up again if it was before. If the new name is taken
    there (EEXIST), the kernel has moved the device all the same, under its old name.
    """
    index, state = interface_index(name), interface_flags(name) & IFF_UP
    route = open_netlink()
    try:
        kept = _addresses(route, index)
        # Down first: a device that is up cannot be renamed. Name and namespace go in one message, so that
        # the new name is never taken on the host.
        change(route, RTM_NEWLINK, 0, _link(index, 0))
        names = attribute(IFLA_NET_NS_FD, u32(netns)) + attribute(IFLA_IFNAME, new_name.encode() + b"\0")
        try:
            change(route, RTM_NEWLINK, 0, _link(index, 0) + names)
        except OSError as problem:
            if problem.errno != errno.EEXIST:
                change(route, RTM_NEWLINK, 0, _link(index, state))
            raise
        return kept
    finally:
        posix.close(route)


def settle_link(name: str, addresses: list[bytes]) -> None:
    """Give device `name` of the caller's network namespace its addresses, and switch it on."""
    index = interface_index(name)
    route = open_netlink()
    try:
        for body in addresses:
            change(route, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body[:4] + u32(index) + body[ADDRESS:])
        change(route, RTM_NEWLINK, 0, _link(index, IFF_UP))
    finally:
        posix.close(route)


def _link(index: int, flags: int) -> bytes:
    """Write a struct ifinfomsg that switches the device on or off."""
    return bytes(4) + u32(index, flags, IFF_UP)


def _addresses(route: int, index: int) -> list[bytes]:
    """Read the addresses of a device that it should keep, each as the body of the message that adds it."""
    kept = []
    for body in dump(route, RTM_GETADDR, bytes(ADDRESS)):
        scope, found = body[3], attributes(body[ADDRESS:])
        flags = int.from_bytes(found.get(IFA_FLAGS, body[2:3]), "little")
        # Addresses with a lifetime came from somebody on the old side (DHCP, router advertisements).
        if body[4:8] == u32(index) and scope == RT_SCOPE_UNIVERSE and flags & IFA_F_PERMANENT:
            kept.append(body[:2] + bytes(6) + b"".join([attribute(k, found[k]) for k in KEPT if k in found]))
    return kept
