"""A tar archive, read as it comes: bytes are pushed in, in pieces of any size, entries come out at the sink.

    feed(data) --> header ... header --> sink.begin(member)
                   content --> sink.data(piece), as many as came     sink.end()

Nothing is read twice and only headers are kept, so memory does not grow with the archive. A header may be
announced by others: a PAX header (x, g), a long name (L, K); a sparse map may follow it (S, PAX 1.0).

Invariant: what has been passed on does not depend on where the pieces were cut.
Implements POSIX.1-2017 pax, "pax Interchange Format"; GNU tar manual, "Tar Internals".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from minicontainer.errors import Refused, SpecError
from minicontainer.image.layer.errors import shown
from minicontainer.image.layer.limits import Limits
from minicontainer.image.layer.pax import KEYWORDS, apply_records, parse_records
from minicontainer.image.layer.sparse import MapInContent, Sparse, pairs
from minicontainer.image.layer.tar_header import (
    BLOCK,
    CONTIGUOUS,
    DIRECTORY,
    KIND,
    LONG_LINK,
    LONG_NAME,
    NAME,
    OLD_REGULAR,
    OLD_SPARSE,
    PAX,
    PAX_GLOBAL,
    REGULAR,
    WITHOUT_CONTENT,
    Member,
    natural,
    number,
    parse_header,
    text,
    verify_checksum,
)

ZEROS = bytes(BLOCK)
ANNOUNCEMENTS = frozenset((PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK))
REGULARS = frozenset((REGULAR, OLD_REGULAR, CONTIGUOUS, OLD_SPARSE))
# Old GNU sparse headers: pairs of 12-byte fields, a flag that more come in the next block, the real size.
SPARSE_FIELD, IN_HEADER, IN_EXTENSION, MORE_AFTER_HEADER, MORE_AFTER_EXTENSION = 12, 386, 0, 482, 504
REAL_SIZE = slice(483, 495)


class Sink(Protocol):
    """What is done with the entries."""

    def begin(self, member: Member) -> None:
        """Take an entry, whose content follows."""

    def data(self, piece: memoryview) -> None:
        """Take the next piece of the content."""

    def end(self) -> None:
        """Hear that the entry is complete."""


class TarReader:
    """A parser that is fed with an archive. What it raises, SpecError and Refused, ends the reading."""

    def __init__(self, sink: Sink, limits: Limits) -> None:
        self.size = self.entries = 0  # read until now; size in bytes
        self._entry: bytes | None = None  # the name of the last one
        self._between = True  # reading what comes before the next one
        self._sink, self._limits = sink, limits
        self._kept = b""  # the beginning of a block
        self._left = self._padding = 0  # bytes to come: of the content, of the zeros that fill its last block
        self._take: Callable[[memoryview], object] = sink.data
        self._complete: Callable[[], None] = sink.end
        self._on_block: Callable[[bytes], None] = self._header
        self._announced: dict[bytes, bytes] = {}  # long names, by type
        self._records: dict[bytes, bytes] = {}  # of PAX, for the next entry
        self._global: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> None:
        """Read on."""
        self._count(len(data))
        view = memoryview(data)
        place = self._complete_block(view) if self._kept else 0
        while place < len(view):
            if self._left:
                place += self._pass_on(view[place : place + self._left])
            elif self._padding:
                place += self._skip(len(view) - place)
            elif len(view) - place < BLOCK:
                self._kept = bytes(view[place:])
                return
            else:
                self._on_block(data[place : place + BLOCK])
                place += BLOCK

    def finish(self) -> None:
        """Hear that nothing follows. Raises SpecError where an entry is not complete.

        Two blocks of zeros should end an archive; one that ends without them has lost nothing.
        """
        if self._on_block == self._ignore:
            return
        between = self._on_block in (self._header, self._lone_zeros) and not (self._left or self._padding)
        if not between or self._kept or self._announced or self._records:
            raise SpecError("", "the archive is cut off")

    @property
    def place(self) -> str:
        """Say at which entry the reader is."""
        if self._entry is None:
            return "at its beginning"
        return f"{'after ' if self._between else ''}entry {shown(self._entry)}"

    def _count(self, length: int) -> None:
        self.size += length
        if self.size > self._limits.unpacked:
            raise Refused(f"it is larger than {self._limits.unpacked} bytes unpacked")

    def _complete_block(self, view: memoryview) -> int:
        missing = BLOCK - len(self._kept)
        block = self._kept + view[:missing]
        self._kept = b"" if len(block) == BLOCK else block
        if not self._kept:
            self._on_block(block)
        return missing

    def _pass_on(self, piece: memoryview) -> int:
        self._take(piece)
        self._left -= len(piece)
        if not self._left:
            self._complete()
        return len(piece)

    def _skip(self, available: int) -> int:
        skipped = min(self._padding, available)
        self._padding -= skipped
        return skipped

    def _expect(self, size: int, take: Callable[[memoryview], object], complete: Callable[[], None]) -> None:
        self._left, self._padding = size, -size % BLOCK
        self._take, self._complete = take, complete
        if not size:
            complete()

    # --- blocks: a header, or what follows one ---

    def _header(self, block: bytes) -> None:
        if block == ZEROS:
            self._on_block = self._lone_zeros
            return
        self._between = True
        verify_checksum(block)
        if block[KIND] in ANNOUNCEMENTS:
            self._announce(parse_header(block))
            return
        self._between, self._entry = False, text(block[NAME])
        member = parse_header(block)
        self._name(member)
        self._entry = member.name
        if member.kind == OLD_SPARSE:
            member.sparse = Sparse(natural(number(block[REAL_SIZE])))
            self._sparse_fields(member, block[IN_HEADER:MORE_AFTER_HEADER], block[MORE_AFTER_HEADER])
        elif member.sparse and member.sparse.in_content:
            self._read_map(member)
        else:
            self._begin(member)

    def _lone_zeros(self, block: bytes) -> None:
        if block != ZEROS:
            raise SpecError("", "a single block of zeros stands between the entries")
        self._on_block = self._ignore

    def _ignore(self, block: bytes) -> None:
        """Read past what follows the end: it is undefined, says POSIX."""

    def _sparse_fields(self, member: Member, fields: bytes, more: int) -> None:
        """Read a part of an old GNU map; `more` tells whether another block of it follows."""
        assert member.sparse  # noqa: S101 - it is what brought us here
        numbers = [
            natural(number(fields[place : place + SPARSE_FIELD]))
            for place in range(0, len(fields), SPARSE_FIELD)
            if fields[place]
        ]
        if more and not numbers:
            raise SpecError("", "its sparse map has an empty block")
        member.sparse.parts += pairs(numbers)
        self._bound_header(len(member.sparse.parts) * 2 * SPARSE_FIELD)
        if more:
            self._on_block = lambda block: self._sparse_fields(
                member, block[IN_EXTENSION:MORE_AFTER_EXTENSION], block[MORE_AFTER_EXTENSION]
            )
        else:
            self._on_block = self._header
            self._begin(member)

    def _read_map(self, member: Member) -> None:
        """Read the map that stands before a sparse file's content (PAX 1.0)."""
        sparse, reader, read = member.sparse, MapInContent(), 0
        assert sparse  # noqa: S101 - it is what brought us here

        def take(block: bytes) -> None:
            nonlocal read
            read += BLOCK
            self._bound_header(read)
            if reader.feed(block):
                sparse.parts, member.size = reader.parts, natural(member.size - read)
                self._on_block = self._header
                self._begin(member)

        self._on_block = take

    # --- members ---

    def _announce(self, member: Member) -> None:
        """Collect a header that says something about the next one."""
        self._bound_header(member.size)
        collected = bytearray()
        self._expect(member.size, collected.extend, lambda: self._understand(member.kind, bytes(collected)))

    def _understand(self, kind: bytes, data: bytes) -> None:
        if kind == PAX:
            self._records = parse_records(data)
        elif kind == PAX_GLOBAL:
            # Not attributes: one header would give them to every file.
            self._global |= {key: value for key, value in parse_records(data).items() if key in KEYWORDS}
        else:
            self._announced[kind] = text(data)

    def _bound_header(self, size: int) -> None:
        if size > self._limits.header:
            raise Refused(f"a header is larger than {self._limits.header} bytes")

    def _name(self, member: Member) -> None:
        """Give an entry what the headers before it have announced."""
        if self._announced:
            member.name = self._announced.pop(LONG_NAME, member.name)
            member.link = self._announced.pop(LONG_LINK, member.link)
        if self._records or self._global:
            apply_records(self._global | self._records, member)
            self._records = {}

    def _begin(self, member: Member) -> None:
        self.entries += 1
        if self.entries > self._limits.entries:
            raise Refused(f"it has more than {self._limits.entries} entries")
        self._shape(member)
        self._sink.begin(member)
        self._expect(member.size, self._sink.data, self._sink.end)

    def _shape(self, member: Member) -> None:
        """Settle what kind of entry it is, and how much content it has."""
        if member.kind in WITHOUT_CONTENT:
            member.size = 0
        elif member.kind in REGULARS:
            # An old way to write a directory ends its name so.
            member.kind = DIRECTORY if member.name.endswith(b"/") else REGULAR
            if max(member.size, member.sparse.size if member.sparse else 0) > self._limits.file:
                raise Refused(f"it is larger than {self._limits.file} bytes")
            if member.sparse:
                member.sparse.check(member.size)
        else:
            raise SpecError("", f"its type is {member.kind!r}, which layers do not have")
