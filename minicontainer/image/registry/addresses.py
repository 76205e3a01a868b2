"""Where a URL leads: the rules that keep a registry from sending us, or a password, to the wrong place.

A URL comes from us, or from the registry (redirects, upload locations, token services, next pages). What
comes from the registry is read strictly, so that no two readers can take it for two different places.

See RFC 3986, 3.2; RFC 6454, 4 (origin); CVE-2020-15157 and its many relatives.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import IntEnum
from typing import NamedTuple
from urllib.parse import urlsplit

from minicontainer.image.registry.errors import UnsafeError, plain

PORTS = {"http": 80, "https": 443}
NAMES_OF_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}


class Origin(NamedTuple):
    """Who answers: credentials never leave the one that they were meant for."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def origin(url: str) -> Origin:
    """Say who answers for a URL. Raises UnsafeError when it is not plainly http or https with a host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UnsafeError(f"{plain(url)} is not a URL that we follow") from None
    strange = "\\" in url or any(char <= " " or char > "~" for char in url)
    if strange or parts.scheme not in PORTS or not host or "@" in parts.netloc or "%" in parts.netloc:
        raise UnsafeError(f"{plain(url)} is not a URL that we follow")
    return Origin(parts.scheme, host, port or PORTS[parts.scheme])


def address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read a host as an IP address in any of the forms that connect(2) takes, None for a name."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1 and 2130706433, too
        except OSError:
            return None
    return getattr(found, "ipv4_mapped", None) or found


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its very name."""
    found = address(host)
    return found.is_loopback or found.is_unspecified if found else host == "localhost"


def are_one_host(one: str, other: str) -> bool:
    """Tell whether two hosts are the same by their names, of which this machine has three."""
    return one == other or {one, other} <= NAMES_OF_THIS_MACHINE


class Nearness(IntEnum):
    """How near to us a host is by its very name. A stranger must not send us to what is near."""

    ANYWHERE = 0
    PRIVATE = 1  # an address that means something only within some network
    LINK = 2  # on the same wire; there clouds have the service that tells their secrets
    MACHINE = 3


def nearness(host: str) -> Nearness:
    """Say how near a host is; a name may be anywhere, but for those that RFC 6761 keeps for this machine."""
    found = address(host)
    if is_loopback(host) or f".{host.rstrip('.')}".endswith(".localhost"):
        return Nearness.MACHINE
    if found is None or found.is_global:
        return Nearness.ANYWHERE
    return Nearness.LINK if found.is_link_local else Nearness.PRIVATE
