"""A whole image in one directory: what umoci makes of it, or nothing at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicontainer.errors import Conflict, Error
from minicontainer.image.layer.errors import LayerError
from minicontainer.image.layer.limits import Limits
from minicontainer.image.store.images import load
from minicontainer.image.store.names import Named, find, set_name
from minicontainer.image.store.store import Store
from minicontainer.image.unpack_tree import unpack_tree
from minicontainer.oci.image import OCI_MANIFEST, Descriptor
from tests.image.layouts import Layer, Layout, directory, file, hardlink, layer, opaque, symlink, whiteout
from tests.image.layouts import zstd as packed_with_zstd
from tests.image.trees import read_tree
from tests.image.unpackers import umoci_tree, unpacking_differences

BELOW = layer(
    [directory("etc"), file("etc/one", b"1"), file("etc/two", b"2"), directory("d"), file("d/x", b"x")]
)
ABOVE = layer([whiteout("etc/one"), opaque("d"), file("d/y", b"y", uid=12, mode=0o4755)], packed_with_zstd)
LINKS = layer([symlink("etc/link", "/etc/two"), hardlink("etc/hard", "etc/two"), file("etc/one", b"new")])

pytestmark = pytest.mark.requires("root")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root").create()


def unpacked(store: Store, layout: Layout, place: Path) -> None:
    """Put a layout's only image into a store, and unpack it."""
    [manifest] = [digest for digest, kind in layout.types.items() if kind == OCI_MANIFEST]
    for digest, data in layout.blobs.items():
        store.add(data, layout.types[digest])
    size = len(layout.blobs[manifest])
    set_name(store, Named("sample", Descriptor(media_type=OCI_MANIFEST, digest=manifest, size=size)))
    unpack_tree(store, load(store, find(store, "sample")), place, Limits())


@pytest.mark.requires("peer:umoci")
@pytest.mark.parametrize("layers", [(BELOW,), (BELOW, ABOVE), (BELOW, ABOVE, LINKS), (BELOW, ABOVE, BELOW)])
def test_the_tree_is_the_one_that_umoci_makes(
    layers: tuple[Layer, ...], store: Store, tmp_path: Path
) -> None:
    layout = Layout()
    layout.name(layout.add_image(layers), "sample")
    unpacked(store, layout, tmp_path / "tree")
    theirs = umoci_tree(layout.write(tmp_path / "layout"), "sample", tmp_path / "theirs")
    assert not unpacking_differences(read_tree(tmp_path / "tree"), theirs, made_after=0)


@pytest.mark.parametrize("wrong", ["entry", "tar"])
def test_of_a_layer_that_is_refused_nothing_stays(wrong: str, store: Store, tmp_path: Path) -> None:
    bad = (
        layer([file("../escape", b"x")])
        if wrong == "entry"
        else Layer(ABOVE.blob, BELOW.diff_id, ABOVE.media_type)
    )
    layout = Layout()
    layout.add_image([BELOW, bad])
    with pytest.raises(LayerError):
        unpacked(store, layout, tmp_path / "tree")
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_a_layer_that_is_not_there_is_said(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    layout.add_image([BELOW])
    layout.blobs.pop(next(digest for digest, data in layout.blobs.items() if data == BELOW.blob))
    with pytest.raises(Error, match=f"cannot unpack into {tmp_path}/tree: No such file or directory"):
        unpacked(store, layout, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_what_is_there_is_left_alone(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    layout.add_image([BELOW])
    (tmp_path / "tree").mkdir()
    with pytest.raises(Conflict, match="is there already"):
        unpacked(store, layout, tmp_path / "tree")
    with pytest.raises(Error, match="cannot make"):
        unpacked(store, layout, tmp_path / "no" / "tree")
    assert [*(tmp_path / "tree").iterdir()] == []
