"""Registries that are after a password, or want us to knock on doors that are none of theirs.

Right is: whoever is not the registry itself never sees Authorization, whatever it answers; and what would
need that is refused. `other` is host B, and the requests that it has recorded are the proof.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from minicontainer.image.configuration import Registry
from minicontainer.image.reference import Reference
from minicontainer.image.registry.addresses import Origin, origin
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.credentials import Credential, Credentials
from minicontainer.image.registry.errors import RegistryError, Unauthorized, UnsafeError
from minicontainer.image.registry.redirects import check_target
from minicontainer.image.registry.tokens import check_realm
from minicontainer.oci.image import Descriptor
from tests.image.registry.certificates import Authority
from tests.image.registry.conftest import MakeRegistry
from tests.image.registry.fake_registry import FakeRegistry, error
from tests.image.registry.web_server import Exchange, WebServer

MakeClient = Callable[..., RegistryClient]


@pytest.fixture
def blob(registry: FakeRegistry, password: Credential) -> Descriptor:
    """A blob for which the registry wants the password."""
    registry.want_password("ada", "s3cret")
    return registry.add_blob(b"12345")


def redirect_to(url: str, status: int = 307) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.reply(status, Location=url)


def after_password(
    registry: FakeRegistry, behaviour: Callable[[Exchange], None]
) -> Callable[[Exchange], None]:
    """Behave so only to who has shown the password."""

    def behave(exchange: Exchange) -> None:
        trusted = exchange.seen.headers.get("authorization") == registry.wanted
        (behaviour if trusted else registry.serve)(exchange)

    return behave


def has_seen_no_secret(server: WebServer) -> bool:
    """Tell whether a server has recorded requests, none with what is meant for the registry."""
    secrets = ("s3cret", base64.b64encode(b"ada:s3cret").decode())
    words = [f"{seen.target} {dict(seen.headers)} {seen.body!r}" for seen in server.seen]
    clean = all("authorization" not in seen.headers and "cookie" not in seen.headers for seen in server.seen)
    return bool(words) and clean and not any(secret in each for secret in secrets for each in words)


# --- redirects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_takes_no_password_along(
    registry: FakeRegistry,
    client: RegistryClient,
    web: Reference,
    blob: Descriptor,
    other: WebServer,
    status: int,
) -> None:
    other.answer = lambda exchange: exchange.reply(200, b"12345")
    registry.when("GET", "/blobs/", after_password(registry, redirect_to(f"{other.url}/x?sig=1", status)))
    assert b"".join(client.blob(web, blob)) == b"12345"
    assert has_seen_no_secret(other)


def test_a_redirect_to_another_port_takes_no_password_along(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor, servers: ExitStack
) -> None:
    beside = servers.enter_context(WebServer())
    beside.answer = lambda exchange: exchange.reply(200, b"12345")
    registry.when("GET", "/blobs/", after_password(registry, redirect_to(f"{beside.url}/x")))
    assert b"".join(client.blob(web, blob)) == b"12345"
    assert has_seen_no_secret(beside)


def test_a_redirect_to_another_name_of_the_same_machine_takes_no_password_along(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    data = registry.blobs[blob.digest]
    registry.when(
        "GET", "/blobs/", after_password(registry, redirect_to(f"http://localhost:{registry.port}/x"))
    )
    registry.when("GET", "/x", lambda exchange: exchange.reply(200, data))
    assert b"".join(client.blob(web, blob)) == data
    assert "authorization" not in registry.requests("GET", "/x")[0].headers


def test_a_redirect_within_the_registry_takes_the_password_along(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    registry.when("GET", f"/web/blobs/{blob.digest}", redirect_to(f"/v2/there/blobs/{blob.digest}"))
    assert b"".join(client.blob(web, blob)) == b"12345"


def test_a_host_after_a_redirect_that_answers_401_gets_nothing(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor, other: WebServer
) -> None:
    other.answer = lambda exchange: exchange.reply(401, WWW_Authenticate='Basic realm="give it to me"')
    registry.when("GET", "/blobs/", after_password(registry, redirect_to(f"{other.url}/x")))
    with pytest.raises(Unauthorized):
        b"".join(client.blob(web, blob))
    assert has_seen_no_secret(other)
    assert len(other.seen) == 1


def test_a_host_after_a_redirect_that_names_a_token_service_gets_nothing(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor, other: WebServer
) -> None:
    realm = f'Bearer realm="{other.url}/token"'
    other.answer = lambda exchange: exchange.reply(401, WWW_Authenticate=realm)
    registry.when("GET", "/blobs/", after_password(registry, redirect_to(f"{other.url}/x")))
    with pytest.raises(Unauthorized):
        b"".join(client.blob(web, blob))
    assert has_seen_no_secret(other)
    assert other.requests(path="/token") == []


def test_a_way_there_and_back_does_not_bring_the_password_back(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor, other: WebServer
) -> None:
    other.answer = redirect_to(f"{registry.url}/back")
    registry.when("GET", "/blobs/", after_password(registry, redirect_to(f"{other.url}/x")))
    registry.when("GET", "/back", lambda exchange: exchange.reply(200, b"12345"))
    assert b"".join(client.blob(web, blob)) == b"12345"
    assert "authorization" not in registry.requests("GET", "/back")[0].headers


def test_cookies_are_not_kept_for_anybody(
    registry: FakeRegistry, client: RegistryClient, web: Reference, other: WebServer
) -> None:
    blob = registry.add_blob(b"12345")
    other.answer = lambda exchange: exchange.reply(200, b"12345", Set_Cookie="b=2")

    def with_cookie(exchange: Exchange) -> None:
        exchange.reply(307, Location=f"{other.url}/x", Set_Cookie="a=1; Domain=127.0.0.2")

    registry.when("GET", "/blobs/", with_cookie)
    for _ in range(2):
        assert b"".join(client.blob(web, blob)) == b"12345"
    assert all("cookie" not in seen.headers for seen in [*registry.seen, *other.seen])


def test_redirects_in_a_circle_end(registry: FakeRegistry, client: RegistryClient, web: Reference) -> None:
    blob = registry.add_blob(b"12345")
    registry.when("GET", "/blobs/", lambda exchange: exchange.reply(307, Location=exchange.seen.target))
    with pytest.raises(RegistryError, match="redirects more than 5 times"):
        b"".join(client.blob(web, blob))
    assert len(registry.requests("GET", "/blobs/")) == 6


def test_five_redirects_are_followed(registry: FakeRegistry, client: RegistryClient, web: Reference) -> None:
    blob = registry.add_blob(b"12345")
    registry.when("GET", "/blobs/", redirect_to("/1"))
    for number in range(1, 5):
        registry.when("GET", f"/{number}", redirect_to(f"/{number + 1}"))
    registry.when("GET", "/5", lambda exchange: exchange.reply(200, b"12345"))
    assert b"".join(client.blob(web, blob)) == b"12345"


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "http://ada:s3cret@127.0.0.1/x",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1\\@evil/x",
        "http://[::1/x",
        "http://a b/x",
        "http://169.254.169.254/latest/meta-data/",
    ],
)
def test_a_redirect_that_leads_nowhere_good_is_refused(
    registry: FakeRegistry, client: RegistryClient, web: Reference, location: str
) -> None:
    blob = registry.add_blob(b"12345")
    registry.when("GET", "/blobs/", redirect_to(location))
    with pytest.raises(UnsafeError):
        b"".join(client.blob(web, blob))


FAR, NEAR = Origin("https", "registry.example", 443), Origin("http", "127.0.0.1", 5000)
INSECURE = Origin("http", "registry.class", 5000)


@pytest.mark.parametrize(
    ("here", "there", "insecure", "right"),
    [
        (FAR, "https://cdn.example/x", False, True),
        (FAR, "https://registry.example:8443/x", False, True),
        (FAR, "http://registry.example/x", False, False),
        (FAR, "http://cdn.example/x", False, False),
        (FAR, "http://127.0.0.1/x", False, False),
        (FAR, "https://127.0.0.1/x", False, False),
        (FAR, "https://localhost/x", False, False),
        (FAR, "https://[::1]/x", False, False),
        (FAR, "https://[::ffff:127.0.0.1]/x", False, False),
        (FAR, "https://2130706433/x", False, False),
        (FAR, "https://127.1/x", False, False),
        (FAR, "https://169.254.169.254/x", False, False),
        (FAR, "https://[fe80::1]/x", False, False),
        (NEAR, "http://127.0.0.1:6000/x", False, True),
        (NEAR, "http://127.0.0.2:6000/x", False, True),
        (NEAR, "https://cdn.example/x", False, True),
        (NEAR, "http://cdn.example/x", False, False),
        (INSECURE, "http://registry.class:9000/x", False, True),
        (INSECURE, "http://cdn.class/x", True, True),
        (INSECURE, "http://169.254.169.254/x", True, False),
        (INSECURE, "http://127.0.0.1/x", True, False),
        (FAR, "https://0.0.0.0/x", False, False),
        (FAR, "https://evil.localhost/x", False, False),
        (FAR, "https://10.0.0.1/x", False, True),
        (Origin("https", "10.0.0.1", 443), "https://127.0.0.1/x", False, False),
    ],
)
def test_where_a_redirect_may_lead(here: Origin, there: str, insecure: bool, right: bool) -> None:
    if right:
        check_target(here, origin(there), insecure)
    else:
        with pytest.raises(UnsafeError):
            check_target(here, origin(there), insecure)


# --- token services --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("realm", "right"),
    [
        ("https://auth.example/token", True),
        ("https://registry.example/token", True),
        ("https://8.8.8.8/token", True),
        ("http://auth.example/token", False),
        ("http://registry.example/token", False),
        ("file:///etc/passwd", False),
        ("https://127.0.0.1/token", False),
        ("https://127.1/token", False),
        ("https://0x7f.0.0.1/token", False),
        ("https://2130706433/token", False),
        ("https://[::1]/token", False),
        ("https://[::ffff:10.0.0.1]/token", False),
        ("https://0.0.0.0/token", False),
        ("https://localhost/token", False),
        ("https://auth.localhost/token", False),
        ("https://localhost./token", False),
        ("https://notlocalhost.example/token", True),
        ("https://169.254.169.254/token", False),
        ("https://10.0.0.1/token", False),
        ("https://192.168.0.1/token", False),
        ("https://172.16.0.1/token", False),
        ("https://[fd00::1]/token", False),
        ("https://ada:s3cret@auth.example/token", False),
        ("https://auth.example\\@127.0.0.1/token", False),
        ("https://auth.example /token", False),
        ("/token", False),
        ("", False),
    ],
)
def test_which_token_service_a_registry_may_name(realm: str, right: bool) -> None:
    if right:
        check_realm(realm, FAR, insecure=False)
    else:
        with pytest.raises(UnsafeError):
            check_realm(realm, FAR, insecure=False)


@pytest.mark.parametrize(
    ("registry", "realm", "insecure", "right"),
    [
        (Origin("http", "127.0.0.1", 5000), "http://localhost:5001/token", False, True),
        (Origin("http", "localhost", 5000), "http://127.0.0.1:5001/token", False, True),
        (Origin("http", "127.0.0.1", 5000), "http://127.0.0.2:5001/token", False, False),
        (Origin("https", "localhost", 5000), "http://127.0.0.1:5001/token", False, False),
        (NEAR, "http://127.0.0.1:5001/token", False, True),
        (NEAR, "http://127.0.0.2:5001/token", False, False),
        (NEAR, "http://auth.example/token", False, False),
        (NEAR, "https://auth.example/token", False, True),
        (INSECURE, "http://registry.class:5001/token", True, True),
        (INSECURE, "http://auth.class/token", True, False),
        (INSECURE, "http://127.0.0.1/token", True, False),
        (Origin("https", "registry.class", 5000), "http://registry.class:5001/token", True, True),
        (Origin("https", "10.0.0.1", 443), "https://10.0.0.2/token", False, True),
        (Origin("https", "10.0.0.1", 443), "https://127.0.0.1/token", False, False),
        (Origin("https", "10.0.0.1", 443), "https://169.254.169.254/token", False, False),
        (NEAR, "https://10.0.0.2/token", False, True),
        (NEAR, "https://169.254.169.254/token", False, False),
    ],
)
def test_which_token_service_a_registry_without_tls_may_name(
    registry: Origin, realm: str, insecure: bool, right: bool
) -> None:
    if right:
        check_realm(realm, registry, insecure)
    else:
        with pytest.raises(UnsafeError):
            check_realm(realm, registry, insecure)


@pytest.mark.parametrize("with_password", [True, False])
def test_a_token_service_elsewhere_without_tls_is_not_even_asked(
    registry: FakeRegistry,
    client: RegistryClient,
    credentials: Credentials,
    web: Reference,
    other: WebServer,
    with_password: bool,
) -> None:
    if with_password:
        credentials.store(registry.name, Credential("ada", "s3cret"))
    registry.want_token("t1", f"{other.url}/token")
    with pytest.raises(UnsafeError, match="over plain HTTP"):
        client.resolve(web)
    assert other.seen == []


def test_a_refused_token_service_is_not_made_good_by_basic(
    registry: FakeRegistry, client: RegistryClient, web: Reference, password: Credential
) -> None:
    registry.wanted = "never"
    registry.challenge = 'Bearer realm="http://169.254.169.254/token", Basic realm="x"'
    with pytest.raises(UnsafeError):
        client.resolve(web)
    assert has_seen_no_secret(registry)


def test_a_token_service_that_redirects_elsewhere_gives_the_password_to_nobody(
    registry: FakeRegistry, client: RegistryClient, web: Reference, password: Credential, servers: ExitStack
) -> None:
    service, other = (servers.enter_context(WebServer(host)) for host in ("127.0.0.1", "127.0.0.2"))
    service.answer = redirect_to(f"{other.url}/token")
    other.answer = lambda exchange: exchange.reply(200, b'{"token": "t1"}')
    registry.add_image("1", b"layer")
    registry.want_token("t1", f"{service.url}/token")
    client.resolve(web)
    assert has_seen_no_secret(other)


def test_a_token_service_that_redirects_a_refresh_token_elsewhere_is_refused(
    registry: FakeRegistry,
    client: RegistryClient,
    web: Reference,
    credentials: Credentials,
    servers: ExitStack,
) -> None:
    credentials.store(registry.name, Credential("ada", identity_token="s3cret"))
    service, other = (servers.enter_context(WebServer(host)) for host in ("127.0.0.1", "127.0.0.2"))
    service.answer = redirect_to(f"{other.url}/token")
    registry.want_token("t1", f"{service.url}/token")
    with pytest.raises(UnsafeError, match="wants the password to be sent"):
        client.resolve(web)
    assert other.seen == []


def test_a_registry_that_never_has_enough_is_asked_twice(
    registry: FakeRegistry, client: RegistryClient, web: Reference, servers: ExitStack
) -> None:
    service = servers.enter_context(WebServer())
    service.answer = lambda exchange: exchange.reply(200, b'{"token": "t1"}')
    registry.want_token("another", f"{service.url}/token")
    with pytest.raises(Unauthorized):
        client.manifest(web)
    assert len(registry.requests(path="/manifests/")) == 2
    assert len(service.seen) == 1


def test_a_password_for_one_registry_is_not_for_another(
    client: RegistryClient, password: Credential, make_registry: MakeRegistry
) -> None:
    evil = make_registry("127.0.0.2")
    evil.want_password("ada", "s3cret")
    with pytest.raises(Unauthorized):
        client.resolve(Reference(evil.name, "web", "1"))
    assert has_seen_no_secret(evil)


def test_a_registry_far_away_may_name_a_service_with_tls_on_another_host(
    make_client: MakeClient,
    make_registry: MakeRegistry,
    credentials: Credentials,
    servers: ExitStack,
    authority: Authority,
    known_names: None,
) -> None:
    registry = make_registry(tls=authority.server("registry.example"))
    service = servers.enter_context(WebServer(tls=authority.server("auth.example")))
    service.answer = lambda exchange: exchange.reply(200, json.dumps({"token": "t1"}).encode())
    registry.want_token("t1", f"https://auth.example:{service.port}/token")
    registry.add_image("1", b"layer")
    name = f"registry.example:{registry.port}"
    credentials.store(name, Credential("ada", "s3cret"))
    make_client({name: Registry(ca=str(authority.file))}).resolve(Reference(name, "web", "1"))
    assert service.seen[0].headers["authorization"].startswith("Basic ")


def test_a_registry_far_away_cannot_send_us_to_a_service_of_this_machine(
    make_client: MakeClient,
    make_registry: MakeRegistry,
    other: WebServer,
    authority: Authority,
    known_names: None,
) -> None:
    registry = make_registry(tls=authority.server("registry.example"))
    name = f"registry.example:{registry.port}"
    client = make_client({name: Registry(ca=str(authority.file))})
    registry.want_token("t1", f"https://127.0.0.2:{other.port}/token")
    with pytest.raises(UnsafeError, match="within this machine or network"):
        client.resolve(Reference(name, "web", "1"))
    registry.wanted = ""
    blob = registry.add_blob(b"12345")
    registry.when("GET", "/blobs/", redirect_to(f"https://127.0.0.2:{other.port}/x"))
    with pytest.raises(UnsafeError, match="within this machine or network"):
        b"".join(client.blob(Reference(name, "web", "1"), blob))
    assert other.connections == 0


# --- uploads, lists, foreign layers ----------------------------------------------------------------


def test_the_next_page_on_another_host_is_not_fetched(
    registry: FakeRegistry, client: RegistryClient, web: Reference, other: WebServer
) -> None:
    registry.when(
        "GET",
        "/tags/list",
        lambda exchange: exchange.reply(200, b'{"tags": ["a"]}', Link=f'<{other.url}/2>; rel="next"'),
    )
    with pytest.raises(UnsafeError, match="goes on at"):
        list(client.tags(web))
    assert other.seen == []


def test_a_foreign_layer_whose_host_wants_a_password_gets_none(
    registry: FakeRegistry, client: RegistryClient, web: Reference, other: WebServer, blob: Descriptor
) -> None:
    del registry.blobs[blob.digest]
    other.answer = lambda exchange: exchange.reply(401, WWW_Authenticate='Basic realm="x"')
    wanted = Descriptor(media_type="x", digest=blob.digest, size=5, urls=(f"{other.url}/layer",))
    with pytest.raises(Unauthorized):
        b"".join(client.blob(web, wanted))
    assert has_seen_no_secret(other)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://mirror.example/x", "http://169.254.169.254/x"])
def test_a_foreign_layer_from_nowhere_good_is_refused(
    registry: FakeRegistry, client: RegistryClient, web: Reference, url: str
) -> None:
    wanted = Descriptor(media_type="x", digest="sha256:" + "0" * 64, size=5, urls=(url,))
    with pytest.raises(UnsafeError):
        b"".join(client.blob(web, wanted))


def test_what_a_registry_says_cannot_write_to_the_terminal(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    bad = error("DENIED\x1b[2J", "\x1b]0;owned\x07 go\r\naway \u202e" + "x" * 10_000)
    registry.when("", "/manifests/", lambda exchange: exchange.reply(403, bad))
    with pytest.raises(RegistryError) as failure:
        client.manifest(web)
    assert str(failure.value).isprintable()
    assert len(str(failure.value)) < 600
