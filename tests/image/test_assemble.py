"""Assembling images: the same tar files and words give the same digests; the documents say what was asked."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from minicontainer.image import platform
from minicontainer.image.assemble import Layer, add_layer, assemble, layers_of
from minicontainer.image.store.checking import check
from minicontainer.image.store.images import Image, load
from minicontainer.image.store.names import find
from minicontainer.image.store.store import Store
from minicontainer.oci.image import OCI_LAYER, OCI_MANIFEST, ContainerConfig, HistoryEntry

CREATED = "2025-01-01T00:00:00Z"
NAME = "docker.io/library/made:latest"
CONFIG = ContainerConfig(cmd=("sh",), env=("A=1",), labels={"b": "2", "a": "1"})


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("file")
        member.size = 3_000_000
        archive.addfile(member, io.BytesIO(bytes(range(250)) * 12_000))
    return path


def make(root: Path, tar: Path, config: ContainerConfig = CONFIG) -> tuple[Store, Image]:
    store = Store(root)
    with store.hold():
        made = add_layer(store, tar, HistoryEntry(created=CREATED, created_by="a test"))
        return store, load(store, assemble(store, NAME, [made], config, CREATED))


def test_the_same_tar_gives_the_same_digests_wherever_it_is_done(tmp_path: Path, tar: Path) -> None:
    one, two = (make(tmp_path / name, tar)[1] for name in ("one", "two"))
    assert one == two
    assert one.descriptor.digest == two.descriptor.digest


def test_the_order_in_which_labels_were_said_does_not_matter(tmp_path: Path, tar: Path) -> None:
    turned = ContainerConfig(cmd=("sh",), env=("A=1",), labels={"a": "1", "b": "2"})
    assert make(tmp_path / "one", tar)[1].id == make(tmp_path / "two", tar, turned)[1].id


def test_the_layer_is_the_tar_and_its_blob_is_gzip(tmp_path: Path, tar: Path) -> None:
    store, image = make(tmp_path / "store", tar)
    [blob] = image.manifest.layers
    assert blob.media_type == f"{OCI_LAYER}+gzip"
    assert gzip.decompress(store.path(blob.digest).read_bytes()) == tar.read_bytes()
    assert image.diff_ids == (f"sha256:{hashlib.sha256(tar.read_bytes()).hexdigest()}",)
    assert [path.name for path in tar.parent.iterdir() if path.suffix == ".gz"] == []


def test_the_documents_say_what_was_asked_for(tmp_path: Path, tar: Path) -> None:
    store, image = make(tmp_path / "store", tar)
    assert find(store, "made") == image.named
    assert image.descriptor.media_type == image.manifest.media_type == OCI_MANIFEST
    assert image.config.config == CONFIG
    assert image.config.created == CREATED
    assert image.config.history == (HistoryEntry(created=CREATED, created_by="a test"),)
    assert platform.of(image.config) == platform.host()
    assert check(store) == []


def test_an_image_is_built_upon_by_its_layers(tmp_path: Path, tar: Path) -> None:
    store, base = make(tmp_path / "store", tar)
    more = tar.with_name("more.tar")
    with tarfile.open(more, "w") as archive:
        archive.addfile(tarfile.TarInfo("another"))
    with store.hold():
        layers = [*layers_of(base), add_layer(store, more, HistoryEntry(created_by="more"))]
        image = load(store, assemble(store, "docker.io/library/more:latest", layers, CONFIG, CREATED))
    assert image.diff_ids[:-1] == base.diff_ids
    assert image.manifest.layers[:-1] == base.manifest.layers
    assert [entry.created_by for entry in image.config.history or ()] == ["a test", "more"]


def test_of_a_history_only_what_made_layers_is_taken(tmp_path: Path, tar: Path) -> None:
    store, image = make(tmp_path / "store", tar)
    [made] = layers_of(image)
    with store.hold():
        unsaid = Layer(made.blob, made.diff_id, HistoryEntry(empty_layer=True))
        without = load(store, assemble(store, NAME, [unsaid], CONFIG, CREATED))
    assert [each.history for each in layers_of(without)] == [HistoryEntry()]


def test_a_layer_that_is_there_already_is_no_error(tmp_path: Path, tar: Path) -> None:
    store, image = make(tmp_path / "store", tar)
    before = store.path(image.manifest.layers[0].digest).stat()
    assert make(tmp_path / "store", tar)[1] == image
    assert store.path(image.manifest.layers[0].digest).stat() == before
