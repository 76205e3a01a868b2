"""Compression: what goes in comes out, whoever compressed it; what is damaged or a bomb is refused."""

from __future__ import annotations

import gzip
import random
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from minicontainer.image.layer import compression
from minicontainer.image.layer.compression import OUT, compressor, decompressor
from minicontainer.image.layer.errors import LayerError
from minicontainer.image.layer.limits import MIB, Limits
from tests.image.layer.unpacking import pieces

NOISE = random.Random(5).randbytes(300_000)
TEXT = b"".join(b"%d bottles of beer on the wall\n" % number for number in range(20_000))
FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
by_format = pytest.mark.parametrize("pack", FORMATS.values(), ids=FORMATS.keys())
compressed = pytest.mark.parametrize("pack", [FORMATS["gzip"], FORMATS["zstd"]], ids=["gzip", "zstd"])


@pytest.fixture(params=["isal", "zlib"], autouse=True)
def deflate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do everything with the fast library, and with the one that is always there."""
    if request.param == "zlib":
        monkeypatch.setattr(compression, "deflate", zlib)
        monkeypatch.setattr(compression, "DAMAGE", (zlib.error, zstandard.ZstdError))


def unpacked(data: bytes, piece: int = 1 << 18, limits: Limits | None = None) -> bytes:
    """Decompress data that comes in pieces."""
    decompress = decompressor(limits or Limits(), "layer sha256:1234")
    given: list[bytes] = []
    for each in pieces(data, piece):
        given += decompress.feed(each)
    given += decompress.finish()
    assert all(0 < len(each) <= OUT for each in given)
    return b"".join(given)


@by_format
@pytest.mark.parametrize("data", [b"", b"x", b"12345", NOISE, TEXT, bytes(3 * MIB)], ids=len)
@pytest.mark.parametrize("piece", [1000, 1 << 18])
def test_what_was_compressed_comes_out(pack: Callable[[bytes], bytes], data: bytes, piece: int) -> None:
    assert unpacked(pack(data), piece) == data


@by_format
def test_where_the_pieces_are_cut_makes_no_difference(pack: Callable[[bytes], bytes]) -> None:
    assert unpacked(pack(TEXT[:5000]), 1) == TEXT[:5000]


@compressed
def test_several_members_are_one_stream(pack: Callable[[bytes], bytes]) -> None:
    parts = [TEXT, b"", NOISE, b"end"]
    assert unpacked(b"".join(map(pack, parts))) == b"".join(parts)
    assert unpacked(b"".join(map(pack, parts)), 7) == b"".join(parts)


@compressed
def test_an_end_in_the_middle_is_refused(pack: Callable[[bytes], bytes]) -> None:
    data = pack(TEXT[:3000])
    for kept in range(6, len(data)):
        with pytest.raises(LayerError, match=r"layer sha256:1234: its (gzip|zstd) data is cut off"):
            unpacked(data[:kept])


@compressed
@pytest.mark.parametrize("garbage", [b"\0", bytes(512), b"garbage", b"\x1f\x8b", b"\x28\xb5\x2f"], ids=repr)
def test_anything_else_after_the_end_is_refused(pack: Callable[[bytes], bytes], garbage: bytes) -> None:
    with pytest.raises(LayerError, match=r"data is (damaged|cut off)"):
        unpacked(pack(TEXT) + garbage)


@compressed
@given(place=st.integers(10, 2000), bit=st.integers(0, 7))
def test_a_changed_bit_is_noticed_or_changes_nothing(
    pack: Callable[[bytes], bytes], place: int, bit: int
) -> None:
    if pack is FORMATS["zstd"]:
        pack = zstandard.ZstdCompressor(write_checksum=True).compress
    data = bytearray(pack(NOISE[:3000]))
    data[place] ^= 1 << bit
    try:
        assert unpacked(bytes(data)) == NOISE[:3000]  # it is one of the few that mean nothing
    except LayerError as problem:
        assert "data is damaged" in str(problem) or "data is cut off" in str(problem)


def test_a_header_of_gzip_may_have_a_name_and_a_comment() -> None:
    packed = zlib.compressobj(wbits=-15)
    body = packed.compress(TEXT) + packed.flush()
    trailer = zlib.crc32(TEXT).to_bytes(4, "little") + len(TEXT).to_bytes(4, "little")
    assert unpacked(b"\x1f\x8b\x08\x18" + bytes(6) + b"name\0comment\0" + body + trailer) == TEXT


def test_zstd_may_have_comments_between_frames() -> None:
    comment = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    pack = FORMATS["zstd"]
    assert unpacked(comment + pack(TEXT) + comment + pack(b"x") + comment) == TEXT + b"x"
    assert unpacked(comment + pack(TEXT) + comment, 1) == TEXT


@pytest.mark.parametrize(("magic", "name"), [(b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz")])
def test_other_compressions_are_named_and_refused(magic: bytes, name: str) -> None:
    with pytest.raises(LayerError, match=f"layer sha256:1234: it is compressed with {name}, which images"):
        unpacked(magic + bytes(100))


# --- bombs -----------------------------------------------------------------------------------------

SIZE = 100 * MIB
BOMBS = {
    "gzip": isal_zlib.compress(bytes(SIZE), 3, wbits=31),
    "gzip of many members": gzip.compress(bytes(4 * MIB)) * 25,
    "zstd": zstandard.compress(bytes(SIZE)),
    "zstd of many frames": zstandard.compress(bytes(4 * MIB)) * 25,
}
bombs = pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())


@bombs
def test_what_grows_too_much_is_refused(bomb: bytes) -> None:
    with pytest.raises(LayerError, match="it grows to more than 200 times its size"):
        unpacked(bomb, limits=Limits(ratio_after=16 * MIB))
    assert unpacked(bomb) == unpacked(bomb, limits=Limits(ratio=100_000, ratio_after=0)) == bytes(SIZE)


@bombs
def test_a_bomb_is_never_in_memory(bomb: bytes) -> None:
    decompress = decompressor(Limits())
    tracemalloc.start()
    try:
        for _ in decompress.feed(bomb):
            pass
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def test_a_million_empty_members_are_read_in_time() -> None:
    empty = zlib.compressobj(wbits=31).flush()
    assert unpacked(empty * 50_000 + gzip.compress(b"x")) == b"x"


def test_a_window_larger_than_the_limit_is_refused() -> None:
    settings = zstandard.ZstdCompressionParameters(window_log=27)
    packed = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    data = packed.compress(NOISE) + packed.flush()
    with pytest.raises(LayerError, match=r"its zstd data is damaged: .*memory"):
        unpacked(data)
    assert unpacked(data, limits=Limits(window=128 * MIB)) == NOISE


# --- compressing -----------------------------------------------------------------------------------


def packed(kind: str, data: bytes, piece: int = 1 << 20) -> bytes:
    """Compress data that comes in pieces."""
    compress = compressor(kind)
    return b"".join([*map(compress.feed, pieces(data, piece)), compress.finish()])


@pytest.mark.parametrize("kind", ["", "gzip", "zstd"])
def test_what_is_compressed_depends_on_the_bytes_alone(kind: str) -> None:
    data = TEXT * 3 + NOISE
    assert unpacked(packed(kind, data)) == data
    assert packed(kind, data) == packed(kind, data, 777) == packed(kind, data, len(data))


@pytest.mark.requires("tool:gzip", "tool:zstd")
@pytest.mark.parametrize("tool", ["gzip", "zstd"])
def test_the_tools_read_what_we_compress_and_we_what_they_do(tool: str) -> None:
    said = subprocess.run([tool, "-dc"], input=packed(tool, TEXT), capture_output=True, check=True).stdout
    assert said == TEXT
    assert unpacked(subprocess.run([tool, "-c"], input=TEXT, capture_output=True, check=True).stdout) == TEXT


def test_a_compressed_layer_does_not_say_when_it_was_made() -> None:
    assert packed("gzip", TEXT)[4:8] == bytes(4)
