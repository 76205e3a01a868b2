"""The header of a tar entry: 512 bytes, and the numbers and names in them.

     0 name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | type 1 | link name 100
   257 magic 6 | version 2 | user name 32 | group name 32 | major 8 | minor 8 | prefix of the name 155

Numbers are octal text or, where the first bit is set, binary (GNU). User and group names are not read: what
they mean is another machine's business. Names are bytes; nobody says in which encoding.

Implements POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format". See tar(5).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

from minicontainer.errors import SpecError
from minicontainer.image.layer.sparse import Sparse

BLOCK = 512
REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = (b"%d" % kind for kind in range(7))
CONTIGUOUS, OLD_REGULAR, OLD_SPARSE = b"7", b"\0", b"S"
PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK = b"x", b"g", b"L", b"K"
WITHOUT_CONTENT = frozenset((HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO))

LAYOUT = struct.Struct("100s8s8s8s12s12s8sc100s6s2x64x8s8s155s12x")
NAME, CHECKSUM, KIND = slice(0, 100), slice(148, 156), slice(156, 157)
LARGEST_ID = 2**32 - 2  # chown(2) reads the one above as "leave it"
LONGEST_TIME = 2**62  # seconds, of 63 bits
ADLER_BASE = 65521


@dataclass(slots=True)
class Member:
    """One entry of an archive: what it is, and how much content follows."""

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int  # of the content, as it lies in the archive
    mtime: int  # nanoseconds
    link: bytes
    device: tuple[bytes, bytes]  # the fields; they are numbers only where the entry is a device
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    sparse: Sparse | None = None


def parse_header(block: bytes) -> Member:
    """Read a header whose checksum is right. Raises SpecError."""
    name, mode, uid, gid, size, mtime, _, kind, link, magic, major, minor, prefix = LAYOUT.unpack(block)
    if prefix[0] and magic == b"ustar\0":  # GNU's magic is "ustar  ", and other things lie there
        name = text(prefix) + b"/" + text(name)
    return Member(
        text(name),
        kind,
        number(mode) & 0o7777,
        owner(number(uid)),
        owner(number(gid)),
        natural(number(size)),
        nanoseconds(number(mtime)),
        text(link) if link[0] else b"",
        (major, minor),
    )


def verify_checksum(block: bytes) -> None:
    """Compare with the sum of all bytes, those of the checksum itself taken as spaces. Raises SpecError.

    Adler-32 holds the sum of all bytes plus 1 (modulo 65521) in its lower half, and is seven times as fast
    as sum().
    """
    checksum = block[CHECKSUM]
    expected = _octal(checksum) + sum(checksum) - 8 * ord(" ")
    if zlib.adler32(block) & 0xFFFF != (expected + 1) % ADLER_BASE:
        raise SpecError("", "the checksum of its header is wrong")


@lru_cache(maxsize=4096)
def number(field: bytes) -> int:
    """Read a numeric field: octal text that ends at a space or NUL, or binary. Raises SpecError."""
    if field[0] & 0x80:
        bits = 8 * len(field) - 1  # without the one that says so
        value = int.from_bytes(field) - (1 << bits)
        return value - (1 << bits) if value >> bits - 1 else value
    return _octal(field)


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0") or b"0"
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise SpecError("", f"{digits!r} in its header is not an octal number")
    return int(digits, 8)


def text(field: bytes) -> bytes:
    """Read a field of text, which ends at the first NUL or with the field."""
    return field.partition(b"\0")[0]


def natural(value: int) -> int:
    """Let a size pass. Raises SpecError."""
    if value < 0:
        raise SpecError("", f"its header has the size {value}")
    return value


def nanoseconds(seconds: int, fraction: int = 0) -> int:
    """Write a time as the kernel's calls take it. Raises SpecError."""
    if abs(seconds) > LONGEST_TIME:
        raise SpecError("", f"there is no time {seconds} s from 1970")
    return seconds * 10**9 + fraction


def owner(value: int) -> int:
    """Let the number of a user or a group pass. Raises SpecError."""
    if not 0 <= value <= LARGEST_ID:
        raise SpecError("", f"there is no user or group {value}")
    return value
