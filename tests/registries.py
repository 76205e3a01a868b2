"""A real docker-registry, Debian's, on loopback: four ways to be let in, and what its log tells.

    PLAIN  http            BASIC  http, a password for everything (htpasswd)
    TLS    https           TOKEN  http, tokens of tests/token_server.py: everybody pulls, USER pushes

It listens on a port that the kernel chooses and keeps all it has below a folder of the caller's. Programs
take its certificate from `certificates` (--cert-dir), the password from `auth_file` (~/.docker/config.json).
See <https://distribution.github.io/distribution/about/configuration/>, containers-certs.d(5).
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

from tests.image.registry.certificates import Authority
from tests.peers import peer_program
from tests.runtime.waiting import eventually
from tests.token_server import ISSUER, SERVICE, TokenServer, token_server

USER, PASSWORD = "tester", "correct horse"
HTPASSWD = f"{USER}:$2b$04$Q3.Boqdvy9rZF9NKCHeHUOIF9aBQVFig999QoN9IEMxFEjrGXj2va\n"
LISTENING = re.compile(r"listening on ([\d.]+:\d+)")
# 127.0.0.1 - - [21/Nov/2026:20:40:00 +0000] "GET /v2/ HTTP/1.1" 200 2 "" "skopeo/1.22.0"
ACCESS = re.compile(r'^\S+ - .* \[[^]]*\] "([A-Z]+) (\S+) HTTP/[\d.]+" (\d+) (\d+) "[^"]*" "([^"]*)"$', re.M)


class Mode(Enum):
    """How a registry lets clients in."""

    PLAIN = "plain"
    TLS = "tls"
    BASIC = "basic"
    TOKEN = "token"


@dataclass(frozen=True, slots=True)
class Request:
    """A line of the access log; `written` is the body that was sent, in bytes."""

    method: str
    path: str
    status: int
    written: int
    agent: str

    @property
    def is_blob_download(self) -> bool:
        """Whether content was asked for, be it a layer or a configuration."""
        return self.method == "GET" and "/blobs/sha256:" in self.path


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that runs."""

    mode: Mode
    address: str
    folder: Path
    marks: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    @property
    def certificates(self) -> Path:
        """A folder with the `ca.crt` that TLS needs; empty in the other modes."""
        return self.folder / "certificates"

    @property
    def auth_file(self) -> Path:
        """A Docker `config.json` with the password, where one is needed."""
        return self.folder / "docker" / "config.json"

    @property
    def blobs(self) -> Path:
        """Where its content lies: HEX[:2]/HEX/data below."""
        return self.folder / "data/docker/registry/v2/blobs/sha256"

    def requests(self) -> list[Request]:
        """Give all requests that were answered before this call, in the order of their ends."""
        mark = f"/v2/?mark={next(self.marks)}"
        self._ask(mark)
        eventually(lambda: mark in self._log(), "the registry's log does not grow")
        found = [
            Request(method, path, int(status), int(written), agent)
            for method, path, status, written, agent in ACCESS.findall(self._log())
        ]
        return [request for request in found if "?mark=" not in request.path]

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[Request]]:
        """Give a list that holds, once the block is left, the requests that were made within it."""
        before = len(self.requests())
        seen: list[Request] = []
        yield seen
        seen += self.requests()[before:]

    def _log(self) -> str:
        return (self.folder / "log").read_text()

    def _ask(self, path: str) -> None:
        """Send a request of our own; that it is refused without a password does not matter."""
        if self.mode is Mode.TLS:
            trust = ssl.create_default_context(cafile=self.certificates / "ca.crt")
            connection: HTTPConnection = HTTPSConnection(self.address, timeout=30, context=trust)
        else:
            connection = HTTPConnection(self.address, timeout=30)
        connection.request("GET", path)
        connection.getresponse().read()
        connection.close()


@contextlib.contextmanager
def registry(folder: Path, mode: Mode = Mode.PLAIN) -> Iterator[Registry]:
    """Run a docker-registry with everything below `folder`, which must not exist yet."""
    program = peer_program("docker-registry")
    for name in ("certificates", "docker", "data"):
        (folder / name).mkdir(parents=True)
    with contextlib.ExitStack() as undo:
        tokens = undo.enter_context(token_server(folder, {USER: PASSWORD})) if mode is Mode.TOKEN else None
        (folder / "config.yml").write_text(json.dumps(configuration(folder, mode, tokens)))
        log = undo.enter_context((folder / "log").open("w"))
        daemon = subprocess.Popen(
            [program, "serve", folder / "config.yml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        undo.callback(end, daemon)
        eventually(lambda: addresses(daemon, folder / "log"), "the registry does not listen")
        [address] = addresses(daemon, folder / "log")
        found = Registry(mode, address, folder)
        write_auth_file(found)
        yield found


def configuration(folder: Path, mode: Mode, tokens: TokenServer | None) -> dict[str, Any]:
    """Write a registry's configuration, as JSON, which YAML contains."""
    http: dict[str, Any] = {"addr": "127.0.0.1:0", "secret": "one registry, one secret"}
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": http,
    }
    if mode is Mode.TLS:
        authority = Authority(folder / "certificates", "ca")
        certificate, key = authority.issue("127.0.0.1", "localhost")
        http["tls"] = {"certificate": str(certificate), "key": str(key)}
    elif mode is Mode.BASIC:
        (folder / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    elif tokens:
        config["auth"] = {
            "token": {
                **{"realm": tokens.realm, "service": SERVICE, "issuer": ISSUER},
                "rootcertbundle": str(tokens.trusted),
            }
        }
    return config


def addresses(daemon: subprocess.Popen[bytes], log: Path) -> list[str]:
    """Give the one address that a registry listens on, nothing until it does."""
    assert daemon.poll() is None, f"the registry has ended: {log.read_text()[-2000:]}"
    return LISTENING.findall(log.read_text())


def write_auth_file(registry: Registry) -> None:
    """Write the password down the way `docker login` does."""
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    knows_passwords = registry.mode in {Mode.BASIC, Mode.TOKEN}
    auths = {registry.address: {"auth": auth}} if knows_passwords else {}
    registry.auth_file.write_text(json.dumps({"auths": auths}))


def end(daemon: subprocess.Popen[bytes]) -> None:
    """End a program that we have started."""
    daemon.terminate()
    daemon.wait(30)
