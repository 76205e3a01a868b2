"""Bringing in a blob in pieces: the file under its final name is verified before it has that name.

    ingest/sha256-HEX   grows; its writer holds a lock on it; is kept when the writer is interrupted, for the
                        next one to go on; removed when it turns out to be wrong, or the disk is full

    with store.ingest(digest, size) as ingest:
        ... ingest.kept() gives what is there already, then from ingest.offset on: ingest.write(piece) ...
        ingest.commit()

See flock(2), rename(2); distribution-spec, "Pulling blobs".
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from minicontainer.errors import Error, Refused
from minicontainer.image.store.writing import failing, sync_directory
from minicontainer.oci.digest import hasher, split_digest

PIECE = 1 << 18
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WrongContent(Refused):
    """What came is not what its digest promises."""


def check_size(path: Path, digest: str, size: int) -> None:
    """Refuse a descriptor that gives a wrong size to a blob that is here. Raises WrongContent."""
    there = path.stat().st_size
    if there != size:
        raise WrongContent(f"{digest} has {there} bytes, and not {size}, as its descriptor says")


class Ingest:
    """One blob on its way into the store; `begin_ingest` makes it."""

    def __init__(self, file: int, partial: Path, final: Path, descriptor: tuple[str, int]) -> None:
        self._file, self._partial, self._final = file, partial, final
        self.digest, self.size = descriptor
        self.done = final.is_file()  # somebody has finished it: there is nothing to write
        self._hash = hasher(self.digest)
        self.offset = 0
        if self.done:
            os.ftruncate(file, 0)
            check_size(final, self.digest, self.size)
            self.offset = self.size
        else:
            self._hash_again()

    def _hash_again(self) -> None:
        if os.fstat(self._file).st_size > self.size:
            os.ftruncate(self._file, 0)
        while piece := os.pread(self._file, PIECE, self.offset):
            self._hash.update(piece)
            self.offset += len(piece)

    def kept(self) -> Iterator[bytes]:
        """Give what was here when the ingest began, from the first byte to the offset of that moment."""
        end = self.offset
        with (self._final if self.done else self._partial).open("rb") as file:
            while end and (piece := file.read(min(PIECE, end))):
                end -= len(piece)
                yield piece

    def write(self, piece: bytes) -> None:
        """Add a piece at the offset. Raises Error; WrongContent when there is more than there should be."""
        if self.offset + len(piece) > self.size:
            self.discard()
            raise WrongContent(f"{self.digest}: there came more than the {self.size} bytes that it has")
        self._hash.update(piece)
        rest = memoryview(piece)
        try:
            while rest:
                written = os.pwrite(self._file, rest, self.offset)
                self.offset += written
                rest = rest[written:]
        except OSError as problem:
            if problem.errno in NO_ROOM:
                self.discard()
            raise Error(
                f"cannot write {self.digest} to {self._partial.parent}: {problem.strerror}"
            ) from problem

    def commit(self) -> None:
        """Give the blob its name, if it is whole and right. Raises WrongContent, Error."""
        if self.done:
            return
        if self.offset != self.size:
            raise WrongContent(f"{self.digest}: {self.offset} bytes came, and it has {self.size}")
        if self._hash.hexdigest() != split_digest(self.digest)[1]:
            self.discard()
            raise WrongContent(
                f"{self.digest}: what came has the digest {self._hash.name}:{self._hash.hexdigest()}"
            )
        with failing(f"keep {self.digest} in {self._final.parent}"):
            os.fchmod(self._file, 0o644)
            os.fsync(self._file)
            self._final.parent.mkdir(mode=0o700, exist_ok=True)
            self._partial.rename(self._final)
            sync_directory(self._final.parent)
        self.done = True

    def discard(self) -> None:
        """Remove what came, so that nobody goes on with it."""
        self._partial.unlink(missing_ok=True)


@contextlib.contextmanager
def begin_ingest(partial: Path, final: Path, digest: str, size: int) -> Iterator[Ingest]:
    """Open and lock the partial file of a blob. Raises Error."""
    with failing(f"write {digest} to {partial.parent}"):
        file = _open_locked(partial)
    try:
        with failing(f"read {partial}"):
            ingest = Ingest(file, partial, final, (digest, size))
        yield ingest
    finally:
        if os.fstat(file).st_size == 0:
            partial.unlink(missing_ok=True)  # it was only locked: there is nothing to go on with
        os.close(file)


def _open_locked(path: Path) -> int:
    """Open the file for us alone; while we wait, whoever had it may have renamed or removed it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file)):
                return file
        os.close(file)
