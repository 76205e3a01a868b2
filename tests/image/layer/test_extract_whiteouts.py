"""Whiteouts: what overlayfs makes of them, and what they remove from a tree of all layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.image.layer.extract import LayerError
from minicontainer.image.overlay import mount_overlay
from minicontainer.linux.mounts import mount
from minicontainer.linux.namespaces import CLONE_NEWUSER, unshare, write_id_map
from tests.image.layer.unpacking import names, unpack, unpack_entries
from tests.image.layouts import (
    Entry,
    directory,
    file,
    hardlink,
    opaque,
    symlink,
    tar,
    whiteout,
)
from tests.image.trees import read_tree
from tests.linux.children import in_child, own_mounts

as_root = pytest.mark.requires("root")
T = TypeVar("T")


def aside(place: Path, scene: Callable[[], T], *, as_user: bool = False) -> T:
    """Play a scene with mounts of its own on a new file system, as root of a user namespace if asked."""

    def scene_with_mounts() -> T:
        if as_user:
            unshare(CLONE_NEWUSER)
            write_id_map(0, "setgroups", "deny")
            write_id_map(0, "uid_map", "0 0 1\n")
            write_id_map(0, "gid_map", "0 0 1\n")
        own_mounts()
        mount("tmpfs", str(place), "tmpfs", 0, None)
        return scene()

    return in_child(scene_with_mounts)


def stacked(place: Path, *layers: list[Entry], userxattr: bool = False) -> Path:
    """Unpack layers, the lowest first, and mount them; returns the place of the mount."""
    folders = [place / f"layer{number}" for number in range(len(layers))]
    for folder, entries in zip(folders, layers, strict=True):
        unpack(folder, tar(entries), userxattr=userxattr)
    merged = place / "merged"
    merged.mkdir()
    options = ["userxattr"] if userxattr else []
    mount_overlay(str(merged), [str(folder) for folder in reversed(folders)], options=options)
    return merged


def listed(root: Path) -> list[str]:
    """List all paths as readdir gives them; a whiteout that shows would be among them."""
    return sorted(os.path.relpath(found.path, root) for found in scan(root))


def scan(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from scan(entry.path)


BASE = [
    directory("d/"),
    file("d/a"),
    file("d/b"),
    directory("d/e/"),
    file("d/e/f"),
    file("g"),
    symlink("s", "d"),
]
ALL = ["d", "d/a", "d/b", "d/e", "d/e/f", "g", "s"]
CASES: dict[str, tuple[list[Entry], list[str]]] = {
    "a file": ([whiteout("g")], ["d", "d/a", "d/b", "d/e", "d/e/f", "s"]),
    "a file deep below": ([whiteout("d/e/f")], ["d", "d/a", "d/b", "d/e", "g", "s"]),
    "a symlink, not what it leads to": ([whiteout("s")], ["d", "d/a", "d/b", "d/e", "d/e/f", "g"]),
    "a directory": ([whiteout("d")], ["g", "s"]),
    "everything in a directory": ([opaque("d")], ["d", "g", "s"]),
    "what is not there": ([whiteout("x/y")], [*ALL, "x"]),
    "a directory, then made anew": ([whiteout("d"), directory("d/"), file("d/n")], ["d", "d/n", "g", "s"]),
    "a directory, made anew before": ([directory("d/"), file("d/n"), whiteout("d")], ["d", "d/n", "g", "s"]),
    "a directory, then implied": ([whiteout("d"), file("d/n")], ["d", "d/n", "g", "s"]),
    "a directory, implied before": ([file("d/n"), whiteout("d")], ["d", "d/n", "g", "s"]),
    "a file, then made anew": ([whiteout("g"), file("g", b"new")], ALL),
    "a file, made anew before": ([file("g", b"new"), whiteout("g")], ALL),
    "all but what was added": (
        [file("d/n"), opaque("d"), file("d/e/m")],
        ["d", "d/e", "d/e/m", "d/n", "g", "s"],
    ),
    "all but what is added below": ([file("d/e/n"), opaque("d")], ["d", "d/e", "d/e/n", "g", "s"]),
    "a directory, replaced by a file, replaced by a directory": (
        [whiteout("d"), file("d"), directory("d/")],
        ["d", "g", "s"],
    ),
    "a directory that was a file": ([file("d"), directory("d/"), file("d/n")], ["d", "d/n", "g", "s"]),
    "twice": ([whiteout("g"), whiteout("g")], ["d", "d/a", "d/b", "d/e", "d/e/f", "s"]),
    "a directory, replaced by a file": ([whiteout("d"), file("d", b"x")], ["d", "g", "s"]),
    "in a directory of its own": ([directory("t/"), whiteout("t/x")], [*ALL, "t"]),
    "by an entry that is a directory": ([directory("d/.wh.a/")], ["d", "d/b", "d/e", "d/e/f", "g", "s"]),
    "what AUFS keeps": ([file(".wh..wh.aufs"), file(".wh..wh.plnk/1.2")], ALL),
}  # fmt: skip


@pytest.mark.requires("root", "filesystem:overlay")
@pytest.mark.parametrize(("entries", "left"), CASES.values(), ids=CASES.keys())
def test_overlayfs_hides(entries: list[Entry], left: list[str], tmp_path: Path) -> None:
    assert aside(tmp_path, lambda: listed(stacked(tmp_path, BASE, entries))) == left


@pytest.mark.requires("root", "userns", "filesystem:overlay", "kernel:6.6")
@pytest.mark.parametrize(("entries", "left"), CASES.values(), ids=CASES.keys())
def test_overlayfs_hides_in_a_user_namespace(entries: list[Entry], left: list[str], tmp_path: Path) -> None:
    def scene() -> list[str]:
        return listed(stacked(tmp_path, BASE, entries, userxattr=True))

    assert aside(tmp_path, scene, as_user=True) == left


@as_root
@pytest.mark.parametrize(("entries", "left"), CASES.values(), ids=CASES.keys())
def test_a_tree_of_all_layers_loses(entries: list[Entry], left: list[str], tmp_path: Path) -> None:
    unpack_entries(tmp_path / "tree", *BASE, overlay=False)
    unpack_entries(tmp_path / "tree", *entries, overlay=False)
    assert listed(tmp_path / "tree") == left


@pytest.mark.requires("root", "filesystem:overlay")
def test_a_whiteout_does_not_show_where_no_layer_below_has_the_directory(tmp_path: Path) -> None:
    """Without the empty attribute overlay.origin it would be listed, as a name that does not exist."""

    def scene() -> tuple[list[str], list[str]]:
        merged = stacked(tmp_path, [file("g")], [file("own/a"), whiteout("own/x")])
        with_origin = listed(merged)
        os.removexattr(tmp_path / "layer1/own", "trusted.overlay.origin")
        again = tmp_path / "again"
        again.mkdir()
        mount_overlay(str(again), [str(tmp_path / "layer1"), str(tmp_path / "layer0")])
        return with_origin, names(again / "own")

    with_origin, without = aside(tmp_path, scene)
    assert with_origin == ["g", "own", "own/a"]
    assert without == ["a", "x"]


@as_root
@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh.."])
def test_a_whiteout_that_hides_nothing_that_has_a_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="must name what it hides"):
        unpack_entries(tmp_path / "tree", *BASE, file(name))
    assert listed(tmp_path / "tree") == ALL


@as_root
def test_a_hard_link_to_a_whiteout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match='"g", which is no file of this layer'):
        unpack_entries(tmp_path / "tree", whiteout("g"), hardlink("h", "g"))


@as_root
def test_the_content_of_a_whiteout_goes_nowhere(tmp_path: Path) -> None:
    unpack_entries(tmp_path / "tree", whiteout("g", content=b"x" * 2000), file("h", b"y"))
    tree = read_tree(tmp_path / "tree")
    assert (tree[b"g"].kind, tree[b"g"].device, tree[b"h"].size) == ("character device", (0, 0), 1)


@as_root
def test_removing_does_not_follow_links(tmp_path: Path) -> None:
    """The layer below has a link to a directory outside, the layer empties that directory."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").touch()
    unpack_entries(tmp_path / "tree", directory("d/"), symlink("d/l", str(victim)), overlay=False)
    unpack_entries(tmp_path / "tree", opaque("d/l"), whiteout("d/l/file"), opaque("d"), overlay=False)
    assert (victim / "file").exists()
    assert names(tmp_path / "tree/d") == []


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
ENTRIES = st.one_of(
    PATHS.map(lambda path: file(path, path.encode())),
    PATHS.map(lambda path: directory(f"{path}/")),
    PATHS.map(whiteout),
    PATHS.map(opaque),
)


@pytest.mark.requires("root", "filesystem:overlay")
@given(st.lists(st.lists(ENTRIES, max_size=7), min_size=2, max_size=3))
def test_what_overlayfs_shows_is_what_a_tree_of_all_layers_has(layers: list[list[Entry]]) -> None:
    def scene(place: Path) -> bool:
        try:
            merged = stacked(place, *layers)
        except LayerError:
            return False
        for entries in layers:
            unpack_entries(place / "tree", *entries, overlay=False)
        assert files_of(merged) == files_of(place / "tree")
        return True

    with TemporaryDirectory() as folder:
        aside(Path(folder), lambda: scene(Path(folder)))


def files_of(root: Path) -> dict[str, bytes]:
    """Read the files of a tree. An empty directory may be there for a whiteout's sake alone."""
    files = [Path(each.path) for each in scan(root) if not each.is_dir()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
