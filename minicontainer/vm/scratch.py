"""Scratch disks: what a guest changes, on a file of the host that takes only the room that was written.

    mke2fs formats it on the host, so the guest needs no tool and no time;  a clone gets a copy, hole by hole

See mke2fs(8); lseek(2), SEEK_DATA; copy_file_range(2).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from minicontainer.errors import Error
from minicontainer.linux import programs

MIB = 1 << 20
# The file is all zeros already: nothing need be zeroed, now or later by the guest's kernel, in the background
# for minutes. With a journal, because a guest may be killed and started again.
FEATURES = ("-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=1,discard")


def make(path: Path, size: int) -> None:
    """Make an empty ext4 file system of `size` MiB. Raises Error, Unsupported; leaves nothing then."""
    try:
        with path.open("wb") as file:
            file.truncate(size * MIB)
        programs.run(["mke2fs", *FEATURES, str(path)])
    except OSError as problem:
        path.unlink(missing_ok=True)
        raise Error(f"cannot make the disk {path}: {problem.strerror or problem}") from problem


def copy(source: Path, target: Path) -> None:
    """Copy a disk; holes stay holes, and blocks are shared where the file system can. Raises Error."""
    try:
        copy_sparse(source, target)
    except OSError as problem:
        target.unlink(missing_ok=True)
        raise Error(f"cannot write the disk {target}: {problem.strerror}") from problem


def copy_sparse(source: Path, target: Path) -> None:
    """Copy the parts of a file that are not holes."""
    with source.open("rb") as reading, target.open("wb") as writing:
        size = os.fstat(reading.fileno()).st_size
        writing.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(reading.fileno(), at, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                return
            end = os.lseek(reading.fileno(), at, os.SEEK_HOLE)
            while at < end:
                at += copy_range(reading.fileno(), writing.fileno(), end - at, at)


def copy_range(reading: int, writing: int, count: int, at: int) -> int:
    """Copy some bytes at `at`, in the kernel where both files lie on one file system; returns how many."""
    try:
        return os.copy_file_range(reading, writing, count, at, at)
    except OSError as problem:
        if problem.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP):
            raise
    return os.pwrite(writing, os.pread(reading, min(count, MIB), at), at)
