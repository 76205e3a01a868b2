"""Images of hand-made layers in a store of their own, unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minicontainer.image.layer.limits import Limits
from minicontainer.image.progress import Nobody
from minicontainer.image.snapshot import view
from minicontainer.image.store.images import Image, load
from minicontainer.image.store.names import find
from minicontainer.image.store.store import Store
from minicontainer.image.unpack import unpack
from tests.image.layouts import Entry, image, layer, plain
from tests.image.trees import Node, read_tree

Layers = Sequence[Sequence[Entry]]


def unpacked(folder: Path, layers: Layers) -> tuple[Store, Image]:
    """Make a store with an image of these layers, lowest first, and unpack it."""
    store = Store(folder / "root").create()
    image([layer(entries, plain) for entries in layers], name="sample").write(store.images)
    found = load(store, find(store, "sample"))
    unpack(store, found, Nobody(), Limits())
    return store, found


def tree_of(folder: Path, layers: Layers) -> dict[bytes, Node]:
    store, found = unpacked(folder, layers)
    with view(store, found) as tree:
        return read_tree(tree)
