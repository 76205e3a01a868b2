"""Writing tar files of which each byte follows from the entries alone.

An entry is one header of 512 bytes as POSIX described it in 1988 (ustar). What does not fit in there - long
names, large numbers, fractions of seconds, extended attributes - goes before it as PAX records, which
everybody's reader knows. Names are written as the bytes that they are, whatever their encoding.

Holes of sparse files are written as zeros: where a file has holes depends on the file system that it lies
on, and the same content must always give the same tar.

See pax(1) "ustar Interchange Format", "pax Extended Header"; tar(5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from minicontainer.image.layer.tar_header import BLOCK, PAX

# The names of owner and group stay empty: only their numbers count.
LAYOUT = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12x")
NAME, PREFIX = 100, 155  # bytes that the fields of the header hold
SECOND = 10**9  # in nanoseconds
XATTR = b"SCHILY.xattr."


@dataclass(frozen=True, slots=True, kw_only=True)
class TarEntry:
    """What a tar file says of one file, but its content."""

    name: bytes
    kind: bytes
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0  # nanoseconds
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class TarWriter:
    """Writes entries to a stream; `finish` ends the tar file, and leaves the stream open."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.entries = 0

    def add(self, entry: TarEntry, content: Iterable[bytes] = ()) -> None:
        """Write an entry and its content, which must be as long as the entry says."""
        records = pax_records(entry)
        if records:
            name = b"PaxHeaders/" + entry.name.rstrip(b"/").rpartition(b"/")[2]
            extension = TarEntry(name=name[:NAME], kind=PAX, mode=0o644, size=len(records))
            self._out.write(header(extension) + records + padding(len(records)))
        self._out.write(header(entry))
        for piece in content:
            self._out.write(piece)
        self._out.write(padding(entry.size))
        self.entries += 1

    def finish(self) -> None:
        """Write the end of the tar file: two empty blocks."""
        self._out.write(bytes(2 * BLOCK))


def padding(size: int) -> bytes:
    """Give the zeros that fill up the last block."""
    return bytes(-size % BLOCK)


def header(entry: TarEntry) -> bytes:
    """Write an entry's block; what does not fit is cut off or 0, and stands in the PAX records."""
    prefix, name = split_name(entry.name) or (b"", entry.name[:NAME])
    major, minor = entry.device
    block = LAYOUT.pack(
        name,
        octal(entry.mode, 8),
        octal(entry.uid, 8),
        octal(entry.gid, 8),
        octal(entry.size, 12),
        octal(entry.mtime // SECOND, 12),
        b" " * 8,  # the checksum's own place counts as blanks
        entry.kind,
        entry.link[:NAME],
        b"ustar\x0000",
        octal(major, 8),
        octal(minor, 8),
        prefix,
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def split_name(name: bytes) -> tuple[bytes, bytes] | None:
    """Divide a name, at a slash, between the two fields of the header; None if it is too long."""
    if len(name) <= NAME:
        return b"", name
    at = name.find(b"/", len(name) - NAME - 1, -1)
    return (name[:at], name[at + 1 :]) if 0 < at <= PREFIX else None


def fits(number: int, width: int) -> bool:
    """Tell whether a field of `width` bytes holds a number as octal digits and a NUL."""
    return 0 <= number < 1 << 3 * (width - 1)


def octal(number: int, width: int) -> bytes:
    """Write a number into a field; 0 when it does not fit."""
    return b"%0*o\0" % (width - 1, number if fits(number, width) else 0)


def pax_records(entry: TarEntry) -> bytes:
    """Write as PAX records what the header cannot hold; nothing for most entries."""
    found = {XATTR + name: value for name, value in entry.xattrs}
    if split_name(entry.name) is None:
        found[b"path"] = entry.name
    if len(entry.link) > NAME:
        found[b"linkpath"] = entry.link
    for key, number, width in ((b"uid", entry.uid, 8), (b"gid", entry.gid, 8), (b"size", entry.size, 12)):
        if not fits(number, width):
            found[key] = b"%d" % number
    if entry.mtime % SECOND or not fits(entry.mtime // SECOND, 12):
        found[b"mtime"] = decimal(entry.mtime)
    return b"".join(record(key, found[key]) for key in sorted(found))


def decimal(nanoseconds: int) -> bytes:
    """Write a time in seconds, with as many digits of a fraction as it has."""
    whole, fraction = divmod(abs(nanoseconds), SECOND)
    text = f"{'-' if nanoseconds < 0 else ''}{whole}.{fraction:09}"
    return text.rstrip("0").rstrip(".").encode()


def record(key: bytes, value: bytes) -> bytes:
    """Write one PAX record, which begins with its own length in bytes: `13 uid=3000000`."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return str(length).encode() + rest
