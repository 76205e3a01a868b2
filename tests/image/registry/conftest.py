"""What tests of the registry client share: registries and other servers, clients, and a home of their own.

Clients are quick to try again here: the same logic, with short pauses in the configuration.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minicontainer.image.configuration import Configuration, Network, Registry
from minicontainer.image.reference import Reference
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.credentials import Credential, Credentials
from tests.image.registry.certificates import Authority
from tests.image.registry.fake_registry import FakeRegistry
from tests.image.registry.web_server import WebServer

QUICK = Network(connect_timeout=20, read_timeout=20, tries=4, first_pause=0.01, longest_pause=0.05)
MakeRegistry = Callable[..., FakeRegistry]
MakeServer = Callable[..., WebServer]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a home without settings, and no proxies."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in {"DOCKER_CONFIG", "REGISTRY_AUTH_FILE"}:
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / ".config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
    return folder


@pytest.fixture
def servers() -> Iterator[contextlib.ExitStack]:
    """Hold the servers of a test, and end them with it."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def make_registry(servers: contextlib.ExitStack) -> MakeRegistry:
    """Start a registry: `make_registry("127.0.0.2", tls)`."""

    def make(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> FakeRegistry:
        registry = FakeRegistry(host, tls)
        servers.enter_context(registry)
        return registry

    return make


@pytest.fixture
def registry(make_registry: MakeRegistry) -> FakeRegistry:
    """A registry on this machine, without TLS."""
    return make_registry()


@pytest.fixture
def other(servers: contextlib.ExitStack) -> WebServer:
    """Host B: another server, which never may see a credential."""
    return servers.enter_context(WebServer("127.0.0.2"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def known_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all names that end with .example be this machine, so that a test can have a registry far away."""
    resolve = socket.getaddrinfo

    def resolve_some(host: Any, *arguments: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith(".example") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_some)


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    """An empty file of credentials, and no other one."""
    return Credentials(tmp_path / "docker" / "config.json", ())


@pytest.fixture
def password(registry: FakeRegistry, credentials: Credentials) -> Credential:
    """The password for the registry, in the file."""
    credential = Credential("ada", "s3cret")
    credentials.store(registry.name, credential)
    return credential


@pytest.fixture
def make_client(credentials: Credentials, servers: contextlib.ExitStack) -> Callable[..., RegistryClient]:
    """Make a client: `make_client({"HOST": Registry(insecure=True)}, read_timeout=5)`."""

    def make(registries: dict[str, Registry] | None = None, **network: Any) -> RegistryClient:
        times = Network(**{name: getattr(QUICK, name) for name in Network.__struct_fields__} | network)
        client = RegistryClient(Configuration(registries or {}, times), credentials)
        servers.callback(client.reopen)  # no connection of ours outlives the test
        return client

    return make


@pytest.fixture
def client(make_client: Callable[..., RegistryClient]) -> RegistryClient:
    return make_client()


@pytest.fixture
def web(registry: FakeRegistry) -> Reference:
    """The image web:1 in the registry."""
    return Reference(registry.name, "web", "1")
