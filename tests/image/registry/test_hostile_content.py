"""Manifests, lists and errors that are not what they claim.

Right is: a digest that was asked for decides, whatever else is said; what has another one is refused; a
document has a size and a list has an end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from minicontainer.errors import Unsupported
from minicontainer.image.reference import Reference
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.errors import ContentError, Missing, RegistryError, Unauthorized
from minicontainer.oci.digest import digest_of
from minicontainer.oci.image import DOCKER_SCHEMA_1, OCI_MANIFEST
from tests.image.registry.fake_registry import FakeRegistry, error
from tests.image.registry.web_server import Exchange

OLD, NEW = b'{"schemaVersion": 2, "v": "old"}', b'{"schemaVersion": 2, "v": "new"}'


def reply(data: bytes, digest: str = "", media_type: str = OCI_MANIFEST) -> Callable[[Exchange], None]:
    """Answer with a document, and with a digest that may be a lie."""
    headers = {"Content_Type": media_type, "Docker_Content_Digest": digest or digest_of(data)}
    return lambda exchange: exchange.reply(200, data, **headers)


def test_a_tag_that_moves_between_two_questions_stays_where_it_was(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.add_manifest("1", OLD)
    found = client.resolve(web)
    registry.add_manifest("1", NEW)
    assert client.manifest(web, found.digest)[1] == OLD


def test_a_tag_that_moved_and_whose_old_manifest_is_gone_is_missing(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    digest = registry.add_manifest("1", OLD)
    found = client.resolve(web)
    registry.add_manifest("1", NEW)
    del registry.manifests[digest]
    with pytest.raises(Missing):
        client.manifest(web, found.digest)


def test_a_digest_wins_over_the_tag_beside_it(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    digest = registry.add_manifest("other", OLD)
    registry.add_manifest("1", NEW)
    both = replace(web, digest=digest)
    assert client.resolve(both).digest == digest
    assert client.manifest(both)[1] == OLD


def test_another_document_than_the_digest_names_is_refused(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.when("GET", "/manifests/", reply(NEW, digest_of(OLD)))
    with pytest.raises(ContentError, match="has not the digest"):
        client.manifest(web, digest_of(OLD))


def test_another_digest_for_a_digest_is_refused(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.when("HEAD", "/manifests/", reply(NEW))
    with pytest.raises(ContentError, match="says that its digest is"):
        client.resolve(replace(web, digest=digest_of(OLD)))


@pytest.mark.parametrize("lie", [digest_of(OLD), "sha256:" + "0" * 64, "md5:0", "sha256:../../x", "\x1b[2J"])
def test_a_lie_about_the_digest_of_a_tag_is_refused(
    registry: FakeRegistry, client: RegistryClient, web: Reference, lie: str
) -> None:
    registry.when("GET", "/manifests/", reply(NEW, lie))
    with pytest.raises(ContentError, match="has not the digest") as failure:
        client.manifest(web)
    assert str(failure.value).isprintable()


@pytest.mark.parametrize("claim", ["md5:0", "sha256:ABC", "sha256:" + "0" * 65, "../../etc/passwd", ""])
def test_what_is_no_digest_is_not_believed_but_computed(
    registry: FakeRegistry, client: RegistryClient, web: Reference, claim: str
) -> None:
    registry.add_manifest("1", NEW)
    registry.when(
        "HEAD", "/manifests/", lambda exchange: exchange.reply(200, NEW, Docker_Content_Digest=claim)
    )
    assert client.resolve(web).digest == digest_of(NEW)


@pytest.mark.parametrize("media_type", DOCKER_SCHEMA_1)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_schema_1_is_refused_by_its_name(
    registry: FakeRegistry, client: RegistryClient, web: Reference, media_type: str, method: str
) -> None:
    registry.when("", "/manifests/", reply(b'{"schemaVersion": 1}', media_type=media_type))
    with pytest.raises(Unsupported, match="schema 1"):
        client.resolve(web) if method == "HEAD" else client.manifest(web)


def test_a_manifest_beyond_all_measure_is_not_read_to_its_end(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    sent = [0]

    def endless(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Type": OCI_MANIFEST})
        while True:
            exchange.send(b"{" * 100_000)
            sent[0] += 100_000

    registry.when("GET", "/manifests/", endless)
    with pytest.raises(ContentError, match="more than 4194304 bytes"):
        client.manifest(web)
    assert sent[0] < 64 << 20  # what fits into buffers on the way


def test_a_manifest_that_claims_to_be_beyond_all_measure_is_not_asked_for(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    def claim(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": str(1 << 40), "Docker-Content-Digest": digest_of(NEW)})

    registry.when("HEAD", "/manifests/", claim)
    with pytest.raises(ContentError, match="names a manifest of 1099511627776 bytes"):
        client.resolve(web)
    assert registry.requests("GET", "/manifests/") == []


def test_a_manifest_that_ends_too_early_is_an_error(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    def short(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": str(len(NEW)), "Docker-Content-Digest": digest_of(NEW)})
        exchange.send(NEW[:-5])
        exchange.hang_up()

    registry.when("GET", "/manifests/", short)
    with pytest.raises(RegistryError, match="ended too early"):
        client.manifest(web)


def test_a_manifest_whose_connection_breaks_is_fetched_again(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    def short(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": str(len(NEW))})
        exchange.send(NEW[:-5])
        exchange.hang_up()

    registry.add_manifest("1", NEW)
    registry.when("GET", "/manifests/", short, times=2)
    assert client.manifest(web)[1] == NEW


def test_a_document_in_another_encoding_is_not_decoded(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.when("GET", "/manifests/", lambda exchange: exchange.reply(200, NEW, Content_Encoding="gzip"))
    assert client.manifest(web)[1] == NEW


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"<html><h1>Bad Gateway</h1>",
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"errors": []}',
        b'{"errors": ["x"]}',
        b'{"errors": {"0": 1}}',
        b'{"errors": [{}]}',
        b"[" * 60_000,
        b"\xff\xfe\x00",
    ],
)
def test_an_error_without_words_is_its_status(
    registry: FakeRegistry, client: RegistryClient, web: Reference, body: bytes
) -> None:
    registry.when("GET", "/manifests/", lambda exchange: exchange.reply(400, body, Content_Type="text/html"))
    with pytest.raises(RegistryError, match=r"says: HTTP status 400\Z"):
        client.manifest(web)


def test_an_error_without_an_end_is_read_for_a_while(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.head(400, {})
        while True:
            exchange.send(b"x" * 65_536)

    registry.when("GET", "/manifests/", endless)
    with pytest.raises(RegistryError, match="HTTP status 400"):
        client.manifest(web)


def test_docker_hubs_denied_is_denied(registry: FakeRegistry, client: RegistryClient, web: Reference) -> None:
    registry.when("", "/manifests/", lambda exchange: exchange.reply(401, error("DENIED", "no access")))
    with pytest.raises(RegistryError, match="no access") as failure:
        client.manifest(web)
    assert not isinstance(failure.value, Unauthorized)
    assert failure.value.hint.startswith("minicontainer login")


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Bearer",
        'Bearer realm=""',
        "Bearer service=x",
        "Negotiate",
        "=,=,=",
        'Bearer realm="' + "x" * 50_000,
    ],
)
def test_a_challenge_that_makes_no_sense_is_a_refusal(
    registry: FakeRegistry, client: RegistryClient, web: Reference, challenge: str
) -> None:
    registry.wanted, registry.challenge = "never", challenge
    with pytest.raises(RegistryError):
        client.manifest(web)
    assert len(registry.requests(path="/manifests/")) == 1


# --- lists -----------------------------------------------------------------------------------------


def page(link: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.reply(200, b'{"tags": ["a"]}', Link=link)


def test_a_list_that_leads_back_to_itself_ends(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.when("GET", "/tags/list", page('</v2/web/tags/list?n=1000&last=a>; rel="next"'))
    with pytest.raises(RegistryError, match="its tags have no end"):
        list(client.tags(web))
    assert len(registry.requests("GET", "/tags/list")) == 2


def test_a_list_with_ever_new_pages_ends(
    registry: FakeRegistry, client: RegistryClient, web: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minicontainer.image.registry.listing.MOST_PAGES", 20)

    def ever_new(exchange: Exchange) -> None:
        page(f'</v2/web/tags/list?last={len(registry.seen)}>; rel="next"')(exchange)

    registry.when("GET", "/tags/list", ever_new)
    with pytest.raises(RegistryError, match="have no end"):
        list(client.tags(web))
    assert len(registry.requests("GET", "/tags/list")) == 20


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"<html>",
        b'{"tags": "abc"}',
        b'{"tags": [7]}',
        b'{"tags": ["\\u001b[2J"]}',
        b'{"tags": ["../../x"]}',
        b'{"tags": [""]}',
        b'{"tags": ["' + b"x" * 200 + b'"]}',
        b'{"name": "web"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_list_of_tags_is_refused(
    registry: FakeRegistry, client: RegistryClient, web: Reference, body: bytes
) -> None:
    registry.when("GET", "/tags/list", lambda exchange: exchange.reply(200, body))
    with pytest.raises(ContentError) as failure:
        list(client.tags(web))
    assert str(failure.value).isprintable()


@pytest.mark.parametrize("link", ["", "<>", "garbage", '</x>; rel="prev"', "</x>", "<" * 10_000])
def test_a_link_that_is_no_next_page_is_the_end(
    registry: FakeRegistry, client: RegistryClient, web: Reference, link: str
) -> None:
    registry.when("GET", "/tags/list", page(link))
    assert list(client.tags(web)) == ["a"]


def test_a_list_of_referrers_that_is_none_is_refused(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.add_image("1", b"layer")
    image = registry.manifests["1"][1]
    registry.when("GET", "/referrers/", lambda exchange: exchange.reply(200, image))
    with pytest.raises(ContentError, match="no list of referrers"):
        list(client.referrers(web, digest_of(OLD)))


def test_a_push_that_became_something_else_is_noticed(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.when(
        "PUT", "/manifests/", lambda exchange: exchange.reply(201, Docker_Content_Digest=digest_of(OLD))
    )
    with pytest.raises(ContentError, match="has made sha256:"):
        client.push_manifest(web, OCI_MANIFEST, NEW, "1")


def test_the_words_for_a_push_that_is_refused_are_the_registrys(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    body = json.dumps({"errors": [{"code": "TAG_INVALID", "message": "tag exists", "detail": {"a": 1}}]})
    registry.when("PUT", "/manifests/", lambda exchange: exchange.reply(400, body.encode()))
    with pytest.raises(RegistryError, match=r"tag exists \(TAG_INVALID\)"):
        client.push_manifest(web, OCI_MANIFEST, NEW, "1")
