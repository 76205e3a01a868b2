"""Following redirects: no password to somebody else, no way from TLS to plain HTTP, no end of it.

    registry.example --307--> cdn.example/blob?signature      no Authorization from here on, even after 401

What an answer may send us to is decided here, for redirects, upload locations and token services alike.

See RFC 9110, 15.4; CVE-2020-15157 (a registry that had the password sent elsewhere).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urljoin

from minicontainer.image.registry.addresses import Nearness, Origin, is_loopback, nearness, origin
from minicontainer.image.registry.answer import Answer
from minicontainer.image.registry.errors import RegistryError, UnsafeError, plain
from minicontainer.image.registry.transport import Request

MOST = 5
KEEPS_METHOD = {307, 308}
CHANGES_METHOD = {301, 302, 303}
SAFE_METHODS = {"GET", "HEAD"}

Send = Callable[[Request], Answer]


def follow(send: Send, request: Request, insecure: bool = False) -> Answer:
    """Send a request, and again to where the answers say; gives the first answer that is no redirect.

    Credentials are taken off on the way to another origin, and stay off. `insecure`: the user has said that
    plain HTTP will do. Raises UnsafeError, RegistryError.
    """
    for _ in range(MOST + 1):
        answer = send(request)
        location = answer.headers.get("Location", "")
        if answer.status not in KEEPS_METHOD | CHANGES_METHOD or not location:
            return answer
        with answer:
            request = redirected(request, answer, location, insecure)
    raise RegistryError(f"{answer.host} redirects more than {MOST} times")


def redirected(request: Request, answer: Answer, location: str, insecure: bool) -> Request:
    """Make the request that a redirect asks for. Raises UnsafeError when it must not be made."""
    target = join(answer.url, location)
    here, there = origin(answer.url), origin(target)
    check_target(here, there, insecure)
    if answer.status in CHANGES_METHOD and request.method not in SAFE_METHODS:
        raise RegistryError(f"{here} answers {request.method} with a redirect that is for reading only")
    if here == there:
        return replace(request, url=target)
    if request.secret:
        raise UnsafeError(f"{here} wants the password to be sent to {there}")
    headers = {name: value for name, value in request.headers.items() if name != "Authorization"}
    return replace(request, url=target, headers=headers)


def join(base: str, location: str) -> str:
    """Read a location, absolute or relative to where it was given. Raises UnsafeError."""
    try:
        return urljoin(base, location)
    except ValueError:
        raise UnsafeError(f"{plain(location)} is not a URL that we follow") from None


def check_target(here: Origin, there: Origin, insecure: bool) -> None:
    """Raise UnsafeError when `here` must not send us to `there`."""
    if there.scheme == "http" and not insecure:
        if here.scheme == "https":
            raise UnsafeError(f"{here} sends us from TLS to plain HTTP at {there}")
        if here.host != there.host and not is_loopback(there.host):
            raise UnsafeError(f"{here} sends us to {there}, over plain HTTP")
    near = nearness(there.host)
    if near in {Nearness.LINK, Nearness.MACHINE} and near != nearness(here.host):
        raise UnsafeError(f"{here} sends us to {there}, an address within this machine or network")
