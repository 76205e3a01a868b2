"""Copying a node's disk: holes stay holes, also between two file systems."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from minicontainer.errors import Error
from minicontainer.vm import scratch


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.write(os.urandom(3 << 20))
        file.truncate(64 << 20)
        file.seek(40 << 20)
        file.write(b"far away")
    return path


@pytest.mark.parametrize("refusal", [None, errno.EXDEV, errno.EOPNOTSUPP])
def test_a_copy_is_the_same_and_as_sparse(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int | None
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(refusal, "refused")

    if refusal:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    copy = tmp_path / "copy"
    scratch.copy(disk, copy)
    assert copy.read_bytes() == disk.read_bytes()
    assert copy.stat().st_blocks <= disk.stat().st_blocks + 64


def test_a_full_file_system_is_told_and_leaves_nothing(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    with pytest.raises(Error, match=r"cannot write the disk .*: No space left on device"):
        scratch.copy(disk, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
