"""Sparse files: which parts of a file an archive holds; between them are holes, which take no space on disk.

GNU tar has written the map of the parts in four ways: in the header and blocks after it (type S), as PAX
keywords that are repeated (0.0), as one PAX keyword (0.1), and as lines of text before the content (1.0).

Implements GNU tar manual, "Storing Sparse Files".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from minicontainer.errors import SpecError

LARGEST = 2**63 - 1  # bytes of a file
Part = tuple[int, int]  # offset in the file, bytes


@dataclass(slots=True)
class Sparse:
    """A file with holes: its size, and its parts in ascending order. `in_content`: the map is yet to come."""

    size: int
    parts: list[Part] = field(default_factory=list)
    in_content: bool = False

    def check(self, content: int) -> None:
        """Refuse parts that overlap, leave the file, or are not what the archive holds. Raises SpecError."""
        end = 0
        for offset, length in self.parts:
            if offset < end or length < 0:
                raise SpecError("", "its sparse map goes backwards")
            end = offset + length
        if not end <= self.size <= LARGEST or sum(length for _, length in self.parts) != content:
            raise SpecError("", "its sparse map does not fit its size")


def pairs(numbers: list[int]) -> list[Part]:
    """Group offsets and lengths. Raises SpecError."""
    if len(numbers) % 2:
        raise SpecError("", "its sparse map has an offset without a length")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def decimal(digits: bytes) -> int:
    """Read a number of a map that is text. Raises SpecError."""
    if not digits.isdigit() or len(digits) > 20:  # noqa: PLR2004 - of 2**64
        raise SpecError("", f"{digits[:40]!r} in its sparse map is not a number")
    return int(digits)


def map_of_records(records: Mapping[bytes, bytes]) -> Sparse | None:
    """Read the map of PAX keywords, None where the file is not sparse. Raises SpecError."""
    if records.get(b"GNU.sparse.major") == b"1":
        return Sparse(decimal(records.get(b"GNU.sparse.realsize", b"")), in_content=True)
    text = records.get(b"GNU.sparse.map")
    if text is None:
        return None
    numbers = [decimal(digits) for digits in text.split(b",")]
    return Sparse(decimal(records.get(b"GNU.sparse.size", b"")), pairs(numbers))


class MapInContent:
    """Reads the map before the content of format 1.0: the count of parts, then offset and length of each."""

    def __init__(self) -> None:
        self._rest = b""
        self._numbers: list[int] = []

    def feed(self, block: bytes) -> bool:
        """Take the next block; true when the map is complete, and the rest of the block padding."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            self._numbers.append(decimal(line))
            if len(self._numbers) == 1 + 2 * self._numbers[0]:
                return True
        if self._rest:
            decimal(self._rest)
        return False

    @property
    def parts(self) -> list[Part]:
        """The parts that the map names."""
        return pairs(self._numbers[1:])


class Placing:
    """Says where in the file each piece of the content belongs."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = iter(parts)
        self._offset = self._left = 0

    def place(self, piece: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Cut a piece of the content at the borders of the parts; gives offsets in the file."""
        while piece:
            while not self._left:
                self._offset, self._left = next(self._parts)
            part, piece = piece[: self._left], piece[self._left :]
            yield self._offset, part
            self._offset += len(part)
            self._left -= len(part)
