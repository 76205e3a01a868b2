"""One registry as we talk with it: what it is called, how it is reached, what it wants to see.

    send = patience( redirects( transport ) ), and after a 401 of the registry itself once more, with what its
    challenge asks for. That is remembered: the next request brings it along.

TLS it is, but for a registry on this machine, or one that the configuration calls insecure: such a one is
asked first what it speaks.

See distribution-spec "API"; docker docs "Test an insecure registry".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from minicontainer.image.registry import tokens
from minicontainer.image.registry.addresses import is_loopback, origin
from minicontainer.image.registry.challenge import Challenge, parse
from minicontainer.image.registry.errors import (
    BUSY,
    CertificateError,
    HandshakeError,
    TransportError,
    UnreachableError,
    failure,
)
from minicontainer.image.registry.patience import Patience
from minicontainer.image.registry.redirects import check_target, follow, join
from minicontainer.image.registry.tls import Trust
from minicontainer.image.registry.transport import Request, Transport

if TYPE_CHECKING:
    from minicontainer.image.registry.answer import Answer
    from minicontainer.image.registry.credentials import Credential

BAD_REQUEST, UNAUTHORIZED = 400, 401
SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server that speaks the registry protocol: a registry itself, or a mirror."""

    name: str  # as references and people call it
    url: str  # scheme, host and port
    trust: Trust


class Session:
    """The talk with one registry. The credential is looked for when the registry wants one."""

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        patience: Patience,
        find_credential: Callable[[], Credential | None],
    ) -> None:
        self.endpoint, self.patience = endpoint, patience
        self._transport, self._find_credential = transport, cache(find_credential)
        self.base = endpoint.url
        self.keeps_identity = False  # for a login: ask for something to keep instead of the password
        self._is_settled = False  # `base` is what it should be
        self._is_known = False  # it has answered once
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], tokens.Token] = {}
        self.reopen()

    def reopen(self) -> None:
        """Forget a lock that another process may hold."""
        self._lock = threading.Lock()

    def document(
        self, request: Request, scopes: Iterable[str], what: str, limit: int
    ) -> tuple[Answer, bytes]:
        """Fetch what is read at once, of at most `limit` bytes. Raises RegistryError."""

        def fetch() -> tuple[Answer, bytes]:
            with self.attempt(request, scopes, what) as answer:
                return self._checked(answer, what), answer.read(limit)

        return self.patience.persist(fetch)

    def ask(self, request: Request, scopes: Iterable[str], what: str) -> Answer:
        """Send a request, and take no for an error. Raises RegistryError."""
        return self._checked(self.send(request, scopes, what), what)

    def send(self, request: Request, scopes: Iterable[str], what: str) -> Answer:
        """Send a request until it is answered, be it by no. Raises RegistryError."""
        return self.patience.persist(lambda: self.attempt(request, scopes, what))

    def attempt(self, request: Request, scopes: Iterable[str], what: str) -> Answer:
        """Send a request, whose URL may be a path, once. `what` names in errors what we are doing.

        Raises RegistryError when there is no answer, or only the one that the server is busy.
        """
        answer = self._send_authorized(request, tokens.merge(scopes))
        if answer.status in BUSY:
            raise failure(answer, what, self.endpoint.name)
        return answer

    def _checked(self, answer: Answer, what: str) -> Answer:
        if answer.status not in SUCCESS:
            raise failure(answer, what, self.endpoint.name)
        return answer

    @property
    def identity_token(self) -> str:
        """Give what a token service has given instead of the password, "" for nothing."""
        return next((token.identity for token in self._tokens.values()), "")

    def location(self, answer: Answer, place: str) -> str:
        """Make a URL of a place that an answer names. Raises UnsafeError when we must not go there."""
        target = join(answer.url, place)
        check_target(origin(answer.url), origin(target), self._insecure)
        return target

    @property
    def _insecure(self) -> bool:
        return self.endpoint.trust.insecure

    def _send_authorized(self, request: Request, scopes: tuple[str, ...]) -> Answer:
        self._settle()
        authorization = self._authorization(scopes)
        answer = self._follow(request, authorization)
        if answer.status != UNAUTHORIZED or origin(answer.url) != origin(self.base):
            return answer
        with ExitStack() as undo:
            undo.enter_context(answer)
            challenges = parse(answer.headers.getlist("WWW-Authenticate"))
            renewed = self._answer_challenge(challenges, scopes, authorization)
            if not renewed:
                undo.pop_all()
                return answer
        return self._follow(request, renewed)

    def _follow(self, request: Request, authorization: str) -> Answer:
        request = replace(request, url=join(self.base, request.url))
        if authorization and origin(request.url) == origin(self.base):
            request = replace(request, headers={**request.headers, "Authorization": authorization})
        return follow(self._dispatch, request, self._insecure)

    def _dispatch(self, request: Request) -> Answer:
        """Send one request; its server is believed as the registry is, if it is the same host.

        A wrong name, or a mirror that is down, is not worth a wait; one that has answered before is.
        """
        server, registry, trust = origin(request.url), origin(self.base), self.endpoint.trust
        if server.host != registry.host:
            trust = trust.for_another_host()
        try:
            answer = self._transport.send(request, trust)
        except (UnreachableError, HandshakeError) as problem:
            problem.passing = self._is_known or server != registry
            raise
        self._is_known = self._is_known or server == registry
        return answer

    # --- with TLS, or without ----------------------------------------------------------------------

    def _settle(self) -> None:
        """Find out how to reach a registry that may do without TLS.

        Where both would be behind the same port, a plain question is answered at once: by the registry, or by
        an error of its TLS. Without a port in its name, TLS at 443 comes before plain HTTP at 80.
        """
        with self._lock:
            secure = self.endpoint.url
            if not self._is_settled and secure.startswith("https://") and self._may_be_plain():
                plain = secure.replace("https://", "http://", 1)
                has_port = urlsplit(secure).port is not None
                self.base, other = (plain, secure) if has_port else (secure, plain)
                if not self._answers(self.base):
                    if not self._answers(other):
                        return  # the request itself will say what is wrong
                    self.base = other
            self._is_settled = True

    def _may_be_plain(self) -> bool:
        return self._insecure or is_loopback(origin(self.endpoint.url).host)

    def _answers(self, base: str) -> bool:
        """Tell whether a registry is there: not only the other side of a port for TLS, which says 400."""
        try:
            with self._transport.send(Request("GET", f"{base}/v2/"), self.endpoint.trust) as answer:
                sends_to_tls = answer.headers.get("Location", "").startswith(self.endpoint.url)
                self._is_known = True
                return answer.status != BAD_REQUEST and not sends_to_tls
        except CertificateError:
            return True  # it does speak TLS, so nothing else will do
        except TransportError:
            return False

    # --- what the registry wants to see ------------------------------------------------------------

    def _credential(self) -> Credential | None:
        """Find what proves who we are; over a network without TLS, only where the user calls it insecure."""
        is_in_the_clear = origin(self.base).scheme == "http" and not self._may_be_plain()
        return None if is_in_the_clear else self._find_credential()

    def _authorization(self, scopes: tuple[str, ...]) -> str:
        """Say what a request can bring along from the start, "" for nothing."""
        if self._challenge is None:
            return ""
        if self._challenge.scheme == "basic":
            credential = self._credential()
            return credential.basic() if credential else ""
        token = self._tokens.get(scopes)
        return f"Bearer {token.text}" if token and token.is_fresh else ""

    def _answer_challenge(self, challenges: list[Challenge], scopes: tuple[str, ...], refused: str) -> str:
        """Find what satisfies one of the challenges, "" if nothing new can; `refused` was not enough."""
        with self._lock:
            if (known := self._authorization(scopes)) and known != refused:
                return known  # somebody else has renewed it meanwhile
            for each in sorted(challenges, key=lambda each: each.scheme != "bearer"):
                if each.scheme == "bearer" and "realm" in each.parameters:
                    self._challenge = each
                    self._tokens[scopes] = self._fetch_token(each, scopes)
                    return self._authorization(scopes)
                if each.scheme == "basic" and self._credential():
                    self._challenge = each
                    renewed = self._authorization(scopes)
                    return renewed if renewed != refused else ""
        return ""

    def _fetch_token(self, wanted: Challenge, scopes: tuple[str, ...]) -> tokens.Token:
        """Ask the token service that a challenge names. Raises UnsafeError, Unauthorized."""
        tokens.check_realm(wanted.parameters["realm"], origin(self.base), self._insecure)
        wider = tokens.merge([*scopes, *wanted.parameters.get("scope", "").split()])
        request = tokens.request_for(wanted.parameters, wider, self._credential(), keep=self.keeps_identity)

        def fetch() -> tokens.Token:
            asked = time.monotonic()
            answer = follow(self._dispatch, request, self._insecure)
            return tokens.read_token(answer, asked, self.endpoint.name)

        return self.patience.persist(fetch)
