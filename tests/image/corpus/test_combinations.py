"""Layers made by chance, of few names and all types: what GNU tar in a chroot can unpack, we unpack alike.

Two things are refused that GNU tar takes: a name with `..` in it, and a hard link of a directory to itself.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.image.layer.extract import Extractor, LayerError
from minicontainer.image.layer.limits import Limits
from tests.image.corpus import gnu_tar
from tests.image.layouts import Entry, directory, fifo, file, hardlink, symlink, tar
from tests.image.trees import Node, Tree, changed, differences, read_tree

pytestmark = pytest.mark.requires("root")

NAMES = (
    "a",
    "b",
    "d",
    "d/a",
    "d/d/b",
    "./a",
    "/b",
    "d//a",
    "l",
    "l/a",
    "l/d",
    "l/a/b",
    "d/l",
    "d/l/b",
    "../a",
    "d/../b",
)
TARGETS = (
    "a",
    "b",
    "d",
    "l",
    "/",
    ".",
    "..",
    "/d",
    "../../b",
    "d/..",
    "d/l",
    "/l/a",
    "nowhere",
    "/proc/self/root",
)
CONTENTS = (b"", b"1", b"22")

names, targets = st.sampled_from(NAMES), st.sampled_from(TARGETS)
entries = st.one_of(
    st.builds(file, names, st.sampled_from(CONTENTS), mode=st.sampled_from((0o644, 0o4755))),
    st.builds(directory, names, st.sampled_from((0o755, 0o700))),
    st.builds(symlink, names, targets),
    st.builds(hardlink, names, st.sampled_from((*NAMES, *TARGETS))),
    st.builds(fifo, names),
)


@given(layer=st.lists(entries, min_size=2, max_size=8))
def test_a_layer_of_chance_is_refused_or_unpacked_as_gnu_tar_does(layer: list[Entry]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="minicontainer-combination-"))
    try:
        data = tar(layer)
        refusal = extract(data, folder / "ours")
        theirs = gnu_tar.unpack(data, folder / "theirs")
        assert {path.name for path in folder.iterdir()} == {"ours", "theirs"}
        if theirs.returncode == 0 and refusal:
            assert is_stricter(refusal), refusal
        if theirs.returncode == 0 and not refusal:
            here, there = (comparable(read_tree(folder / side)) for side in ("ours", "theirs"))
            assert differences(here, there) == []
    finally:
        shutil.rmtree(folder)


def extract(data: bytes, root: Path) -> str:
    """Unpack a tar file; gives the error, "" if there was none."""
    root.mkdir(mode=0o755)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with Extractor(descriptor, "sha256:...", limits=Limits()) as extractor:
            extractor.feed(data)
            extractor.finish()
    except LayerError as problem:
        return str(problem)
    finally:
        os.close(descriptor)
    return ""


def is_stricter(refusal: str) -> bool:
    """Say whether we refuse what GNU tar in a chroot would do harmlessly."""
    return '("..")' in refusal or "which is no file of this layer" in refusal


def comparable(tree: Tree) -> dict[bytes, Node]:
    """Leave out what tar does not make, or makes otherwise: marks for overlayfs, the times of directories."""

    def forget(path: bytes, node: Node) -> Node:
        return replace(node, xattrs=(), mtime=0 if node.kind == "directory" else node.mtime)

    return changed(tree, forget)
