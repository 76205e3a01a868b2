"""Blobs that come in pieces, too slowly, too long, too short or not at all.

Right is one of two: the whole blob, byte for byte, or an error within the time that was configured; and never
a byte more than the descriptor says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest

from minicontainer.image.configuration import Network
from minicontainer.image.reference import Reference
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.errors import (
    ContentError,
    Missing,
    RegistryError,
    TooManyRequests,
    TransportError,
)
from minicontainer.image.registry.patience import Patience
from minicontainer.oci.image import Descriptor
from tests.image.registry.fake_registry import FakeRegistry
from tests.image.registry.web_server import Exchange

DATA = os.urandom(300_000)
MakeClient = Callable[..., RegistryClient]


@pytest.fixture
def impatient(make_client: MakeClient) -> RegistryClient:
    """A client that waits for bytes no longer than a moment, and no more than twice."""
    return make_client(read_timeout=0.3, tries=2)


@pytest.fixture
def blob(registry: FakeRegistry) -> Descriptor:
    return registry.add_blob(DATA)


def start_of(exchange: Exchange) -> int:
    """Say from which byte on a blob is wanted."""
    return int(exchange.seen.headers.get("range", "bytes=0-")[6:-1])


def send_head(exchange: Exchange, size: int = len(DATA)) -> int:
    """Send the head of a good answer; gives the first byte that is to follow."""
    start = start_of(exchange)
    ranges = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
    exchange.head(206 if start else 200, {"Content-Length": str(size - start), **ranges})
    return start


def cut_after(count: int, end: Callable[[Exchange], None] = Exchange.hang_up) -> Callable[[Exchange], None]:
    """Send `count` bytes of what is wanted, and end the connection."""

    def behave(exchange: Exchange) -> None:
        start = send_head(exchange)
        exchange.send(DATA[start : start + count])
        if start + count < len(DATA):
            end(exchange)

    return behave


def ranges(registry: FakeRegistry) -> list[str]:
    return [seen.headers.get("range", "") for seen in registry.requests("GET", "/blobs/")]


# --- cuts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [Exchange.hang_up, Exchange.reset])
def test_a_connection_that_breaks_at_each_64_kib_is_gone_on_with(
    registry: FakeRegistry,
    client: RegistryClient,
    web: Reference,
    blob: Descriptor,
    end: Callable[[Exchange], None],
) -> None:
    registry.when("GET", "/blobs/", cut_after(65_536, end))
    assert b"".join(client.blob(web, blob)) == DATA
    assert len(ranges(registry)) >= 5
    assert all(wanted.startswith("bytes=") for wanted in ranges(registry)[1:])


def test_a_cut_asks_for_the_rest_only(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    registry.when("GET", "/blobs/", cut_after(100_000), times=1)
    assert b"".join(client.blob(web, blob)) == DATA
    assert ranges(registry) == ["", "bytes=100000-"]


def test_a_connection_that_brings_hardly_anything_is_given_up(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    registry.when("GET", "/blobs/", cut_after(100))
    with pytest.raises(TransportError):
        b"".join(client.blob(web, blob))
    assert len(ranges(registry)) == 4


def test_a_connection_that_ends_before_any_answer_is_tried_again(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    registry.when("GET", "/blobs/", Exchange.hang_up, times=2)
    assert b"".join(client.blob(web, blob)) == DATA


def test_a_server_that_does_not_know_ranges_sends_all_again(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    registry.when("GET", "/blobs/", cut_after(200_000), times=1)
    registry.when("GET", "/blobs/", lambda exchange: exchange.reply(200, DATA))
    assert b"".join(client.blob(web, blob)) == DATA
    assert b"".join(client.blob(web, blob, 123)) == DATA[123:]


@pytest.mark.parametrize(
    "claim",
    [
        "bytes 0-299999/300000",
        "bytes 100001-299999/300000",
        "bytes 100000-299999/300001",
        "bytes 100000-200000/200001",
        "items 100000-299999/300000",
        "bytes */300000",
        "\x1b[2J",
        "",
    ],
)
def test_another_range_than_was_asked_for_is_refused(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor, claim: str
) -> None:
    registry.when("GET", "/blobs/", lambda exchange: exchange.reply(206, DATA[100_000:], Content_Range=claim))
    with pytest.raises(ContentError, match="asked for bytes 100000 to 300000"):
        b"".join(client.blob(web, blob, 100_000))


def test_a_part_that_nobody_asked_for_is_refused(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    registry.when(
        "GET", "/blobs/", lambda exchange: exchange.reply(206, DATA, Content_Range="bytes 0-299999/300000")
    )
    with pytest.raises(RegistryError, match="answers 206"):
        b"".join(client.blob(web, blob))


def test_a_range_that_the_server_cannot_satisfy_is_an_error(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    registry.when("GET", "/blobs/", lambda exchange: exchange.reply(416))
    with pytest.raises(RegistryError, match="HTTP status 416"):
        b"".join(client.blob(web, blob, 100_000))


# --- lengths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [299_999, 300_001, 10**18, 0])
def test_another_length_than_the_descriptors_is_refused_before_any_byte(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor, length: int
) -> None:
    def claim(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": str(length)})
        exchange.hang_up()

    registry.when("GET", "/blobs/", claim)
    with pytest.raises(ContentError, match=f"has {length} bytes, not 300000"):
        next(client.blob(web, blob))


def test_a_body_without_an_end_is_cut_at_the_descriptors_size(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.head(200, {})
        while True:
            exchange.send(DATA)

    registry.when("GET", "/blobs/", endless)
    came = 0
    with pytest.raises(ContentError, match="sends more than its 300000 bytes"):
        for piece in client.blob(web, blob):
            came += len(piece)
    assert came <= len(DATA)


def test_chunks_without_an_end_are_cut_at_the_descriptors_size(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.head(200, {"Transfer-Encoding": "chunked"})
        while True:
            exchange.send(b"4\r\nabcd\r\n" * 1000)

    registry.when("GET", "/blobs/", endless)
    with pytest.raises(ContentError, match="sends more than"):
        for _ in client.blob(web, blob):
            pass


def test_a_body_without_a_length_that_ends_too_early_is_gone_on_with(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    def short(exchange: Exchange) -> None:
        exchange.head(200, {})
        exchange.send(DATA[:150_000])
        exchange.hang_up()

    registry.when("GET", "/blobs/", short, times=1)
    assert b"".join(client.blob(web, blob)) == DATA
    assert ranges(registry) == ["", "bytes=150000-"]


@pytest.mark.parametrize("size", [b"zz", b"-5", b"f" * 5000, b"ffffffffffffffffff"])
def test_sizes_of_chunks_that_make_no_sense_are_an_error(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor, size: bytes
) -> None:
    def nonsense(exchange: Exchange) -> None:
        exchange.head(200, {"Transfer-Encoding": "chunked"})
        exchange.send(size + b"\r\nabc")
        exchange.hang_up()

    registry.when("GET", "/blobs/", nonsense)
    with pytest.raises(RegistryError):
        b"".join(client.blob(web, blob))


def test_bytes_are_those_of_the_wire_whatever_their_encoding_is_called(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    registry.when("GET", "/blobs/", lambda exchange: exchange.reply(200, DATA, Content_Encoding="gzip"))
    assert b"".join(client.blob(web, blob)) == DATA
    assert registry.requests("GET", "/blobs/")[0].headers["accept-encoding"] == "identity"


# --- slowness --------------------------------------------------------------------------------------


def test_a_body_that_stops_is_gone_on_with_over_another_connection(
    registry: FakeRegistry, impatient: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    def stop(exchange: Exchange) -> None:
        start = send_head(exchange)
        exchange.send(DATA[start : start + 100_000])
        registry.ends.wait()

    registry.when("GET", "/blobs/", stop, times=1)
    assert b"".join(impatient.blob(web, blob)) == DATA
    assert ranges(registry) == ["", "bytes=100000-"]


def drip(registry: FakeRegistry, exchange: Exchange, byte: bytes) -> None:
    """Send a byte now and then, often enough for any timeout of a single read."""
    while not registry.ends.wait(0.1):
        exchange.send(byte)


def test_a_byte_now_and_then_is_no_transfer(
    registry: FakeRegistry, impatient: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    def slowly(exchange: Exchange) -> None:
        send_head(exchange)
        drip(registry, exchange, b"x")

    registry.when("GET", "/blobs/", slowly)
    with pytest.raises(TransportError, match="too slowly"):
        b"".join(impatient.blob(web, blob))


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\n"])
def test_a_head_that_comes_byte_by_byte_is_no_answer(
    registry: FakeRegistry, impatient: RegistryClient, web: Reference, start: bytes
) -> None:
    def slowly(exchange: Exchange) -> None:
        exchange.send(start)
        drip(registry, exchange, b"x")

    registry.when("", "/manifests/", slowly)
    with pytest.raises(TransportError, match="too slowly"):
        impatient.manifest(web)


def test_sizes_of_chunks_that_come_byte_by_byte_are_no_transfer(
    registry: FakeRegistry, impatient: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    def slowly(exchange: Exchange) -> None:
        exchange.head(200, {"Transfer-Encoding": "chunked"})
        drip(registry, exchange, b"0")

    registry.when("GET", "/blobs/", slowly)
    with pytest.raises(TransportError, match="too slowly"):
        b"".join(impatient.blob(web, blob))


def test_a_reader_that_takes_its_time_is_not_blamed_on_the_server(
    registry: FakeRegistry, impatient: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    pieces = impatient.blob(web, blob)
    first = next(pieces)
    deadline = time.monotonic() + 0.6  # longer than the time for reading
    while time.monotonic() < deadline:
        registry.ends.wait(0.1)
    assert first + b"".join(pieces) == DATA
    assert ranges(registry) == [""]


def test_interim_answers_without_an_end_are_no_answer(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    def interim(exchange: Exchange) -> None:
        while True:
            exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    registry.when("", "/manifests/", interim)
    with pytest.raises(TransportError):
        client.manifest(web)


@pytest.mark.parametrize("line", [b"X: " + b"y" * 70_000 + b"\r\n", b"X: y\r\n" * 20_000, b"X" * 300_000])
def test_headers_without_measure_are_no_answer(
    registry: FakeRegistry, client: RegistryClient, web: Reference, line: bytes
) -> None:
    def wordy(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\n" + line + b"Content-Length: 0\r\n\r\n")
        exchange.hang_up()

    registry.when("", "/manifests/", wordy)
    with pytest.raises(TransportError):
        client.manifest(web)


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/9.9 xyz\r\n\r\n", b"\x00" * 1000, b"\r\n" * 9]
)
def test_what_is_not_http_is_no_answer(
    registry: FakeRegistry, client: RegistryClient, web: Reference, answer: bytes
) -> None:
    def babble(exchange: Exchange) -> None:
        exchange.send(answer)
        exchange.hang_up()

    registry.when("", "/manifests/", babble)
    with pytest.raises(TransportError):
        client.manifest(web)


# --- busy servers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor, status: int
) -> None:
    registry.when("GET", "/blobs/", lambda exchange: exchange.reply(status, Retry_After="0"), times=3)
    assert b"".join(client.blob(web, blob)) == DATA


def test_a_no_that_breaks_off_is_still_a_no(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor
) -> None:
    def break_off(exchange: Exchange) -> None:
        exchange.head(403, {"Content-Length": "1000"})
        exchange.hang_up()

    registry.when("GET", "/blobs/", break_off)
    with pytest.raises(RegistryError, match="HTTP status 403"):
        b"".join(client.blob(web, blob))
    assert len(ranges(registry)) == 1


def test_a_first_connection_that_breaks_is_no_reason_to_give_up(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    digest = registry.add_image("1", DATA)
    registry.when("", "/v2/", Exchange.reset, times=2)
    assert client.resolve(web).digest == digest


@pytest.mark.parametrize("status", [400, 402, 403, 405, 410, 418, 501])
def test_a_no_is_a_no(
    registry: FakeRegistry, client: RegistryClient, web: Reference, blob: Descriptor, status: int
) -> None:
    registry.when("GET", "/blobs/", lambda exchange: exchange.reply(status, b"<html>no</html>"))
    with pytest.raises(RegistryError, match=f"HTTP status {status}"):
        b"".join(client.blob(web, blob))
    assert len(ranges(registry)) == 1


def test_patience_has_an_end_and_says_what_the_server_asked_for(
    registry: FakeRegistry, client: RegistryClient, web: Reference
) -> None:
    registry.when("", "/manifests/", lambda exchange: exchange.reply(429, b"", Retry_After="3600"))
    with pytest.raises(TooManyRequests) as failure:
        client.resolve(web)
    assert failure.value.hint == "it asks to wait: 3600"
    assert len(registry.requests(path="/manifests/")) == 4


def test_a_host_that_never_answered_is_not_waited_for(client: RegistryClient) -> None:
    with pytest.raises(TransportError, match="no connection: connection refused"):
        client.resolve(Reference("127.0.0.1:1", "web", "1"))


def test_a_name_that_does_not_exist_is_said_so(client: RegistryClient) -> None:
    with pytest.raises(TransportError, match="there is no such host"):
        client.resolve(Reference("registry.invalid", "web", "1"))


def test_a_missing_blob_is_missing(client: RegistryClient, web: Reference) -> None:
    with pytest.raises(Missing, match="blob unknown to registry"):
        next(client.blob(web, Descriptor(media_type="x", digest="sha256:" + "0" * 64, size=1)))


def test_pauses_double_are_random_by_half_and_have_a_limit() -> None:
    waiting = Patience(Network(first_pause=1, longest_pause=8))
    for failures, usual in enumerate([1, 2, 4, 8, 8, 8], 1):
        assert all(usual / 2 <= waiting.pause(failures) <= usual for _ in range(20))


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("5", 5, 5),
        ("3600", 8, 8),
        ("9" * 400, 8, 8),
        (formatdate(time.time() + 7200, usegmt=True), 8, 8),
        (formatdate(time.time() - 7200, usegmt=True), 0.5, 1),
        ("-5", 0.5, 1),
        ("soon", 0.5, 1),
        ("٣", 0.5, 1),
        ("", 0.5, 1),
    ],
    ids=["5", "3600", "400 digits", "in two hours", "two hours ago", "-5", "soon", "Arabic", "nothing"],
)
def test_a_server_may_ask_for_time_up_to_the_limit(asked: str, least: float, most: float) -> None:
    assert least <= Patience(Network(first_pause=1, longest_pause=8)).pause(1, asked) <= most


def test_what_is_waited_is_what_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    Patience(Network(first_pause=0, longest_pause=8)).wait(1, "3")
    assert slept == [3]
