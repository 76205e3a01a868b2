"""How layers are compressed: gzip, zstd, or not at all. The first bytes tell, whatever a media type says.

A bomb must not fill the memory: so little goes in at once that what comes out is bounded, whatever it is;
and what came out in all is compared with what went in. gzip may have many members and zstd many frames, as
parallel compressors write them. Anything else after the end is an error, and so is an end in the middle.

Implements RFC 1952 (gzip), RFC 8878 (zstd); image-spec layer.md, "+gzip Media Types", "+zstd Media Types".
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

from minicontainer.image.layer.errors import LayerError
from minicontainer.image.layer.limits import Limits

try:  # five times as fast as zlib; there are machines for which it is not made
    deflate = importlib.import_module("isal.isal_zlib")
except ImportError:
    deflate = zlib

MAGICS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    **{
        bytes((0x50 + number,)) + b"\x2a\x4d\x18": "zstd" for number in range(16)
    },  # it may begin with a comment
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
}
LONGEST_MAGIC = max(map(len, MAGICS))
OUT = 1 << 20  # bytes that are given out at once
GZIP_IN = 8 << 10  # deflate makes at most 1032 bytes of one: 8 MiB
ZSTD_IN = 512  # zstd makes a block of 128 KiB of four bytes: 16 MiB
GZIP_LEVEL, ZSTD_LEVEL = 2, 3  # of isal's 0 to 3: as small as zlib's 5; of zstd's 1 to 19: its default
GZIP = 16 + zlib.MAX_WBITS  # with header and trailer
DAMAGE: tuple[type[Exception], ...] = (deflate.error, zstandard.ZstdError)


class Decompressing(Protocol):
    """What decompresses one gzip member or one zstd frame."""

    @property
    def eof(self) -> bool:
        """Whether its end has come."""

    @property
    def unused_data(self) -> bytes:
        """What came after the end."""

    def decompress(self, data: bytes, /) -> bytes:
        """Give what the next bytes mean."""


class Decompressor:
    """Takes compressed bytes in pieces, and gives what they hold, in pieces of at most a MiB."""

    def __init__(self, limits: Limits, name: str = "the stream") -> None:
        """Begin; `name` is what errors call the whole, as "layer sha256:..."."""
        self._limits, self._name = limits, name
        self._taken = self._given = 0
        self._first = b""  # too few bytes to tell
        self._kind = ""
        self._step = OUT
        self._new: Callable[[], Decompressing] | None = None
        self._part: Decompressing | None = None  # the member or frame that is not at its end

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes. Raises LayerError."""
        if not self._kind:
            data, self._first = self._first + data, b""
            if len(data) < LONGEST_MAGIC:
                self._first = data
                return
            self._recognise(data)
        yield from self._in_pieces(data)

    def finish(self) -> Iterator[bytes]:
        """Hear that nothing follows. Raises LayerError where something should."""
        if not self._kind:
            self._recognise(self._first)
            yield from self._in_pieces(self._first)
        if self._part:
            raise self._error(f"its {self._kind} data is cut off")

    def _recognise(self, first: bytes) -> None:
        self._kind = kind_of(first) or "plain"
        if self._kind == "gzip":
            self._step, self._new = GZIP_IN, lambda: deflate.decompressobj(GZIP)
        elif self._kind == "zstd":
            zstd = zstandard.ZstdDecompressor(max_window_size=self._limits.window)
            self._step, self._new = ZSTD_IN, zstd.decompressobj
        elif self._kind != "plain":
            raise self._error(f"it is compressed with {self._kind}, which images do not use")

    def _in_pieces(self, data: bytes) -> Iterator[bytes]:
        """Decompress, and make pieces of a size that suits whoever comes next."""
        waiting: list[memoryview] = []
        room = OUT
        for start in range(0, len(data), self._step):
            taken = data[start : start + self._step]
            given = memoryview(self._decompress(taken) if self._new else taken)
            self._compare(len(taken), len(given))
            while len(given) >= room:
                yield b"".join((*waiting, given[:room]))
                given, waiting, room = given[room:], [], OUT
            waiting.append(given)
            room -= len(given)
        if rest := b"".join(waiting):
            yield rest

    def _decompress(self, data: bytes) -> bytes:
        """Go on with a part; what follows its end begins the next one."""
        assert self._new  # noqa: S101 - plain data does not come here
        given = []
        while data:
            self._part = self._part or self._new()
            try:
                given.append(self._part.decompress(data))
            except DAMAGE as problem:
                raise self._error(f"its {self._kind} data is damaged: {problem}") from problem
            data = b""
            if self._part.eof:
                data, self._part = self._part.unused_data, None
        return b"".join(given)

    def _compare(self, taken: int, given: int) -> None:
        limits = self._limits
        self._taken += taken
        self._given += given
        if self._given > max(limits.ratio_after, limits.ratio * self._taken):
            raise self._error(f"it is a bomb: it grows to more than {limits.ratio} times its size")

    def _error(self, why: str) -> LayerError:
        return LayerError(f"{self._name}: {why}")


def kind_of(first: bytes) -> str:
    """Tell by the first bytes how a stream is compressed; "" if it is not."""
    return next((kind for magic, kind in MAGICS.items() if first.startswith(magic)), "")


def decompressor(limits: Limits, name: str = "the stream") -> Decompressor:
    """Begin to decompress; how, the first bytes will tell."""
    return Decompressor(limits, name)


class Compressor(Protocol):
    """Takes bytes in pieces, and gives them compressed."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes."""

    def finish(self) -> bytes:
        """Hear that nothing follows."""


class Compressing(Protocol):
    """What zlib's and zstandard's objects have in common."""

    def compress(self, data: bytes, /) -> bytes:
        """Take the next bytes."""

    def flush(self) -> bytes:
        """Give what was kept."""


class Evenly:
    """Compresses in steps of one size, so that what comes out does not depend on how it came in."""

    def __init__(self, inner: Compressing) -> None:
        self._inner = inner
        self._waiting = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes."""
        self._waiting += data
        whole = len(self._waiting) - len(self._waiting) % OUT
        done = [self._inner.compress(bytes(self._waiting[at : at + OUT])) for at in range(0, whole, OUT)]
        del self._waiting[:whole]
        return b"".join(done)

    def finish(self) -> bytes:
        """Hear that nothing follows."""
        return self._inner.compress(bytes(self._waiting)) + self._inner.flush()


class Plain:
    """Does not compress."""

    def feed(self, data: bytes) -> bytes:
        """Give it back."""
        return data

    def finish(self) -> bytes:
        """Nothing was kept."""
        return b""


def compressor(kind: str) -> Compressor:
    """Begin to compress with "gzip", "zstd", or "" for not at all: the same bytes always give the same."""
    if kind == "gzip":
        return Evenly(deflate.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP))
    if kind == "zstd":
        return Evenly(zstandard.ZstdCompressor(ZSTD_LEVEL).compressobj())
    return Plain()
