"""Writing files that are there whole or not at all, and locks that die with their holder.

A file is written beside, in the same file system, brought to the disk, renamed, and then its directory is
brought to the disk too. When anything fails (a full disk, no inodes) what was begun is removed.

See fsync(2), rename(2), flock(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from minicontainer.errors import Error

BEGUN = "new-"  # begins the names of files in ingest/ that are of no use when their writer is gone


@contextlib.contextmanager
def failing(what: str) -> Iterator[None]:
    """Say what could not be done, and why not, when a system call fails. Raises Error."""
    try:
        yield
    except OSError as problem:
        raise Error(f"cannot {what}: {problem.strerror}") from problem


def write_beside(directory: Path, path: Path, data: bytes) -> None:
    """Write a file in `directory`, then rename it to `path`. Raises OSError, and nothing is left."""
    fd, name = tempfile.mkstemp(prefix=BEGUN, dir=directory)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(fd, 0o644)
            os.fsync(fd)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Bring a directory to the disk: the names in it, not the files."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked(path: Path, operation: int) -> Iterator[None]:
    """Hold a lock file. Raises BlockingIOError with LOCK_NB, Error if the file cannot be made."""
    with failing(f"open {path}"):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, operation)
        yield
    finally:
        os.close(fd)
