"""Our unpacked tree of an image equals what umoci unpacks and what podman mounts."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from minicontainer.image.layer.limits import Limits
from minicontainer.image.progress import Nobody
from minicontainer.image.snapshot import view
from minicontainer.image.store.images import load
from minicontainer.image.store.names import find
from minicontainer.image.store.store import Store
from minicontainer.image.unpack import unpack
from tests.image.corpus.harmless import SAMPLES, Sample
from tests.image.layouts import NAME, Layout
from tests.image.trees import Tree, differences, read_tree
from tests.image.unpackers import podman_trees, umoci_tree, unpacking_differences

pytestmark = pytest.mark.requires("root", "peer:umoci", "peer:podman")


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The trees of all samples, by each of the three."""

    begun: int
    ours: Mapping[str, Tree]
    umoci: Mapping[str, Tree]
    podman: Mapping[str, Tree]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    folder = tmp_path_factory.mktemp("unpacked")
    begun = time.time_ns()
    tags = [sample.name for sample in SAMPLES]
    layout = write(folder / "store" / "images")
    umoci = {tag: umoci_tree(layout, tag, folder / f"umoci-{tag}") for tag in tags}
    podman = podman_trees(layout, tags, folder / "podman")
    return Unpacked(begun, our_trees(folder / "store", tags), umoci, podman)


def write(folder: Path) -> Path:
    """Write one layout with all samples, each under its name."""
    layout = Layout()
    manifests = [
        {**layout.add_image(sample.make()), "annotations": {NAME: sample.name}} for sample in SAMPLES
    ]
    layout.index = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    return layout.write(folder)


def our_trees(root: Path, tags: list[str]) -> Mapping[str, Tree]:
    """Unpack all images of a store and read their trees."""
    store = Store(root).create()
    trees = {}
    for tag in tags:
        image = load(store, find(store, tag))
        unpack(store, image, Nobody(), Limits())
        with view(store, image) as tree:
            trees[tag] = read_tree(tree)
    return trees


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_our_tree_is_the_one_of_umoci_and_podman(sample: Sample, unpacked: Unpacked) -> None:
    ours = unpacked.ours[sample.name]
    theirs = {"umoci": unpacked.umoci[sample.name], "podman": unpacked.podman[sample.name]}
    found = {name: unpacking_differences(ours, tree, unpacked.begun) for name, tree in theirs.items()}
    if sample.follows:
        assert found.pop(sample.follows) == []
        assert all(found.values()), "they agree by now"
    else:
        assert found == {"umoci": [], "podman": []}


def test_there_are_enough_samples_and_each_says_what_it_is() -> None:
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES) >= 30
    assert all(
        sample.sentence.endswith(".") and bool(sample.follows) == bool(sample.because) for sample in SAMPLES
    )


def test_a_difference_is_seen(unpacked: Unpacked) -> None:
    one, other = unpacked.ours["modes"], unpacked.ours["owners"]
    assert unpacking_differences(one, other, unpacked.begun)
    assert differences(one, one) == []
