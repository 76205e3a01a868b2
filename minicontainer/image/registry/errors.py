"""What can go wrong between us and a registry, and how the registry's own words are shown.

* RegistryError          the registry said no, in its own words; base of all here
  * Unauthorized         it wants a name and a password, or refuses ours
  * Denied               it knows us, and we may not
  * Missing              also NotFound: no such image, tag or blob
  * TooManyRequests      still busy after all our patience
  * ContentError         it sent something else than it promised: wrong digest, size or range
  * UnsafeError          also Refused: it sends us, or our password, where they must not go
  * TransportError       no whole answer came: UnreachableError, HandshakeError, CertificateError

See distribution-spec, "Error Codes".
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from minicontainer.errors import Error, NotFound, Refused

if TYPE_CHECKING:
    from minicontainer.image.registry.answer import Answer

LONGEST_BODY = 64 << 10  # of an error
LONGEST_TEXT = 300  # characters of it that are shown


class RegistryError(Error):
    """A registry did not do what it was asked for; `code` is its own word, as MANIFEST_UNKNOWN.

    `passing`: a later try may succeed; `pause` is then how long the registry wants to be left alone.
    """

    def __init__(self, message: str, hint: str = "", *, passing: bool = False) -> None:
        super().__init__(message, hint)
        self.passing = passing
        self.code = self.pause = ""


class Unauthorized(RegistryError):
    """The registry wants a name and a password, or does not take ours."""


class Denied(RegistryError):
    """The registry knows who we are, and that we may not."""


class Missing(RegistryError, NotFound):
    """The registry has no such thing."""


class TooManyRequests(RegistryError):
    """The registry counts requests, and we had ours."""


class ContentError(RegistryError):
    """What came is not what was promised."""


class UnsafeError(RegistryError, Refused):
    """The registry asks for something that would hurt its user."""


class TransportError(RegistryError):
    """No whole answer came."""


class UnreachableError(TransportError):
    """There was no connection."""


class HandshakeError(TransportError):
    """No TLS was agreed on."""


class CertificateError(TransportError):
    """No trust was agreed on: the server's certificate is refused, or ours."""


BUSY = {408, 429, 500, 502, 503, 504}  # statuses that a later try may not see again
KINDS = {401: Unauthorized, 403: Denied, 404: Missing, 429: TooManyRequests}


def plain(text: str, longest: int = LONGEST_TEXT) -> str:
    """Make a foreign text safe for a terminal: one line, no control characters, not long."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[:longest])
    return shown + ("..." if len(text) > longest else "")


def failure(answer: Answer, what: str, host: str) -> RegistryError:
    """Make an error of an answer to the registry `host`; `what` is what we were doing. Closes the answer."""
    with answer:
        code, said = _words(answer.start(LONGEST_BODY))
    kind = KINDS.get(answer.status, RegistryError)
    if answer.status == HTTPStatus.UNAUTHORIZED and code == "DENIED":
        kind = Denied  # Docker Hub's word for a repository that is private or does not exist
    hint = f"minicontainer login {host}" if kind in {Unauthorized, Denied} else ""
    pause = answer.headers.get("Retry-After", "")
    if kind is TooManyRequests and pause:
        hint = f"it asks to wait: {plain(pause, 40)}"
    message = f"{what}: {answer.host} says: {said or f'HTTP status {answer.status}'}"
    made = kind(message, hint, passing=answer.status in BUSY)
    made.code, made.pause = code, pause
    return made


def _words(body: bytes) -> tuple[str, str]:
    """Give the code and the words of an error's body, "" where it is not the specification's JSON."""
    try:
        first: Any = json.loads(body)["errors"][0]
        code, message = str(first.get("code") or ""), str(first.get("message") or "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""
    words = plain(message) or plain(code)
    return plain(code, 60), f"{words} ({plain(code, 60)})" if message and code else words
