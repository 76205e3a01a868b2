"""Who we are: Basic, Bearer tokens and their renewal, identity tokens, login and logout."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from minicontainer.image.reference import Reference
from minicontainer.image.registry import tokens
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.credentials import Credential, Credentials
from minicontainer.image.registry.errors import ContentError, Denied, RegistryError, Unauthorized
from tests.image.registry.fake_registry import FakeRegistry, error
from tests.image.registry.web_server import Exchange, WebServer

ADA = f"Basic {base64.b64encode(b'ada:s3cret').decode()}"
Answer = Callable[[Exchange], None]


@pytest.fixture
def service(servers: ExitStack, registry: FakeRegistry) -> WebServer:
    """A token service on the host of the registry, which gives the token t1 to everybody."""
    server = servers.enter_context(WebServer())
    server.answer = lambda exchange: exchange.reply(
        200, json.dumps({"token": "t1", "expires_in": 300}).encode()
    )
    registry.want_token("t1", f"{server.url}/token", service="fake")
    registry.add_image("1", b"layer")
    return server


def query(server: WebServer, number: int = -1) -> dict[str, list[str]]:
    return parse_qs(urlsplit(server.seen[number].target).query)


# --- Basic -----------------------------------------------------------------------------------------


def test_a_password_is_sent_when_the_registry_asks_and_from_then_on(
    registry: FakeRegistry, client: RegistryClient, web: Reference, password: Credential
) -> None:
    registry.add_image("1", b"layer")
    registry.want_password("ada", "s3cret")
    client.resolve(web)
    client.resolve(web)
    sent = [seen.headers.get("authorization", "") for seen in registry.requests(path="/manifests/")]
    assert sent == ["", ADA, ADA]


def test_a_registry_that_does_not_ask_never_sees_the_password(
    registry: FakeRegistry, client: RegistryClient, web: Reference, password: Credential
) -> None:
    registry.add_image("1", b"layer")
    client.resolve(web)
    assert all("authorization" not in seen.headers for seen in registry.seen)


def test_without_a_password_the_hint_says_how_to_log_in(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.want_password("ada", "s3cret")
    with pytest.raises(Unauthorized, match="who are you") as failure:
        client.manifest(web)
    assert failure.value.hint == f"minicontainer login {registry.name}"


def test_a_wrong_password_is_sent_once_and_no_more(
    registry: FakeRegistry, client: RegistryClient, web: Reference, password: Credential
) -> None:
    registry.want_password("ada", "another")
    with pytest.raises(Unauthorized):
        client.resolve(web)
    assert len([seen for seen in registry.seen if "authorization" in seen.headers]) == 1


def test_who_may_not_is_told_so(registry: FakeRegistry, client: RegistryClient, web: Reference) -> None:
    registry.when("", "/manifests/", lambda exchange: exchange.reply(403, error("DENIED", "not for you")))
    with pytest.raises(Denied, match=r"not for you \(DENIED\)"):
        client.manifest(web)


# --- Bearer ----------------------------------------------------------------------------------------


def test_everybody_may_get_a_token(client: RegistryClient, web: Reference, service: WebServer) -> None:
    client.resolve(web)
    assert query(service) == {"service": ["fake"], "scope": ["repository:web:pull"]}
    assert "authorization" not in service.seen[0].headers


def test_a_token_is_used_for_all_that_follows(
    registry: FakeRegistry, client: RegistryClient, web: Reference, service: WebServer
) -> None:
    blob = registry.add_blob(b"12345")
    client.resolve(web)
    client.manifest(web)
    b"".join(client.blob(web, blob))
    assert len(service.seen) == 1
    assert len([seen for seen in registry.requests(path="/web/") if "authorization" not in seen.headers]) == 1


def test_the_password_goes_to_the_token_service_and_not_to_the_registry(
    registry: FakeRegistry, client: RegistryClient, web: Reference, service: WebServer, password: Credential
) -> None:
    client.resolve(web)
    assert service.seen[0].headers["authorization"] == ADA
    assert query(service)["account"] == ["ada"]
    assert {seen.headers.get("authorization", "") for seen in registry.seen} == {"", "Bearer t1"}


def test_what_the_challenge_wants_besides_is_asked_for_too(
    registry: FakeRegistry, client: RegistryClient, web: Reference, service: WebServer
) -> None:
    registry.want_token("t1", f"{service.url}/token", scope="repository:web:push registry:catalog:*")
    client.resolve(web)
    assert query(service)["scope"] == ["registry:catalog:*", "repository:web:pull,push"]


def test_a_mount_asks_for_the_right_to_read_its_source(
    registry: FakeRegistry, client: RegistryClient, web: Reference, service: WebServer
) -> None:
    blob = registry.add_blob(b"12345")
    assert client.mount_blob(web, blob.digest, "base")
    assert query(service)["scope"] == ["repository:base:pull", "repository:web:pull,push"]


def test_a_token_that_ends_in_the_middle_of_a_pull_is_renewed(
    registry: FakeRegistry, client: RegistryClient, web: Reference, service: WebServer
) -> None:
    client.resolve(web)
    registry.want_token("t2", f"{service.url}/token")
    service.answer = lambda exchange: exchange.reply(200, b'{"access_token": "t2"}')
    client.manifest(web)
    assert registry.seen[-1].headers["authorization"] == "Bearer t2"
    assert len(service.seen) == 2


def test_a_token_whose_time_is_over_is_not_used(
    registry: FakeRegistry,
    client: RegistryClient,
    web: Reference,
    service: WebServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client.resolve(web)
    monkeypatch.setattr(tokens.Token, "is_fresh", property(lambda token: token.text != "t1"))
    registry.want_token("t2", f"{service.url}/token")
    service.answer = lambda exchange: exchange.reply(200, b'{"token": "t2"}')
    before = len(registry.seen)
    client.manifest(web)
    assert "authorization" not in registry.seen[before].headers
    assert registry.seen[-1].headers["authorization"] == "Bearer t2"


@pytest.mark.parametrize(
    ("life", "right"), [(1, 60), (-1, 60), ("null", 60), (300, 300), (10**12, 86400), ("1" * 400, 86400)]
)
def test_a_token_lives_a_minute_or_more_and_a_day_or_less(life: object, right: float) -> None:
    class Said:
        status, host = 200, "service"

        def __enter__(self) -> Said:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self, limit: int) -> bytes:
            return f'{{"token": "t", "expires_in": {life}}}'.encode()

    assert tokens.read_token(Said(), 100.0, "registry").end == 100.0 + right  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b"[]",
        b'{"token": ""}',
        b'{"token": 7}',
        b'{"token": "a\\r\\nX-Evil: 1"}',
        b'{"token": "a b"}',
        b'{"token": "t", "expires_in": "soon"}',
        b'{"token": "t", "refresh_token": ["x"]}',
        b'{"token": "a", "token": "b"}',
        b'{"token": "s3cret", "expires_in": [1]}',
    ],
)
def test_what_is_no_token_is_refused(
    registry: FakeRegistry, client: RegistryClient, web: Reference, service: WebServer, body: bytes
) -> None:
    service.answer = lambda exchange: exchange.reply(200, body)
    with pytest.raises(ContentError, match="sent no token") as failure:
        client.resolve(web)
    assert "s3cret" not in str(failure.value)
    assert all("authorization" not in seen.headers for seen in registry.seen)


def test_a_token_service_that_refuses_us_is_quoted(
    client: RegistryClient, web: Reference, service: WebServer, password: Credential
) -> None:
    service.answer = lambda exchange: exchange.reply(401, error("UNAUTHORIZED", "wrong password"))
    with pytest.raises(Unauthorized, match=r"no token: .* says: wrong password"):
        client.resolve(web)


def test_a_busy_token_service_is_asked_again(
    client: RegistryClient, web: Reference, service: WebServer
) -> None:
    good, left = service.answer, [1]

    def busy_once(exchange: Exchange) -> None:
        left[0] -= 1
        exchange.reply(503) if left[0] >= 0 else good(exchange)

    service.answer = busy_once
    client.resolve(web)
    assert len(service.seen) == 2


def test_an_identity_token_is_posted_and_never_put_into_a_url(
    registry: FakeRegistry,
    client: RegistryClient,
    web: Reference,
    service: WebServer,
    credentials: Credentials,
) -> None:
    credentials.store(registry.name, Credential("ada", identity_token="refresh me"))
    client.resolve(web)
    seen = service.seen[0]
    assert (seen.method, seen.target) == ("POST", "/token")
    assert parse_qs(seen.body.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh me"],
        "service": ["fake"],
        "client_id": ["minicontainer"],
        "scope": ["repository:web:pull"],
    }


def test_of_several_challenges_bearer_is_taken(
    registry: FakeRegistry, client: RegistryClient, web: Reference, service: WebServer, password: Credential
) -> None:
    registry.challenge = f'Basic realm="x", {registry.challenge}'
    client.resolve(web)
    assert all(not seen.headers.get("authorization", "").startswith("Basic") for seen in registry.seen)


# --- login -----------------------------------------------------------------------------------------


def test_login_keeps_what_the_registry_takes(
    registry: FakeRegistry, client: RegistryClient, credentials: Credentials
) -> None:
    registry.want_password("ada", "s3cret")
    where = client.login(registry.name, "ada", "s3cret")
    assert where == str(credentials.path)
    assert credentials.find(registry.name) == Credential("ada", "s3cret")


def test_login_keeps_nothing_that_is_refused(
    registry: FakeRegistry, client: RegistryClient, credentials: Credentials
) -> None:
    registry.want_password("ada", "s3cret")
    with pytest.raises(Unauthorized):
        client.login(registry.name, "ada", "wrong")
    assert not credentials.path.exists()


def test_login_asks_for_an_identity_token_and_keeps_it_instead_of_the_password(
    registry: FakeRegistry, client: RegistryClient, credentials: Credentials, service: WebServer
) -> None:
    service.answer = lambda exchange: exchange.reply(200, b'{"token": "t1", "refresh_token": "keep me"}')
    client.login(registry.name, "ada", "s3cret")
    assert query(service)["offline_token"] == ["true"]
    assert credentials.find(registry.name) == Credential("ada", "", "keep me")
    assert (
        "s3cret"
        not in base64.b64decode(
            json.loads(credentials.path.read_text())["auths"][registry.name]["auth"]
        ).decode()
    )


def test_a_ping_says_what_is_wrong(registry: FakeRegistry, client: RegistryClient) -> None:
    client.ping(registry.name)
    registry.when("GET", "/v2/", lambda exchange: exchange.reply(404))
    with pytest.raises(RegistryError, match="HTTP status 404"):
        client.ping(registry.name)


def test_the_file_of_credentials_is_for_its_owner_alone(credentials: Credentials) -> None:
    credentials.store("registry.example", Credential("ada", "s3cret"))
    assert Path(credentials.path).stat().st_mode & 0o777 == 0o600
