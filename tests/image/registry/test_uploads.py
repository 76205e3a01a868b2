"""Uploads: in one request or two, gone on with after a cut, and wherever the registry wants to have them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import pytest

from minicontainer.errors import Error
from minicontainer.image.reference import Reference
from minicontainer.image.registry import uploads
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.credentials import Credential
from minicontainer.image.registry.errors import ContentError, Denied, RegistryError, UnsafeError
from minicontainer.oci.digest import digest_of
from minicontainer.oci.image import OCI_LAYER, Descriptor
from tests.image.registry.fake_registry import FakeRegistry, error
from tests.image.registry.web_server import Exchange, WebServer

BIG, LITTLE = os.urandom(uploads.SMALL + 100_000), b"little"
Push = Callable[..., list[int]]


@pytest.fixture
def push(client: RegistryClient, web: Reference) -> Push:
    """Push some bytes; gives what was heard of their progress."""

    def push_it(data: bytes, size: int = -1) -> list[int]:
        heard: list[int] = []
        blob = Descriptor(media_type=OCI_LAYER, digest=digest_of(data), size=len(data) if size < 0 else size)

        def open_at(offset: int) -> io.BytesIO:
            file = io.BytesIO(data)
            file.seek(offset)
            return file

        client.push_blob(web, blob, open_at, heard.append)
        return heard

    return push_it


def methods(registry: FakeRegistry) -> list[str]:
    return [seen.method for seen in registry.requests(path="/web/")]


def test_a_small_blob_takes_two_requests(registry: FakeRegistry, push: Push) -> None:
    assert push(LITTLE) == [len(LITTLE)]
    assert registry.blobs == {digest_of(LITTLE): LITTLE}
    assert methods(registry) == ["POST", "PUT"]


def test_an_empty_blob_is_a_blob(registry: FakeRegistry, push: Push) -> None:
    push(b"")
    assert registry.blobs == {digest_of(b""): b""}


def test_a_big_blob_is_streamed_in_one_piece(registry: FakeRegistry, push: Push) -> None:
    heard = push(BIG)
    assert registry.blobs == {digest_of(BIG): BIG}
    assert methods(registry) == ["POST", "PATCH", "PUT"]
    assert heard == sorted(heard)
    assert heard[-1] == len(BIG)


def lose_answer(registry: FakeRegistry, keep: int) -> Callable[[Exchange], None]:
    """Take `keep` bytes of an upload, and end the connection without a word."""

    def behave(exchange: Exchange) -> None:
        number = exchange.seen.path.rpartition("/")[2]
        registry.uploads[number] += exchange.seen.body[:keep]
        exchange.reset()

    return behave


def test_an_upload_that_was_cut_goes_on_where_it_was(registry: FakeRegistry, push: Push) -> None:
    registry.when("PATCH", "/uploads/", lose_answer(registry, 500_000), times=1)
    push(BIG)
    assert registry.blobs == {digest_of(BIG): BIG}
    second = registry.requests("PATCH")[1]
    assert second.headers["content-range"] == f"500000-{len(BIG) - 1}"
    assert len(second.body) == len(BIG) - 500_000


@pytest.mark.parametrize("keep", [0, 1])
def test_an_upload_of_which_nothing_is_known_begins_anew(
    registry: FakeRegistry, push: Push, keep: int
) -> None:
    registry.when("PATCH", "/uploads/", lose_answer(registry, keep), times=1)
    push(BIG)
    assert registry.blobs == {digest_of(BIG): BIG}
    assert methods(registry).count("POST") == 2


def test_an_upload_that_the_registry_has_forgotten_begins_anew(registry: FakeRegistry, push: Push) -> None:
    def forget(exchange: Exchange) -> None:
        registry.uploads.clear()
        exchange.reset()

    registry.when("PATCH", "/uploads/", forget, times=1)
    push(BIG)
    assert registry.blobs == {digest_of(BIG): BIG}


def test_a_blob_whose_last_answer_was_lost_is_there(registry: FakeRegistry, push: Push) -> None:
    def lose(exchange: Exchange) -> None:
        registry.blobs[digest_of(LITTLE)] = LITTLE
        registry.uploads.clear()
        exchange.reset()

    registry.when("PUT", "/uploads/", lose)
    push(LITTLE)
    assert methods(registry) == ["POST", "PUT", "GET", "HEAD"]


def test_a_registry_that_takes_a_part_gets_the_rest(registry: FakeRegistry, push: Push) -> None:
    def take_part(exchange: Exchange) -> None:
        number = exchange.seen.path.rpartition("/")[2]
        registry.uploads[number] += exchange.seen.body[:700_000]
        exchange.reply(202, Location=exchange.seen.target, Range="0-699999")

    registry.when("PATCH", "/uploads/", take_part, times=1)
    push(BIG)
    assert registry.blobs == {digest_of(BIG): BIG}


def test_a_busy_registry_gets_the_rest_later(registry: FakeRegistry, push: Push) -> None:
    registry.when("PATCH", "/uploads/", lambda exchange: exchange.reply(503), times=2)
    push(BIG)
    assert registry.blobs == {digest_of(BIG): BIG}


def test_a_registry_that_always_breaks_off_is_given_up(registry: FakeRegistry, push: Push) -> None:
    registry.when("PATCH", "/uploads/", lose_answer(registry, 0))
    with pytest.raises(RegistryError):
        push(BIG)
    assert len(registry.requests("PATCH")) == 4


def test_a_location_may_be_absolute(registry: FakeRegistry, push: Push) -> None:
    registry.uploads["n"] = b""
    where = f"{registry.url}/v2/web/blobs/uploads/n"
    registry.when("POST", "/uploads/", lambda exchange: exchange.reply(202, Location=where))
    push(LITTLE)
    assert (
        registry.requests("PUT")[0].target
        == f"/v2/web/blobs/uploads/n?digest=sha256%3A{digest_of(LITTLE)[7:]}"
    )


def test_an_upload_on_another_host_sees_no_password(
    registry: FakeRegistry, push: Push, password: Credential, other: WebServer
) -> None:
    registry.want_password("ada", "s3cret")
    registry.when("POST", "/uploads/", lambda exchange: exchange.reply(202, Location=f"{other.url}/u"))
    other.answer = lambda exchange: exchange.reply(201)
    push(LITTLE)
    assert other.seen[0].body == LITTLE
    assert all("authorization" not in seen.headers for seen in other.seen)


def test_a_redirected_upload_is_sent_again_without_the_password(
    registry: FakeRegistry, push: Push, password: Credential, other: WebServer
) -> None:
    registry.want_password("ada", "s3cret")
    registry.when("PUT", "/uploads/", lambda exchange: exchange.reply(307, Location=f"{other.url}/u"))
    other.answer = lambda exchange: exchange.reply(201)
    push(LITTLE)
    assert "authorization" in registry.requests("PUT")[0].headers
    assert (other.seen[0].method, other.seen[0].body) == ("PUT", LITTLE)
    assert "authorization" not in other.seen[0].headers


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_for_reading_does_not_turn_an_upload_into_something_else(
    registry: FakeRegistry, push: Push, other: WebServer, status: int
) -> None:
    registry.when("PUT", "/uploads/", lambda exchange: exchange.reply(status, Location=f"{other.url}/u"))
    with pytest.raises(RegistryError, match="for reading only"):
        push(LITTLE)
    assert other.seen == []


@pytest.mark.parametrize("place", ["http://169.254.169.254/u", "file:///tmp/u", "http://far.example/u"])
def test_an_upload_to_nowhere_good_is_refused(registry: FakeRegistry, push: Push, place: str) -> None:
    registry.when("POST", "/uploads/", lambda exchange: exchange.reply(202, Location=place))
    with pytest.raises(UnsafeError):
        push(LITTLE)


def test_an_upload_that_goes_on_nowhere_is_an_error(registry: FakeRegistry, push: Push) -> None:
    registry.when("POST", "/uploads/", lambda exchange: exchange.reply(202))
    with pytest.raises(RegistryError, match="does not say where the upload goes on"):
        push(LITTLE)


@pytest.mark.parametrize("claim", ["0-99999999", "0-0x", "5-9", "-1"])
def test_a_registry_that_miscounts_is_an_error(registry: FakeRegistry, push: Push, claim: str) -> None:
    registry.when(
        "PATCH", "", lambda exchange: exchange.reply(202, Location=exchange.seen.target, Range=claim)
    )
    with pytest.raises(ContentError, match="says that it has"):
        push(BIG)


def test_a_blob_stored_under_another_digest_is_noticed(registry: FakeRegistry, push: Push) -> None:
    registry.when("PUT", "", lambda exchange: exchange.reply(201, Docker_Content_Digest=digest_of(BIG)))
    with pytest.raises(ContentError, match="has stored sha256:"):
        push(LITTLE)


def test_who_may_not_push_is_told_so(registry: FakeRegistry, push: Push) -> None:
    registry.when("POST", "", lambda exchange: exchange.reply(403, error("DENIED", "read only")))
    with pytest.raises(Denied, match="read only"):
        push(LITTLE)


def test_a_file_that_is_shorter_than_it_should_be_is_our_own_mistake(
    registry: FakeRegistry, push: Push
) -> None:
    with pytest.raises(Error, match="only 6 of its 10 bytes here"):
        push(LITTLE, size=10)
