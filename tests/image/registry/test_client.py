"""The client and a registry that behaves: every request of the specification, and what it comes to."""

from __future__ import annotations

import os

import pytest

from minicontainer.errors import NotFound
from minicontainer.image.reference import Reference
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.credentials import Credential
from minicontainer.image.registry.errors import Missing
from minicontainer.oci.digest import digest_of
from minicontainer.oci.image import OCI_LAYER, OCI_MANIFEST, Descriptor
from tests.image.registry.fake_registry import FakeRegistry
from tests.image.registry.web_server import Exchange, WebServer


def test_a_tag_is_resolved_by_one_head_request(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    digest = registry.add_image("1", b"layer")
    found = client.resolve(web)
    assert (found.digest, found.media_type) == (digest, OCI_MANIFEST)
    assert [(seen.method, seen.path) for seen in registry.requests(path="/web/")] == [
        ("HEAD", "/v2/web/manifests/1")
    ]


def test_a_reference_without_a_tag_means_latest(registry: FakeRegistry, client: RegistryClient) -> None:
    digest = registry.add_image("latest", b"layer")
    assert client.resolve(Reference(registry.name, "web")).digest == digest


def test_a_manifest_comes_with_its_type_and_its_true_digest(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    digest = registry.add_image("1", b"layer")
    descriptor, data = client.manifest(web)
    assert digest_of(data) == descriptor.digest == digest
    assert (descriptor.size, descriptor.media_type) == (len(data), OCI_MANIFEST)


def test_all_four_types_are_accepted_and_we_say_who_we_are(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.add_image("1", b"layer")
    client.manifest(web)
    headers = registry.requests(path="/manifests/")[0].headers
    assert headers["accept"].count("application/vnd.") == 4
    assert headers["user-agent"].startswith("minicontainer/")


def test_a_registry_that_has_no_head_is_asked_by_get(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    digest = registry.add_image("1", b"layer")
    registry.when("HEAD", "/manifests/", lambda exchange: exchange.reply(405))
    assert client.resolve(web).digest == digest


def test_a_registry_that_does_not_say_the_digest_is_asked_for_the_whole(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    digest = registry.add_image("1", b"layer")
    data = registry.manifests["1"][1]
    registry.when("", "/manifests/", lambda exchange: exchange.reply(200, data, Content_Type=OCI_MANIFEST))
    assert client.resolve(web).digest == digest


def test_what_is_not_there_is_not_found_in_the_words_of_the_registry(
    client: RegistryClient, web: Reference
) -> None:
    with pytest.raises(Missing, match=r"web:1: .* says: manifest unknown \(MANIFEST_UNKNOWN\)") as failure:
        client.resolve(web)
    assert isinstance(failure.value, NotFound)
    assert failure.value.code == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize("offset", [0, 1, 70_000, 99_999])
def test_a_blob_is_streamed_from_an_offset_on(
    registry: FakeRegistry, client: RegistryClient, web: Reference, offset: int
) -> None:
    data = os.urandom(100_000)
    blob = registry.add_blob(data)
    assert b"".join(client.blob(web, blob, offset)) == data[offset:]


def test_a_blob_that_is_whole_is_not_asked_for(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    blob = registry.add_blob(b"12345")
    assert b"".join(client.blob(web, blob, 5)) == b""
    assert registry.seen == []


def test_a_body_in_chunks_without_a_length_is_as_good(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    blob = registry.add_blob(b"12345")

    def in_chunks(exchange: Exchange) -> None:
        exchange.head(200, {"Transfer-Encoding": "chunked"})
        exchange.send(b"2\r\n12\r\n3;of=it\r\n345\r\n0\r\n\r\n")

    registry.when("GET", "/blobs/", in_chunks)
    assert b"".join(client.blob(web, blob)) == b"12345"


def test_connections_are_used_again(registry: FakeRegistry, client: RegistryClient, web: Reference) -> None:
    registry.add_image("1", b"layer")
    blob = registry.add_blob(b"12345")
    for _ in range(3):
        client.resolve(web)
        client.manifest(web)
        b"".join(client.blob(web, blob))
        client.has_blob(web, blob.digest)
    assert registry.connections == 1


def test_after_reopen_connections_are_new_ones(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.add_image("1", b"layer")
    client.resolve(web)
    before = registry.connections
    client.reopen()
    client.resolve(web)
    assert registry.connections == before + 1


def test_a_blob_is_there_or_not(registry: FakeRegistry, client: RegistryClient, web: Reference) -> None:
    blob = registry.add_blob(b"12345")
    assert client.has_blob(web, blob.digest)
    assert not client.has_blob(web, digest_of(b"something else"))


def test_a_manifest_is_pushed_as_it_is(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    digest = client.push_manifest(web, OCI_MANIFEST, b'{"schemaVersion": 2}', "1")
    assert registry.manifests["1"] == (OCI_MANIFEST, b'{"schemaVersion": 2}')
    assert digest == digest_of(b'{"schemaVersion": 2}')


def test_a_blob_is_mounted_from_where_the_registry_has_it(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    blob = registry.add_blob(b"12345")
    assert client.mount_blob(web, blob.digest, "library/base")
    assert "from=library%2Fbase" in registry.seen[-1].target


def test_a_mount_that_became_an_upload_is_given_up(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    assert not client.mount_blob(web, digest_of(b"12345"), "library/base")
    assert registry.uploads == {}


def test_tags_are_listed_over_all_pages(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    def page(exchange: Exchange) -> None:
        last = "last=b" in exchange.seen.target
        link = {} if last else {"Link": '</v2/web/tags/list?n=2&last=b>; rel="next"'}
        body = b'{"name": "web", "tags": ["c"]}' if last else b'{"name": "web", "tags": ["a", "b"]}'
        exchange.reply(200, body, **link)

    registry.when("GET", "/tags/list", page)
    assert list(client.tags(web)) == ["a", "b", "c"]


def test_a_repository_without_tags_has_none(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.when("GET", "/tags/list", lambda exchange: exchange.reply(200, b'{"name":"web","tags":null}'))
    assert list(client.tags(web)) == []


INDEX = (
    b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": ['
    b'{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2, "artifactType": "a/sbom",'
    b' "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},'
    b'{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 3, "artifactType": "a/signature",'
    b' "digest": "sha256:8a5edab282632443219e051e4ade2d1d5bbc671c781051bf1437897cbdfea0f1"}]}'
)


def test_referrers_of_one_type_or_of_all_are_listed(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.when("GET", "/referrers/", lambda exchange: exchange.reply(200, INDEX))
    subject = digest_of(b"subject")
    assert [each.size for each in client.referrers(web, subject)] == [2, 3]
    assert [each.size for each in client.referrers(web, subject, "a/signature")] == [3]
    assert registry.seen[-1].target.endswith(f"/referrers/{subject}?artifactType=a%2Fsignature")


def test_where_there_is_no_list_of_referrers_a_tag_may_have_it(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    subject = digest_of(b"subject")
    assert list(client.referrers(web, subject)) == []
    registry.add_manifest(subject.replace(":", "-"), INDEX, "application/vnd.oci.image.index.v1+json")
    assert [each.size for each in client.referrers(web, subject)] == [2, 3]


def test_a_layer_of_its_makers_is_fetched_there_without_credentials(
    registry: FakeRegistry,
    client: RegistryClient,
    web: Reference,
    other: WebServer,
    password: Credential,
) -> None:
    registry.want_password("ada", "s3cret")
    other.answer = lambda exchange: exchange.reply(200, b"12345")
    blob = Descriptor(media_type=OCI_LAYER, digest=digest_of(b"12345"), size=5, urls=(f"{other.url}/layer",))
    assert b"".join(client.blob(web, blob)) == b"12345"
    assert "authorization" not in other.seen[0].headers
    assert registry.requests("GET", "/blobs/")  # it was asked first


def test_a_layer_that_the_registry_has_is_not_fetched_elsewhere(
    registry: FakeRegistry, client: RegistryClient, web: Reference, other: WebServer
) -> None:
    blob = registry.add_blob(b"12345")
    wanted = Descriptor(media_type=OCI_LAYER, digest=blob.digest, size=5, urls=(f"{other.url}/layer",))
    assert b"".join(client.blob(web, wanted)) == b"12345"
    assert other.seen == []
