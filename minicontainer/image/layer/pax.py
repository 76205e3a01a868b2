r"""The records of a PAX header: long names, fractions of seconds, and whatever else fields are too short for.

    30 mtime=1700000000.123456789\n        the length is that of the whole record

A record for one entry (type x) outweighs one for all that follow (type g); one with an empty value takes
another back. Values are bytes, in whatever encoding `hdrcharset` says: names are stored as they are.

Implements POSIX.1-2017 pax, "pax Extended Header"; the keywords of star (SCHILY.xattr.) and of GNU tar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minicontainer.errors import SpecError
from minicontainer.image.layer.sparse import map_of_records
from minicontainer.image.layer.tar_header import Member, nanoseconds, natural, owner

Records = Mapping[bytes, bytes]
XATTR = b"SCHILY.xattr."
LONGEST_LENGTH = 20  # digits


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """Read all records of a PAX header; the last of equal keywords counts. Raises SpecError."""
    records: dict[bytes, bytes] = {}
    sparse_map: list[bytes] = []
    place = 0
    while place < len(data):
        key, value, place = _record(data, place)
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):  # the one keyword that comes many times
            sparse_map.append(value)
        records[key] = value
    if sparse_map:
        records[b"GNU.sparse.map"] = b",".join(sparse_map)
    return records


def _record(data: bytes, place: int) -> tuple[bytes, bytes, int]:
    """Read the record at `place`; returns keyword, value and the place of the next."""
    space = data.find(b" ", place, place + LONGEST_LENGTH)
    length = data[place:space]
    end = place + int(length) if space > place and length.isdigit() else 0
    key, equals, value = data[space + 1 : end - 1].partition(b"=")
    if not (space < end <= len(data) and data[end - 1 : end] == b"\n" and equals and key):
        raise SpecError("", f"its PAX header has a malformed record at byte {place}")
    return key, value, end


def apply_records(records: Records, member: Member) -> None:
    """Let a PAX header's records overrule the fields of its entry. Raises SpecError."""
    for key, overrule in KEYWORDS.items():
        if value := records.get(key):
            overrule(member, value)
    member.xattrs = tuple(
        (_name(key[len(XATTR) :]), value) for key, value in records.items() if key.startswith(XATTR)
    )
    member.sparse = map_of_records(records) or member.sparse


def _whole(value: bytes) -> int:
    digits = value.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > LONGEST_LENGTH:
        raise SpecError("", f"{value[:40]!r} in its PAX header is not a number")
    return int(value)


def _time(value: bytes) -> int:
    seconds, _, fraction = value.partition(b".")
    if fraction and not fraction.isdigit():
        raise SpecError("", f"{value[:40]!r} in its PAX header is not a time")
    billionths = int((fraction + b"000000000")[:9])
    return nanoseconds(_whole(seconds), -billionths if value[0] == ord("-") else billionths)


def _name(value: bytes) -> bytes:
    if b"\0" in value:
        raise SpecError("", "a name in its PAX header has a NUL byte")
    return value


def _set(field: str, read: Callable[[bytes], object]) -> Callable[[Member, bytes], None]:
    return lambda member, value: setattr(member, field, read(value))


KEYWORDS: dict[bytes, Callable[[Member, bytes], None]] = {
    b"path": _set("name", _name),
    b"GNU.sparse.name": _set("name", _name),  # after `path`: where both stand, that is a stand-in
    b"linkpath": _set("link", _name),
    b"size": _set("size", lambda value: natural(_whole(value))),
    b"uid": _set("uid", lambda value: owner(_whole(value))),
    b"gid": _set("gid", lambda value: owner(_whole(value))),
    b"mtime": _set("mtime", _time),
}
