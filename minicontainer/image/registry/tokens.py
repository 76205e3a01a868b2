"""Bearer tokens: what a token service gives for a name and a password, good for some minutes and some scopes.

    registry --401 Bearer realm,service--> we --GET realm?service&scope (Basic)--> token service
                                           we --POST realm (refresh_token)-->      (after login with a token)
    registry <--Authorization: Bearer TOKEN-- we

The registry chooses the token service, so `check_realm` decides whether it may see a password at all.

See distribution "Token Authentication Specification", "Oauth2 Token Authentication".
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from minicontainer.errors import SpecError
from minicontainer.image.registry.addresses import Nearness, Origin, are_one_host, nearness, origin
from minicontainer.image.registry.errors import ContentError, UnsafeError, failure
from minicontainer.image.registry.transport import Request
from minicontainer.oci import json_text

if TYPE_CHECKING:
    from minicontainer.image.registry.answer import Answer
    from minicontainer.image.registry.credentials import Credential

CLIENT = "minicontainer"
LONGEST_ANSWER = 1 << 20
SHORTEST_LIFE, LONGEST_LIFE = 60.0, 86400.0  # seconds; the shortest also where the service says nothing
MARGIN = 5.0  # seconds before its end in which a token is not used any more
TOKEN = re.compile(r"[!-~]+")
SCOPE = re.compile(r"([!-~]+:[!-~]+):([!-~]*)")


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and until when it may be used (time.monotonic)."""

    text: str
    end: float
    identity: str = ""  # what can be kept instead of the password, where the service gives it

    @property
    def is_fresh(self) -> bool:
        """Tell whether it will still be taken."""
        return time.monotonic() < self.end - MARGIN


def merge(scopes: Iterable[str]) -> tuple[str, ...]:
    """Bring scopes into one form: each resource once, its actions sorted; what cannot be read is left out."""
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        if found := SCOPE.fullmatch(scope):
            actions.setdefault(found[1], set()).update(found[2].split(","))
    return tuple(f"{resource}:{','.join(sorted(actions[resource]))}" for resource in sorted(actions))


def check_realm(realm: str, registry: Origin, insecure: bool) -> Origin:
    """Say who the token service is. Raises UnsafeError when the registry must not send us there.

    It is reached by TLS; only a registry that itself is reached without may have one beside it, on its own
    host. Nobody but a neighbour may send us to this machine or into this network.
    """
    service = origin(realm)
    if service.scheme == "http" and not (
        are_one_host(service.host, registry.host) and (registry.scheme == "http" or insecure)
    ):
        raise UnsafeError(f"{registry} wants its tokens to be asked for over plain HTTP, at {service}")
    near, known = nearness(service.host), nearness(registry.host)
    if near != known and (near > known or near is Nearness.LINK):
        raise UnsafeError(
            f"{registry} names {service} for its tokens: an address within this machine or network"
        )
    return service


def request_for(
    parameters: dict[str, str], scopes: tuple[str, ...], credential: Credential | None, *, keep: bool = False
) -> Request:
    """Make the request for a token; `keep` asks for something to keep instead of the password, too."""
    realm, service = parameters["realm"], parameters.get("service", "")
    if credential and credential.identity_token:
        form = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
        form |= {"service": service, "client_id": CLIENT, "scope": " ".join(scopes)}
        body = urlencode(form).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Request("POST", realm, headers, lambda: [body], len(body), secret=True)
    query = [("service", service)] * bool(service) + [("scope", scope) for scope in scopes]
    headers = {}
    if credential:
        query += [("account", credential.user), ("client_id", CLIENT)]
        query += [("offline_token", "true")] * keep
        headers["Authorization"] = credential.basic()
    return Request("GET", _with_query(realm, query), headers)


def read_token(answer: Answer, asked: float, host: str) -> Token:
    """Read what the service for the registry `host` has answered; `asked` is when it was asked.

    Raises Unauthorized and other RegistryErrors.
    """
    if answer.status != 200:  # noqa: PLR2004
        raise failure(answer, "no token", host)
    with answer:
        body = answer.read(LONGEST_ANSWER)
    try:
        found: Any = json_text.loads(body)
        text = found.get("token") or found["access_token"]
        life, identity = found.get("expires_in") or 0, found.get("refresh_token") or ""
        valid = TOKEN.fullmatch(text) and isinstance(life, int | float) and isinstance(identity, str)
    except (SpecError, AttributeError, KeyError, TypeError):
        valid = False
    if not valid:
        raise ContentError(f"{answer.host} sent no token, or one that cannot be used")
    return Token(text, asked + max(SHORTEST_LIFE, min(life, LONGEST_LIFE)), identity)


def _with_query(url: str, query: list[tuple[str, str]]) -> str:
    base, _, _fragment = url.partition("#")
    return f"{base}{'&' if '?' in base else '?'}{urlencode(query)}"
