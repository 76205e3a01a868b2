"""What an archive of images holds, found by name: in a tar file, or in a directory.

    tar file     read once to learn where each file lies in it; then from there, as often as needed
    stream       the same, and copied meanwhile to a file that has no name: who is killed leaves nothing
    directory    each file opened below it by the kernel, which follows no link out of it

Nothing is extracted, so a name or a link can lead nowhere but to another file of the same archive.

See tar(5), openat2(2), open(2) O_TMPFILE.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from minicontainer.errors import Error, Refused, SpecError
from minicontainer.image.layer.compression import decompressor, kind_of
from minicontainer.image.layer.errors import LayerError
from minicontainer.image.layer.limits import Limits
from minicontainer.image.layer.tar_header import BLOCK, HARD_LINK, REGULAR, SYMLINK, Member
from minicontainer.image.layer.tar_reader import TarReader
from minicontainer.linux.paths import RESOLVE_BENEATH, openat2, try_openat2

PIECE = 1 << 18
MOST_ENTRIES = 10_000  # a layer, its configuration and their folders are a handful
LONGEST_NAME = 4096
MOST_LINKS = 8  # from link to link, before it is called a loop
OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO or a terminal must not keep us


class Content(Protocol):
    """A file of the archive."""

    @property
    def size(self) -> int:
        """How many bytes it has."""

    def pieces(self, offset: int = 0) -> Iterator[bytes]:
        """Read it from an offset on."""


class Contents(Protocol):
    """All files of an archive."""

    def find(self, name: str) -> Content | None:
        """Give the file with a name, if there is one."""


def read_whole(content: Content, name: str, limit: int) -> bytes:
    """Read a small file. Raises Refused."""
    if content.size > limit:
        raise Refused(f"{name} in the archive has {content.size} bytes; at most {limit} are read")
    return b"".join(content.pieces())


# --- a tar file ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """A file within a file."""

    file: int
    start: int
    size: int

    def pieces(self, offset: int = 0) -> Iterator[bytes]:
        """Read it from an offset on. Raises Error."""
        while offset < self.size:
            piece = os.pread(self.file, min(PIECE, self.size - offset), self.start + offset)
            if not piece:
                raise Error("the archive became shorter while it was read")
            offset += len(piece)
            yield piece


class TarContents:
    """The files of a tar archive; of two with one name the later counts, as when it is extracted."""

    def __init__(self) -> None:
        self._files: dict[str, Part] = {}
        self._links: dict[str, str] = {}

    def find(self, name: str) -> Part | None:
        """Give a file; links lead to other files of the archive."""
        name = posixpath.normpath(name)
        for _ in range(MOST_LINKS):
            if name not in self._links:
                return self._files.get(name)
            name = self._links[name]
        return None

    def add(self, member: Member, part: Part) -> None:
        """Note an entry. Raises Refused."""
        if max(len(member.name), len(member.link)) > LONGEST_NAME:
            raise Refused(f"a name in it has more than {LONGEST_NAME} bytes")
        name, link = (posixpath.normpath(os.fsdecode(each)) for each in (member.name, member.link))
        self._files.pop(name, None)
        self._links.pop(name, None)
        if member.kind == REGULAR and not member.sparse:
            self._files[name] = part
        elif member.kind == SYMLINK:
            self._links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
        elif member.kind == HARD_LINK:
            self._links[name] = link


class _Scan:
    """Reads a tar archive, and notes where the contents lie: the reader itself does not say it."""

    def __init__(self, file: int, limits: Limits) -> None:
        self.contents = TarContents()
        self._file = file
        self._reader = TarReader(self, replace(limits, entries=MOST_ENTRIES))
        self._position = 0
        self._block = b""  # the beginning of a header
        self._content = 0  # bytes to come of a content, with what fills up its last block
        self._zeros = 0  # blocks of zeros in a row: two are the end

    def begin(self, member: Member) -> None:
        self.contents.add(member, Part(self._file, self._position, member.size))
        self._content = member.size + -member.size % BLOCK

    def data(self, piece: memoryview) -> None:
        pass

    def end(self) -> None:
        pass

    @property
    def ended(self) -> bool:
        return self._zeros == 2  # noqa: PLR2004 - says POSIX

    def feed(self, data: bytes) -> None:
        """Read on: contents at once, everything else block by block. Raises SpecError, Refused."""
        view = memoryview(data)
        while view and not self.ended:
            taken = min(len(view), self._content or BLOCK - len(self._block))
            self._position += taken
            if self._content:
                self._content -= taken
                self._reader.feed(bytes(view[:taken]))
            else:
                self._header(self._block + view[:taken])
            view = view[taken:]

    def _header(self, block: bytes) -> None:
        self._block = block if len(block) < BLOCK else b""
        if not self._block:
            self._zeros = 0 if block.strip(b"\0") else self._zeros + 1
            self._reader.feed(block)

    def finish(self) -> TarContents:
        if self._block or self._content:
            raise SpecError("", "the archive is cut off")
        self._reader.finish()
        return self.contents


# --- a directory -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loose:
    """A file below a directory; opened for as long as it is read."""

    root: int
    name: str
    size: int

    def pieces(self, offset: int = 0) -> Iterator[bytes]:
        """Read it from an offset on. Raises Error."""
        file = openat2(self.root, self.name, OPEN, 0, RESOLVE_BENEATH)
        try:
            yield from Part(file, 0, self.size).pieces(offset)
        finally:
            os.close(file)


class Directory:
    """The files below a directory that is an image layout."""

    def __init__(self, root: int) -> None:
        self._root = root

    def find(self, name: str) -> Loose | None:
        """Give a file; nothing that is not one, and nothing outside."""
        file = try_openat2(self._root, name, OPEN, 0, RESOLVE_BENEATH)
        if file < 0:
            return None
        try:
            found = os.fstat(file)
        finally:
            os.close(file)
        return Loose(self._root, name, found.st_size) if stat.S_ISREG(found.st_mode) else None


# --- opening ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_contents(path: str, spool: Path, limits: Limits) -> Iterator[Contents]:
    """Open an archive, "" being standard input; what must be copied goes below `spool`. Raises Error."""
    name = path or "standard input"
    with contextlib.ExitStack() as undo:
        try:
            contents = _open(path, spool, limits, undo)
        except OSError as problem:
            raise Error(f"cannot read {name}: {problem.strerror}") from problem
        except SpecError as problem:
            raise Error(f"{name} is no archive of images: {problem}") from None
        except (LayerError, Refused) as problem:
            raise Refused(f"{name}: {problem}") from None
        yield contents


def _open(path: str, spool: Path, limits: Limits, undo: contextlib.ExitStack) -> Contents:
    file = 0
    if path:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        undo.callback(os.close, file)
    found = os.fstat(file)
    if stat.S_ISDIR(found.st_mode):
        return Directory(file)
    whole_file = stat.S_ISREG(found.st_mode) and os.lseek(file, 0, os.SEEK_CUR) == 0
    if whole_file and not kind_of(os.pread(file, BLOCK, 0)):
        return _scan_in_place(file, limits)
    copy = os.open(spool, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    undo.callback(os.close, copy)
    return _scan_and_copy(file, copy, limits)


def _scan_in_place(file: int, limits: Limits) -> TarContents:
    scan = _Scan(file, limits)
    for piece in Part(file, 0, os.fstat(file).st_size).pieces():
        scan.feed(piece)
        if scan.ended:
            break
    return scan.finish()


def _scan_and_copy(file: int, copy: int, limits: Limits) -> TarContents:
    """Scan what comes, decompressed, while it is copied. All of it is taken: its sender may wait for that."""
    scan = _Scan(copy, limits)
    unpacked = decompressor(limits)

    def take(pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            if not scan.ended:
                scan.feed(piece)
                _write(copy, piece)

    while piece := os.read(file, PIECE):
        take(unpacked.feed(piece))
    take(unpacked.finish())
    return scan.finish()


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
