"""A token server for a docker-registry: the password is checked here, the registry believes the signature.

    client -> registry: 401, Www-Authenticate: Bearer realm="http://127.0.0.1:PORT/token",service=...,...
    client -> here:     GET /token?service=...&scope=repository:NAME:pull,push  (Basic; else pull alone)
    client -> registry: Authorization: Bearer HEADER.CLAIMS.SIGNATURE

See <https://distribution.github.io/distribution/spec/auth/token/>, jwt/; RFC 7515, 7518 "ES256".
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from tests.image.registry.certificates import Authority

ISSUER, SERVICE = "tests", "registry of the tests"
LIFETIME = 300  # seconds
ANYBODY = {"pull"}


class TokenServer:
    """Who may come in, what the tokens are signed with, and which scopes were asked for by whom.

    A registry believes what the authority of the file `trusted` has signed.
    """

    def __init__(self, folder: Path, passwords: Mapping[str, str]) -> None:
        authority = Authority(folder, "tokens")
        certificate, key = authority.issue("tokens.example")
        signer = load_pem_private_key(key.read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        self._certificate, self._key = load_pem_x509_certificate(certificate.read_bytes()), signer
        self._passwords = passwords
        self.trusted = authority.file
        self.realm = ""
        self.asked: list[tuple[str, str]] = []  # (user or "", scope)

    def answer(self, authorization: str, scopes: list[str]) -> dict[str, Any] | None:
        """Give the answer to a request for a token, None for a wrong password."""
        user = self.user_of(authorization)
        if user is None:
            return None
        self.asked += [(user, scope) for scope in scopes]
        access = [grant(scope, anonymous=not user) for scope in scopes]
        return {"token": self.token(user, access), "expires_in": LIFETIME}

    def user_of(self, authorization: str) -> str | None:
        """Name who asks: "" for nobody in particular, None for somebody who is not who he says."""
        if not authorization:
            return ""
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        return user if self._passwords.get(user) == password else None

    def token(self, user: str, access: list[dict[str, Any]]) -> str:
        """Sign what a user may do."""
        certificate = self._certificate.public_bytes(Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(certificate).decode()]}
        now = int(time.time())
        claims = {
            **{"iss": ISSUER, "sub": user, "aud": SERVICE, "jti": secrets.token_hex(8), "access": access},
            **{"iat": now, "nbf": now - LIFETIME, "exp": now + LIFETIME},
        }
        signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
        pair = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{encode(b''.join(number.to_bytes(32, 'big') for number in pair))}"


def grant(scope: str, *, anonymous: bool) -> dict[str, Any]:
    """Turn "repository:NAME:pull,push" into what is granted of it."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    wanted = set(actions.split(","))
    return {"type": kind, "name": name, "actions": sorted(wanted & ANYBODY if anonymous else wanted)}


def encode(data: bytes) -> str:
    """Write bytes as JWT does: base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextlib.contextmanager
def token_server(folder: Path, passwords: Mapping[str, str]) -> Iterator[TokenServer]:
    """Serve tokens on a free port of loopback."""
    tokens = TokenServer(folder, passwords)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            scopes = " ".join(parse_qs(urlsplit(self.path).query).get("scope", [])).split()
            answer = tokens.answer(self.headers.get("Authorization", ""), scopes)
            self.send_response(401 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer or {}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tokens.realm = f"http://127.0.0.1:{server.server_port}/token"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield tokens
        finally:
            server.shutdown()
