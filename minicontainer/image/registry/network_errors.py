"""The many ways in which a connection fails, as urllib3 tells them, in our words.

See urllib3.exceptions; ssl.SSLError.reason; RFC 8446, 6.2 (alerts: the other side speaks TLS).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from urllib3 import exceptions

from minicontainer.image.registry.addresses import origin
from minicontainer.image.registry.errors import (
    CertificateError,
    HandshakeError,
    TransportError,
    UnreachableError,
    plain,
)

TRUST_HINT = (
    "give its CA in ~/.config/minicontainer/certs.d/{host}/ca.crt; or, if nobody can listen in, say"
    " insecure = true in images.toml"
)
PLAIN_HINT = "if it speaks plain HTTP, and nobody can listen in: insecure = true in images.toml"

UNREACHABLE = (exceptions.NewConnectionError, exceptions.ConnectTimeoutError)
WORDS = {  # the first that fits: some are kinds of others
    exceptions.ProxyError: "the proxy does not help: {reason}",
    exceptions.NameResolutionError: "there is no such host",
    exceptions.NewConnectionError: "no connection: {reason}",
    exceptions.ConnectTimeoutError: "it does not answer: no connection in time",
    exceptions.ReadTimeoutError: "it stopped sending, or sends too slowly",
    exceptions.IncompleteRead: "the answer ended too early",
}


def translated(problem: Exception, url: str) -> TransportError:
    """Make our error of one of urllib3's."""
    host = str(origin(url))
    causes = list(chain(problem))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = plain(cause.verify_message.rstrip("."))
            return CertificateError(
                f"{host}: its certificate is refused: {reason}", TRUST_HINT.format(host=host)
            )
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or ""):
            return CertificateError(f"{host}: it does not trust us: {_reason(cause)}")
        if isinstance(cause, exceptions.SSLError):
            return HandshakeError(f"{host}: TLS failed: {_reason(causes[-1])}", PLAIN_HINT, passing=True)
    unreachable = any(isinstance(cause, UNREACHABLE) for cause in causes)
    kind = UnreachableError if unreachable else TransportError
    return kind(f"{host}: {spell(causes)}", passing=True)


def chain(problem: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it wraps: urllib3 keeps causes in `args`, or as Python does."""
    seen: set[int] = set()
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        yield problem
        inner = [each for each in problem.args if isinstance(each, BaseException)]
        problem = inner[0] if inner else problem.__cause__ or problem.__context__


def spell(causes: list[BaseException]) -> str:
    """Say in a few words what happened."""
    reason = _reason(causes[-1])
    for kind, words in WORDS.items():
        if any(isinstance(cause, kind) for cause in causes):
            return words.format(reason=reason)
    return f"the connection broke: {reason}"


def _reason(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLError):
        return plain((cause.reason or str(cause)).replace("_", " ").lower())
    if isinstance(cause, OSError) and cause.strerror:
        return plain(cause.strerror.lower())
    return plain(str(cause) or type(cause).__name__)
