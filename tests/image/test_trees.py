"""Trees as values: whatever differs between two of them is seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.trees import differences, read_tree

CHANGES: dict[str, Callable[[Path], object]] = {
    "mode": lambda root: (root / "file").chmod(0o4755),
    "mtime": lambda root: os.utime(root / "d/link", ns=(0, 5), follow_symlinks=False),
    "size": lambda root: (root / "file").write_bytes(b"longer"),
    "content": lambda root: (root / "file").write_bytes(b"x"),
    "target": lambda root: ((root / "d/link").unlink(), (root / "d/link").symlink_to("other")),
    "kind": lambda root: ((root / "d/link").unlink(), os.mkfifo(root / "d/link")),
    "xattrs": lambda root: os.setxattr(root / "file", "user.a", b"2"),
    "links": lambda root: ((root / "twin").unlink(), (root / "twin").write_bytes(b"1")),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    (tmp_path / "file").write_bytes(b"1")
    os.setxattr(tmp_path / "file", "user.a", b"1")
    (tmp_path / "twin").hardlink_to(tmp_path / "file")
    (tmp_path / "d/link").symlink_to("target")
    return tmp_path


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_any_field_is_seen(root: Path, field: str) -> None:
    before = read_tree(root)
    assert differences(before, read_tree(root)) == []
    CHANGES[field](root)
    found = differences(read_tree(root), before)
    assert any(f": {field} is " in line for line in found)
    assert differences(read_tree(root), before, ignore=frozenset({field})) != found


def test_a_name_more_or_less_is_seen(root: Path) -> None:
    before = read_tree(root)
    (root / b"caf\xe9".decode("utf-8", "surrogateescape")).touch()
    now = read_tree(root)
    assert "caf\\xe9: only here" in differences(now, before)
    assert "caf\\xe9: only there" in differences(before, now)


def test_nothing_is_followed(root: Path) -> None:
    (root / "outside").symlink_to("/etc")
    assert [path for path in read_tree(root) if path.startswith(b"outside/")] == []


def test_an_unknown_field_cannot_be_ignored(root: Path) -> None:
    with pytest.raises(ValueError, match="not a field"):
        differences({}, {}, ignore=frozenset({"modes"}))
