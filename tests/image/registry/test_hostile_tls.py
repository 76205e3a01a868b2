"""Servers that cannot prove who they are, and ways down from TLS to plain HTTP.

Right is: refused, with a hint what to do about it; and nothing secret has gone to anybody. The exceptions are
those that the user has configured, and a registry on this very machine.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from minicontainer.errors import SpecError
from minicontainer.image.configuration import Registry
from minicontainer.image.reference import Reference
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.credentials import Credential, Credentials
from minicontainer.image.registry.errors import (
    CertificateError,
    HandshakeError,
    RegistryError,
    TransportError,
    UnsafeError,
)
from minicontainer.image.registry.tls import folders
from tests.image.registry.certificates import Authority
from tests.image.registry.conftest import MakeRegistry
from tests.image.registry.fake_registry import FakeRegistry
from tests.image.registry.web_server import Exchange, WebServer

MakeClient = Callable[..., RegistryClient]
pytestmark = pytest.mark.usefixtures("known_names")


def far(registry: FakeRegistry) -> str:
    """Name a registry as if it were far away."""
    return f"registry.example:{registry.port}"


def redirect_to(url: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.reply(307, Location=url)


@pytest.fixture
def secure(make_registry: MakeRegistry, authority: Authority) -> FakeRegistry:
    """A registry with a good certificate, by an authority that nobody knows yet."""
    registry = make_registry(tls=authority.server("registry.example", "127.0.0.1"))
    registry.add_image("1", b"layer")
    return registry


def trusting(make_client: MakeClient, name: str, authority: Authority) -> RegistryClient:
    return make_client({name: Registry(ca=str(authority.file))})


def test_a_certificate_of_an_unknown_authority_is_refused(
    client: RegistryClient, secure: FakeRegistry
) -> None:
    with pytest.raises(CertificateError, match="its certificate is refused") as failure:
        client.resolve(Reference(far(secure), "web", "1"))
    assert f"certs.d/{far(secure)}/ca.crt" in failure.value.hint
    assert secure.seen == []


def test_on_this_machine_it_is_refused_as_well(client: RegistryClient, secure: FakeRegistry) -> None:
    with pytest.raises(CertificateError):
        client.resolve(Reference(secure.name, "web", "1"))
    assert secure.seen == []


def test_an_authority_from_the_configuration_is_believed(
    make_client: MakeClient, secure: FakeRegistry, authority: Authority
) -> None:
    client = trusting(make_client, far(secure), authority)
    assert client.resolve(Reference(far(secure), "web", "1")).digest in secure.manifests


def test_an_authority_from_a_folder_named_after_the_registry_is_believed(
    client: RegistryClient, secure: FakeRegistry, authority: Authority, home: Path
) -> None:
    named = home / ".config" / "minicontainer" / "certs.d" / far(secure)
    named.mkdir(parents=True)
    (named / "ca.crt").write_bytes(authority.file.read_bytes())
    assert client.resolve(Reference(far(secure), "web", "1")).digest in secure.manifests


def test_the_folders_of_docker_and_podman_are_looked_into_as_well(home: Path) -> None:
    ours = home / ".config" / "minicontainer" / "certs.d"
    others = [Path("/etc") / name / "certs.d" for name in ("minicontainer", "docker", "containers")]
    assert folders() == [ours, *others]


def test_a_certificate_for_another_name_is_refused(
    make_client: MakeClient, make_registry: MakeRegistry, authority: Authority
) -> None:
    registry = make_registry(tls=authority.server("other.example"))
    with pytest.raises(CertificateError, match="Hostname mismatch"):
        trusting(make_client, far(registry), authority).resolve(Reference(far(registry), "web", "1"))
    assert registry.seen == []


def test_a_certificate_that_has_ended_is_refused(
    make_client: MakeClient, make_registry: MakeRegistry, authority: Authority
) -> None:
    registry = make_registry(tls=authority.server("registry.example", days=-2))
    with pytest.raises(CertificateError, match="expired"):
        trusting(make_client, far(registry), authority).resolve(Reference(far(registry), "web", "1"))
    assert registry.seen == []


def test_a_server_with_nothing_newer_than_tls_1_1_is_refused(
    make_client: MakeClient, make_registry: MakeRegistry, authority: Authority
) -> None:
    old = authority.server("registry.example")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    registry = make_registry(tls=old)
    with pytest.raises(TransportError, match="TLS failed"):
        trusting(make_client, far(registry), authority).resolve(Reference(far(registry), "web", "1"))
    assert registry.seen == []


def test_a_registry_far_away_is_never_asked_without_tls(
    client: RegistryClient, registry: FakeRegistry, credentials: Credentials
) -> None:
    credentials.store(far(registry), Credential("ada", "s3cret"))
    with pytest.raises((HandshakeError, TransportError)):
        client.resolve(Reference(far(registry), "web", "1"))
    assert registry.seen == []


def test_an_insecure_one_is_asked_without_tls_when_it_has_none(
    make_client: MakeClient, registry: FakeRegistry
) -> None:
    registry.add_image("1", b"layer")
    client = make_client({far(registry): Registry(insecure=True)})
    assert client.resolve(Reference(far(registry), "web", "1")).digest in registry.manifests


def test_an_insecure_one_that_speaks_tls_is_asked_with_tls(
    make_client: MakeClient, secure: FakeRegistry
) -> None:
    client = make_client({far(secure): Registry(insecure=True)})
    assert client.resolve(Reference(far(secure), "web", "1")).digest in secure.manifests


def test_being_insecure_is_of_one_registry_alone(
    make_client: MakeClient, secure: FakeRegistry, make_registry: MakeRegistry, authority: Authority
) -> None:
    second = make_registry(tls=authority.server("second.example"))
    client = make_client({far(secure): Registry(insecure=True)})
    client.resolve(Reference(far(secure), "web", "1"))
    with pytest.raises(CertificateError):
        client.resolve(Reference(f"second.example:{second.port}", "web", "1"))
    blob = secure.add_blob(b"12345")
    secure.when(
        "GET",
        "/blobs/",
        redirect_to(f"https://second.example:{second.port}/x"),
    )
    with pytest.raises(CertificateError):
        b"".join(client.blob(Reference(far(secure), "web", "1"), blob))
    assert second.seen == []


def test_a_redirect_from_tls_to_plain_http_is_refused(
    make_client: MakeClient, secure: FakeRegistry, authority: Authority, other: WebServer
) -> None:
    blob = secure.add_blob(b"12345")
    client = trusting(make_client, far(secure), authority)
    for target in (f"http://cdn.example:{other.port}/x", f"{other.url}/x", f"http://{far(secure)}/x"):
        secure.when("GET", "/blobs/", redirect_to(target), 1)
        with pytest.raises(UnsafeError, match="from TLS to plain HTTP"):
            b"".join(client.blob(Reference(far(secure), "web", "1"), blob))
    assert other.connections == 0


def test_an_upload_that_would_go_on_without_tls_is_refused(
    make_client: MakeClient, secure: FakeRegistry, authority: Authority, other: WebServer
) -> None:
    client = trusting(make_client, far(secure), authority)
    blob = secure.add_blob(b"12345")
    secure.when("POST", "/uploads/", lambda exchange: exchange.reply(202, Location=f"{other.url}/upload"))
    with pytest.raises(UnsafeError, match="from TLS to plain HTTP"):
        client.push_blob(
            Reference(far(secure), "web", "1"), blob, lambda _: pytest.fail("read"), lambda _: None
        )
    assert other.connections == 0


def test_a_certificate_of_our_own_is_shown_to_the_registry(
    make_client: MakeClient, make_registry: MakeRegistry, authority: Authority
) -> None:
    registry = make_registry(tls=authority.server("registry.example", clients=True))
    registry.add_image("1", b"layer")
    certificate, key = authority.issue("ada")
    ours = Registry(ca=str(authority.file), client_cert=str(certificate), client_key=str(key))
    client = make_client({far(registry): ours})
    assert client.resolve(Reference(far(registry), "web", "1")).digest in registry.manifests
    with pytest.raises(RegistryError):
        trusting(make_client, far(registry), authority).resolve(Reference(far(registry), "web", "1"))


def test_a_certificate_of_our_own_is_not_shown_after_a_redirect(
    make_client: MakeClient, secure: FakeRegistry, servers: ExitStack, authority: Authority
) -> None:
    cdn = servers.enter_context(WebServer(tls=authority.server("cdn.example", clients=True)))
    certificate, key = authority.issue("ada")
    ours = Registry(ca=str(authority.file), client_cert=str(certificate), client_key=str(key))
    blob = secure.add_blob(b"12345")
    secure.when("GET", "/blobs/", redirect_to(f"https://cdn.example:{cdn.port}/x"))
    with pytest.raises(RegistryError):
        b"".join(make_client({far(secure): ours}).blob(Reference(far(secure), "web", "1"), blob))
    assert cdn.seen == []


def test_the_key_of_a_certificate_must_lie_beside_it(client: RegistryClient, home: Path) -> None:
    named = home / ".config" / "minicontainer" / "certs.d" / "registry.example:5000"
    named.mkdir(parents=True)
    (named / "client.cert").write_text("")
    with pytest.raises(SpecError, match=r"there is no client\.key beside it"):
        client.ping("registry.example:5000")


def test_a_file_of_authorities_that_is_none_is_named(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    client = make_client({"registry.example": Registry(ca=str(tmp_path / "ca.pem"))})
    with pytest.raises(SpecError, match=r"ca\.pem: is not a file of certificates"):
        client.ping("registry.example")
