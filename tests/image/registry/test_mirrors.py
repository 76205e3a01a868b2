"""Mirrors and proxies: who is asked instead of the registry, and what they get to see."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable

import pytest

from minicontainer.image.configuration import Configuration, Registry
from minicontainer.image.reference import Reference
from minicontainer.image.registry.addresses import Origin, origin
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.credentials import Credential, Credentials
from minicontainer.image.registry.errors import Missing
from minicontainer.image.registry.transport import proxy_for
from tests.image.registry.certificates import Authority
from tests.image.registry.conftest import QUICK, MakeRegistry
from tests.image.registry.fake_registry import FakeRegistry
from tests.image.registry.web_server import Exchange, WebServer

DATA = os.urandom(200_000)


@pytest.fixture
def mirror(make_registry: MakeRegistry) -> FakeRegistry:
    return make_registry("127.0.0.2")


@pytest.fixture
def notes() -> list[str]:
    """What a client tells besides."""
    return []


@pytest.fixture
def mirrored(
    registry: FakeRegistry, mirror: FakeRegistry, credentials: Credentials, notes: list[str]
) -> RegistryClient:
    """A client that asks the mirror first."""
    settings = {registry.name: Registry(mirrors=(mirror.url,))}
    return RegistryClient(Configuration(settings, QUICK), credentials, tell=notes.append)


def test_the_mirror_is_asked_first_and_enough(
    registry: FakeRegistry, mirror: FakeRegistry, mirrored: RegistryClient, web: Reference, notes: list[str]
) -> None:
    digest = mirror.add_image("1", DATA)
    blob = mirror.add_blob(DATA)
    assert mirrored.resolve(web).digest == mirrored.manifest(web)[0].digest == digest
    assert b"".join(mirrored.blob(web, blob)) == DATA
    assert registry.seen == []
    assert notes == []


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_what_the_mirror_has_not_the_registry_gives(
    registry: FakeRegistry,
    mirror: FakeRegistry,
    mirrored: RegistryClient,
    web: Reference,
    notes: list[str],
    status: int,
) -> None:
    digest = registry.add_image("1", DATA)
    blob = registry.add_blob(DATA)
    mirror.when("", "/v2/web/", lambda exchange: exchange.reply(status))
    assert mirrored.resolve(web).digest == digest
    assert b"".join(mirrored.blob(web, blob)) == DATA
    assert all(note.startswith(f"the mirror {mirror.name} does not help: ") for note in notes)
    assert len(notes) == 2


def test_a_mirror_that_fails_in_the_middle_is_gone_on_from(
    registry: FakeRegistry, mirror: FakeRegistry, mirrored: RegistryClient, web: Reference
) -> None:
    blob = registry.add_blob(DATA)

    def stop(exchange: Exchange) -> None:
        if "range" in exchange.seen.headers:
            exchange.reply(404)
            return
        exchange.head(200, {"Content-Length": str(len(DATA))})
        exchange.send(DATA[:100_000])
        exchange.hang_up()

    mirror.when("GET", "/blobs/", stop)
    assert b"".join(mirrored.blob(web, blob)) == DATA
    assert [seen.headers["range"] for seen in registry.requests("GET", "/blobs/")] == ["bytes=100000-"]


def test_a_mirror_that_is_down_is_not_waited_for(
    registry: FakeRegistry, credentials: Credentials, web: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minicontainer.image.registry.patience.Patience.wait", pytest.fail)
    settings = {registry.name: Registry(mirrors=("https://127.0.0.1:1", "http://127.0.0.1:1"))}
    client = RegistryClient(Configuration(settings, QUICK), credentials)
    registry.add_image("1", DATA)
    for _ in range(2):
        assert client.manifest(web)[0].digest in registry.manifests


def test_a_mirror_never_sees_the_registrys_password(
    registry: FakeRegistry,
    mirror: FakeRegistry,
    mirrored: RegistryClient,
    web: Reference,
    password: Credential,
) -> None:
    registry.want_password("ada", "s3cret")
    mirror.want_password("ada", "s3cret")
    digest = registry.add_image("1", DATA)
    assert mirrored.resolve(web).digest == digest
    assert mirror.seen
    assert all("authorization" not in seen.headers for seen in mirror.seen)


def test_a_mirror_may_have_a_password_of_its_own(
    mirror: FakeRegistry, mirrored: RegistryClient, web: Reference, credentials: Credentials
) -> None:
    credentials.store(mirror.name, Credential("m", "irror"))
    mirror.want_password("m", "irror")
    digest = mirror.add_image("1", DATA)
    assert mirrored.resolve(web).digest == digest


@pytest.mark.usefixtures("known_names")
def test_a_mirror_far_away_without_tls_sees_no_password_at_all(
    registry: FakeRegistry, make_registry: MakeRegistry, credentials: Credentials, web: Reference
) -> None:
    mirror = make_registry()
    name = f"mirror.example:{mirror.port}"
    credentials.store(name, Credential("m", "irror"))
    mirror.want_password("m", "irror")
    digest = registry.add_image("1", DATA)
    client = RegistryClient(
        Configuration({registry.name: Registry(mirrors=(f"http://{name}",))}, QUICK), credentials
    )
    assert client.resolve(web).digest == digest
    assert mirror.seen
    assert all("authorization" not in seen.headers for seen in mirror.seen)


def test_what_nobody_has_is_missing_in_the_words_of_the_registry(
    registry: FakeRegistry, mirrored: RegistryClient, web: Reference
) -> None:
    with pytest.raises(Missing, match=f"{registry.name} says: manifest unknown"):
        mirrored.resolve(web)


def test_a_mirror_is_only_read_from(
    registry: FakeRegistry, mirror: FakeRegistry, mirrored: RegistryClient, web: Reference
) -> None:
    blob = registry.add_blob(DATA)
    mirrored.push_manifest(web, "x/y", b"{}", "1")
    assert mirrored.has_blob(web, blob.digest)
    assert list(mirrored.tags(web)) == ["1"]
    assert mirror.seen == []


# --- proxies ---------------------------------------------------------------------------------------

FAR = Origin("https", "registry.example", 443)


@pytest.mark.parametrize(
    ("variables", "server", "right"),
    [
        ({}, FAR, ""),
        ({"HTTPS_PROXY": "http://proxy.class:3128"}, FAR, "http://proxy.class:3128"),
        ({"https_proxy": "proxy.class:3128"}, FAR, "http://proxy.class:3128"),
        ({"HTTP_PROXY": "http://proxy.class:3128"}, FAR, ""),
        ({"ALL_PROXY": "http://proxy.class:3128"}, FAR, "http://proxy.class:3128"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "registry.example"}, FAR, ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example"}, FAR, ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, FAR, ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other.example"}, FAR, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, Origin("https", "localhost", 5000), ""),
        ({"HTTP_PROXY": "http://p:1"}, Origin("http", "127.0.0.1", 5000), ""),
        ({"HTTP_PROXY": "http://p:1"}, Origin("http", "::1", 5000), ""),
    ],
)
def test_which_proxy_is_used(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], server: Origin, right: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(server) == right


def tunnel(exchange: Exchange) -> None:
    """Do what a proxy does for TLS: connect, and pass on bytes that it does not understand."""
    port = int(exchange.seen.target.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as upstream:
        exchange.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        pairs = {upstream: exchange.connection, exchange.connection: upstream}
        while True:
            for source in select.select(list(pairs), [], [])[0]:
                if not (data := source.recv(65_536)):
                    return exchange.hang_up()
                pairs[source].sendall(data)


@pytest.mark.usefixtures("known_names")
def test_a_proxy_passes_tls_on_without_seeing_what_is_in_it(
    other: WebServer,
    make_registry: MakeRegistry,
    make_client: Callable[..., RegistryClient],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = make_registry(tls=authority.server("registry.example"))
    registry.add_image("1", b"layer")
    other.answer = tunnel
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass@{other.name}")
    name = f"registry.example:{registry.port}"
    make_client({name: Registry(ca=str(authority.file))}).manifest(Reference(name, "web", "1"))
    assert [(seen.method, seen.target) for seen in other.seen] == [("CONNECT", name)]
    assert other.seen[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    assert all("proxy-authorization" not in seen.headers for seen in registry.seen)


def test_a_registry_far_away_is_asked_through_the_proxy(
    other: WebServer,
    make_client: Callable[..., RegistryClient],
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.add_image("1", b"layer")
    other.answer = registry.serve
    monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@{other.name}")
    client = make_client({"registry.example:80": Registry(insecure=True)})
    client.resolve(Reference("registry.example:80", "web", "1"))
    assert other.seen[-1].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    assert other.seen[-1].headers["host"] == "registry.example:80"
    assert origin(other.seen[-1].target) == Origin("http", "registry.example", 80)
