"""Pulling and pushing, as the store and a registry see it; the network is tested in tests/image/registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minicontainer.errors import Error, NotFound
from minicontainer.image import platform, reference
from minicontainer.image.documents import decode_manifest
from minicontainer.image.layer.extract import LayerError
from minicontainer.image.progress import Status
from minicontainer.image.pull import Pull, Pulled
from minicontainer.image.push import Push
from minicontainer.image.registry.errors import RegistryError
from minicontainer.image.store.checking import check
from minicontainer.image.store.images import load
from minicontainer.image.store.names import Named, find, names, set_name
from minicontainer.image.store.store import Store
from minicontainer.oci.image import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.image.layouts import Layer, Layout, digest_of, directory, file, layer
from tests.image.shelf import Shelf

BIG = bytes(range(256)) * 40
LAYERS = [layer([directory("etc"), file("etc/motd", b"hello")]), layer([file("etc/big", BIG)])]
WEB = reference.parse("registry.test/web:1")


class Notes:
    """An observer that keeps the last status of each layer, and all lines."""

    def __init__(self) -> None:
        self.last: dict[str, Status] = {}
        self.lines: list[str] = []

    def layer(self, digest: str, status: Status, done: int = 0, total: int = 0) -> None:
        self.last[digest] = status

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    layout = Layout()
    return Shelf(layout, layout.add_image(LAYERS), tmp_path / "asked")


def pulled(store: Store, shelf: Shelf, wanted: str = "linux/amd64", notes: Notes | None = None) -> Pulled:
    client: Any = shelf
    return Pull(store, client, WEB, platform.parse(wanted), notes or Notes()).run()


def pushed(store: Store, shelf: Shelf, name: str, notes: Notes | None = None) -> str:
    client: Any = shelf
    named = find(store, name)
    return Push(store, client, named, named.reference, notes or Notes()).run()


def contents(store: Store) -> dict[str, list[str]]:
    return {
        "blobs": sorted(path.name for path in (store.images / "blobs" / "sha256").iterdir()),
        "layers": sorted(path.name for path in store.layers.iterdir()),
        "partials": sorted(path.name for path in store.ingests.iterdir()),
    }


def test_a_pull_brings_an_image_with_unpacked_layers_and_a_name(store: Store, shelf: Shelf) -> None:
    notes = Notes()
    result = pulled(store, shelf, notes=notes)
    assert result == Pulled("registry.test/web:1", shelf.served.digest, changed=True)
    assert load(store, find(store, "registry.test/web:1")).config.rootfs.diff_ids == tuple(
        each.diff_id for each in LAYERS
    )
    assert (store.layer(LAYERS[0].diff_id) / "diff" / "etc" / "motd").read_bytes() == b"hello"
    assert (store.layer(LAYERS[1].diff_id) / "diff" / "etc" / "big").read_bytes() == BIG
    assert notes.last == {digest_of(each.blob): "done" for each in LAYERS}
    assert check(store) == []


def config_of(store: Store) -> str:
    return load(store, find(store, "registry.test/web:1")).id


def test_a_second_pull_asks_one_question(store: Store, shelf: Shelf) -> None:
    pulled(store, shelf)
    shelf.asked()
    notes = Notes()
    assert pulled(store, shelf, notes=notes).changed is False
    assert shelf.asked() == ["resolve"]
    assert set(notes.last.values()) == {"exists"}


def test_what_is_unpacked_already_is_fetched_and_not_unpacked_again(store: Store, shelf: Shelf) -> None:
    pulled(store, shelf)
    store.path(digest_of(LAYERS[0].blob)).unlink()
    mark = store.layer(LAYERS[0].diff_id) / "mark"
    mark.touch()
    pulled(store, shelf)
    assert store.has(digest_of(LAYERS[0].blob))
    assert mark.exists()


def test_a_layer_that_was_removed_is_unpacked_from_its_blob(store: Store, shelf: Shelf) -> None:
    pulled(store, shelf)
    place = store.layer(LAYERS[0].diff_id)
    place.rename(place.with_name(".gone"))
    shelf.asked()
    pulled(store, shelf)
    assert (place / "diff" / "etc" / "motd").exists()
    assert shelf.asked() == ["resolve"]


def test_after_a_break_the_next_pull_goes_on_where_it_stopped(store: Store, tmp_path: Path) -> None:
    noise = layer([file("noise", b"".join(digest_of(bytes([n])).encode() for n in range(256)))])
    layout = Layout()
    shelf = Shelf(layout, layout.add_image([noise]), tmp_path / "asked")
    shelf.breaks_after = 3 * 1000
    with pytest.raises(RegistryError, match="the line broke"):
        pulled(store, shelf)
    assert names(store) == {}
    shelf.breaks_after = None
    shelf.asked()
    pulled(store, shelf)
    assert contents(store)["partials"] == check(store) == []
    assert f"blob {digest_of(noise.blob)} from 3000" in shelf.asked()


def test_wrong_content_leaves_nothing(store: Store, tmp_path: Path) -> None:
    wrong = Layer(LAYERS[0].blob, digest_of(b"another tar"), LAYERS[0].media_type)
    layout = Layout()
    shelf = Shelf(layout, layout.add_image([LAYERS[1], wrong]), tmp_path / "asked")
    before = contents(store)
    with pytest.raises(LayerError, match="but the image's configuration says"):
        pulled(store, shelf)
    assert contents(store) == before == {"blobs": [], "layers": [], "partials": []}
    assert names(store) == {}


def test_a_pull_that_fails_takes_nothing_from_the_images_that_are_there(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    pulled(store, Shelf(layout, layout.add_image([LAYERS[1]]), tmp_path / "asked"))
    before = contents(store)
    wrong = Layer(LAYERS[0].blob, digest_of(b"another tar"), LAYERS[0].media_type)
    with pytest.raises(LayerError):
        pulled(store, Shelf(layout, layout.add_image([LAYERS[1], wrong]), tmp_path / "asked again"))
    assert contents(store) == before
    assert check(store) == []


def test_a_blob_with_another_digest_is_refused(store: Store, shelf: Shelf) -> None:
    shelf.layout.blobs[digest_of(LAYERS[1].blob)] = LAYERS[1].blob[:-1] + b"?"
    with pytest.raises(Error, match=digest_of(LAYERS[1].blob)):
        pulled(store, shelf)
    assert contents(store) == {"blobs": [], "layers": [], "partials": []}


# --- platforms and Docker's documents --------------------------------------------------------------


def index_of(layout: Layout, media_type: str = OCI_INDEX) -> dict[str, Any]:
    """An index of two images that share a layer."""
    entries = []
    for number, name in enumerate(("amd64", "arm64")):

        def for_machine(config: dict[str, Any], name: str = name) -> None:
            config["architecture"] = name

        made = layout.add_image(LAYERS[: number + 1], config=for_machine)
        entries.append({**made, "platform": {"os": "linux", "architecture": name}})
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return layout.add(json.dumps(document).encode(), media_type)


def test_of_an_index_one_platform_is_fetched(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    shelf = Shelf(layout, index_of(layout), tmp_path / "asked")
    result = pulled(store, shelf, "linux/arm64")
    named = find(store, "registry.test/web:1")
    assert load(store, named).config.architecture == "arm64"
    assert result.digest == named.origin == shelf.served.digest != named.descriptor.digest
    assert len([line for line in shelf.asked() if line.startswith("manifest")]) == 2
    # The other one moves the name, and needs of the network what is its own.
    assert pulled(store, shelf, "linux/amd64").changed
    assert load(store, find(store, "registry.test/web:1")).config.architecture == "amd64"
    assert not [line for line in shelf.asked() if digest_of(LAYERS[0].blob) in line]


def test_a_platform_that_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    shelf = Shelf(layout, index_of(layout), tmp_path / "asked")
    with pytest.raises(NotFound, match=r"no image for linux/riscv64, only for linux/amd64, linux/arm64"):
        pulled(store, shelf, "linux/riscv64")
    assert contents(store)["blobs"] == []


def test_an_image_for_another_machine_comes_with_a_warning(store: Store, shelf: Shelf) -> None:
    notes = Notes()
    pulled(store, shelf, "linux/arm64", notes)
    assert notes.lines == ["WARNING: the image is for linux/amd64, and not for linux/arm64"]


def as_docker(manifest: dict[str, Any]) -> None:
    """Write a manifest as Docker's schema 2."""
    manifest["mediaType"] = DOCKER_MANIFEST
    manifest["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    for each in manifest["layers"]:
        each["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def docker_image(layout: Layout) -> dict[str, Any]:
    made = layout.add_image(LAYERS, manifest=as_docker)
    layout.types[made["digest"]] = DOCKER_MANIFEST
    return {**made, "mediaType": DOCKER_MANIFEST}


def test_dockers_manifest_is_kept_as_one_of_the_oci_and_pushed_as_it_came(
    store: Store, tmp_path: Path
) -> None:
    layout = Layout()
    shelf = Shelf(layout, docker_image(layout), tmp_path / "asked")
    assert pulled(store, shelf).digest == shelf.served.digest
    named = find(store, "registry.test/web:1")
    manifest = decode_manifest(store.read(named.descriptor))
    assert named.descriptor.media_type == manifest.media_type == OCI_MANIFEST
    shelf.asked()
    assert pulled(store, shelf).changed is False
    assert shelf.asked() == ["resolve"]
    assert pushed(store, shelf, "registry.test/web:1") == shelf.served.digest
    assert shelf.asked() == [f"manifest {DOCKER_MANIFEST} as 1"]


def test_of_dockers_index_too_the_pushed_image_is_what_came(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    made = docker_image(layout)
    entry = {**made, "platform": {"os": "linux", "architecture": "amd64"}}
    index = {"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": [entry]}
    shelf = Shelf(layout, layout.add(json.dumps(index).encode(), DOCKER_INDEX), tmp_path / "asked")
    pulled(store, shelf)
    assert pushed(store, shelf, "registry.test/web:1") == made["digest"]


# --- push ------------------------------------------------------------------------------------------


def empty_shelf(tmp_path: Path) -> Shelf:
    return Shelf(Layout(), {"mediaType": "", "digest": "", "size": 0}, tmp_path / "pushed")


def test_a_push_sends_blobs_first_and_the_manifest_last(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    pulled(store, shelf)
    target, notes = empty_shelf(tmp_path), Notes()
    digest = pushed(store, target, "registry.test/web:1", notes)
    assert digest == shelf.served.digest
    *sent, last = target.asked()
    assert last == f"manifest {OCI_MANIFEST} as 1"
    blobs = [(digest_of(each.blob), len(each.blob)) for each in LAYERS]
    blobs.append((config_of(store), store.path(config_of(store)).stat().st_size))
    assert sorted(sent) == sorted(f"push {digest} {size} bytes" for digest, size in blobs)
    assert set(notes.last.values()) == {"done"}


def test_what_the_registry_has_is_not_sent(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    pulled(store, shelf)
    target, notes = empty_shelf(tmp_path), Notes()
    target.layout.blobs[digest_of(LAYERS[0].blob)] = b""
    pushed(store, target, "registry.test/web:1", notes)
    assert notes.last[digest_of(LAYERS[0].blob)] == "exists"
    assert not [line for line in target.asked() if digest_of(LAYERS[0].blob) in line]


def test_what_another_repository_of_the_registry_has_is_mounted(
    store: Store, shelf: Shelf, tmp_path: Path
) -> None:
    pulled(store, shelf)
    known = find(store, "registry.test/web:1")
    for name in ("registry.test/other/place:2", "elsewhere.test/web:1"):
        set_name(store, Named(name, known.descriptor))
    target, notes = empty_shelf(tmp_path), Notes()
    target.mounts = {"web"}
    pushed(store, target, "registry.test/other/place:2", notes)
    assert set(notes.last.values()) == {"mounted"}
    asked = target.asked()
    assert {line.split(" from ")[1] for line in asked if line.startswith("mount")} == {"web"}
    assert not [line for line in asked if line.startswith("push")]


def test_an_image_whose_blob_is_missing_is_not_pushed(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    pulled(store, shelf)
    store.path(digest_of(LAYERS[0].blob)).unlink()
    target = empty_shelf(tmp_path)
    with pytest.raises(NotFound, match=rf"web:1: the blob {digest_of(LAYERS[0].blob)} is not in the store"):
        pushed(store, target, "registry.test/web:1")
    assert target.asked() == []
