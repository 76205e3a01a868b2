"""The layer from one tree to another: on top of the first it gives the second."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from minicontainer.image.layer.extract import Extractor
from minicontainer.image.layer.limits import Limits
from minicontainer.image.layer.tree_diff import diff_trees
from tests.image.aside import aside
from tests.image.changes import BEGINNING, CHANGES, Change, play
from tests.image.trees import differences, read_tree

pytestmark = pytest.mark.requires("root")


def layer_between(old: Path, new: Path, **how: object) -> bytes:
    out = io.BytesIO()
    before, after = os.open(old, os.O_RDONLY), os.open(new, os.O_RDONLY)
    try:
        entries = diff_trees(before, after, out, **how)  # type: ignore[arg-type]
    finally:
        os.close(before)
        os.close(after)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as told:
        assert len(told.getmembers()) == entries
    return out.getvalue()


def names(layer: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as file:
        return file.getnames()


def applied(layer: bytes, tree: Path) -> None:
    top = os.open(tree, os.O_RDONLY)
    try:
        with Extractor(top, "sha256:0", limits=Limits(), overlay=False) as extractor:
            extractor.feed(layer)
            extractor.finish()
    finally:
        os.close(top)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES, CHANGES)
def test_the_layer_leads_from_any_tree_to_any_other(
    tmp_path: Path, before: Sequence[Change], changes: Sequence[Change]
) -> None:
    def scene() -> list[str]:
        old, new, copy = (tmp_path / name for name in ("old", "new", "copy"))
        for tree in (old, new, copy):
            tree.mkdir()
            play(tree, [*BEGINNING, *before])
        play(new, changes)
        applied(layer_between(old, new), copy)
        return differences(read_tree(copy), read_tree(new))

    assert aside(tmp_path, scene) == []


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Give a tree, all of whose times are the same."""
    tree = tmp_path / "old"
    play_at_one_time(tree, lambda: play(tree, BEGINNING))
    return tree


def play_at_one_time(tree: Path, make: Callable[[], object]) -> None:
    tree.mkdir(exist_ok=True)
    make()
    for folder, _, files in os.walk(tree):
        for each in (".", *files):
            os.utime(Path(folder, each), ns=(0, 10**9), follow_symlinks=False)


@pytest.fixture
def new(old: Path, tmp_path: Path) -> Path:
    """Give a copy of it."""
    tree = tmp_path / "new"
    play_at_one_time(tree, lambda: play(tree, BEGINNING))
    return tree


def changed(tree: Path, change: Callable[[Path], object]) -> Path:
    """Change a tree so that no time tells of it."""
    play_at_one_time(tree, lambda: change(tree))
    return tree


def test_equal_trees_differ_in_nothing(old: Path, new: Path) -> None:
    assert names(layer_between(old, new)) == ["."]
    assert names(layer_between(old, old)) == ["."]


def test_from_nothing_everything_is_new(old: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    layer = layer_between(tmp_path / "empty", old)
    assert len(names(layer)) == len(read_tree(old))
    assert layer_between(tmp_path / "empty", old) == layer


@pytest.mark.parametrize(
    ("change", "entries"),
    [
        pytest.param(lambda t: (t / "c").write_bytes(b"yyy"), ["c"], id="content of the same size"),
        pytest.param(lambda t: (t / "c").write_bytes(b"x"), ["c"], id="size"),
        pytest.param(lambda t: (t / "c").chmod(0o600), ["c"], id="mode"),
        pytest.param(lambda t: os.chown(t / "c", 1, 0), ["c"], id="owner"),
        pytest.param(lambda t: os.setxattr(t / "c", "user.x", b""), ["c"], id="attributes"),
        pytest.param(lambda t: (t / "a/b").chmod(0o700), ["a", "a/b"], id="a directory"),
        pytest.param(lambda t: (t / "c").unlink(), [".wh.c"], id="removed"),
        pytest.param(lambda t: shutil.rmtree(t / "a/a"), ["a", "a/.wh.a"], id="a directory removed"),
        pytest.param(lambda t: (t / "new").mkdir(), ["new"], id="a new directory"),
        pytest.param(
            lambda t: (t / "c2").hardlink_to(t / "c"), ["c", "c2"], id="one more name of a file that had one"
        ),
        pytest.param(
            lambda t: (t / "b/b").unlink(),
            ["a", "a/c", "b", "b/.wh.b"],
            id="one name less of a file with two",
        ),
    ],
)
def test_a_change_is_told_with_the_directories_above(
    old: Path, new: Path, change: Callable[[Path], object], entries: list[str]
) -> None:
    assert names(layer_between(old, changed(new, change))) == [".", *entries]


def test_a_directory_that_became_a_file_needs_no_whiteouts(old: Path, new: Path) -> None:
    def replace(tree: Path) -> None:
        shutil.rmtree(tree / "a")
        (tree / "a").touch()

    layer = names(layer_between(old, changed(new, replace)))
    assert "a" in layer
    assert not any(".wh." in name for name in layer if name.startswith("a"))


def test_times_after_the_clamp_become_it(old: Path, new: Path) -> None:
    (new / "c").write_text("changed now")
    layer = layer_between(old, new, clamp=5)
    with tarfile.open(fileobj=io.BytesIO(layer)) as file:
        assert {member.name: member.mtime for member in file} == {".": 1, "c": 5}


def test_links_outside_of_the_trees_do_not_matter(old: Path, tmp_path: Path) -> None:
    """As in a copy that was made with links."""
    shutil.copytree(old, tmp_path / "linked", copy_function=os.link)
    for folder, _, _ in os.walk(tmp_path / "linked"):
        os.utime(folder, ns=(0, 10**9))
    assert names(layer_between(old, tmp_path / "linked")) == ["."]


def test_a_device_is_told_by_its_numbers(old: Path, new: Path) -> None:
    for tree, minor in ((old, 3), (new, 5)):
        changed(tree, lambda place, number=minor: os.mknod(place / "d", stat.S_IFCHR, os.makedev(1, number)))  # type: ignore[misc]
    assert names(layer_between(old, new)) == [".", "d"]
