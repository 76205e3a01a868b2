"""The check of a store names every kind of damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from minicontainer.image.store.checking import check
from minicontainer.image.store.gc import collect
from minicontainer.image.store.names import Named, set_name
from minicontainer.image.store.store import Store
from minicontainer.oci.digest import digest_of
from minicontainer.oci.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor
from tests.image.store.contents import Added, add_image, add_json, add_named, unpack

OTHER = f"sha256:{'1' * 64}"
NAME = "docker.io/library/web:latest"
Damage = Callable[[Store, Added], str]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def a_flipped_bit_in_a_layer(store: Store, image: Added) -> str:
    flip(store.path(image.layers[0].digest))
    return f"{image.layers[0].digest}: its content is another"


def a_flipped_bit_in_the_configuration(store: Store, image: Added) -> str:
    flip(store.path(image.config.digest))
    return f"{image.config.digest}: its content is another"


def a_flipped_bit_in_the_manifest(store: Store, image: Added) -> str:
    flip(store.path(image.manifest.digest))
    return f"{image.manifest.digest}: its content is another"


def a_blob_cut_off(store: Store, image: Added) -> str:
    path = store.path(image.layers[0].digest)
    path.write_bytes(path.read_bytes()[:-1])
    return f"{NAME}: {image.layers[0].digest} has {image.layers[0].size - 1} bytes, and not"


def a_blob_that_is_a_directory(store: Store, image: Added) -> str:
    store.path(OTHER).mkdir()
    return f"{OTHER}: not a file"


def a_blob_that_is_a_link(store: Store, image: Added) -> str:
    path = store.path(image.layers[0].digest)
    path.rename(store.root / "elsewhere")
    path.symlink_to(store.root / "elsewhere")
    return f"{image.layers[0].digest}: not a file"


def a_missing_layer(store: Store, image: Added) -> str:
    store.path(image.layers[0].digest).unlink()
    return f"{NAME}: {image.layers[0].digest} is not in the image store"


def a_missing_configuration(store: Store, image: Added) -> str:
    store.path(image.config.digest).unlink()
    return f"{NAME}: {image.config.digest} is not in the image store"


def a_missing_manifest(store: Store, image: Added) -> str:
    store.path(image.manifest.digest).unlink()
    return f"{NAME}: {image.manifest.digest} is not in the image store"


def a_wrong_size_in_the_index(store: Store, image: Added) -> str:
    document = json.loads(store.index.read_text())
    document["manifests"][0]["size"] += 1
    store.index.write_text(json.dumps(document))
    return f"{NAME}: {image.manifest.digest} has {image.manifest.size} bytes, and not"


def a_manifest_with_fewer_layers_than_its_configuration(store: Store, image: Added) -> str:
    manifest = {"schemaVersion": 2, "config": image.config, "layers": image.layers[1:]}
    set_name(store, Named("web", add_json(store, OCI_MANIFEST, manifest)))
    return f"{NAME}: config: rootfs.diff_ids: 2 are named, and the manifest has 1 layers"


def a_configuration_that_is_none(store: Store, image: Added) -> str:
    config = add_json(store, OCI_CONFIG, {"os": "linux"})
    manifest = {"schemaVersion": 2, "config": config, "layers": []}
    set_name(store, Named("web", add_json(store, OCI_MANIFEST, manifest)))
    return f"{NAME}: config: Object missing required field"


def damage_behind_an_index(store: Store, image: Added) -> str:
    index = {"schemaVersion": 2, "manifests": [image.manifest]}
    set_name(store, Named("web", add_json(store, OCI_INDEX, index)))
    return a_missing_layer(store, image)


def an_index_that_is_none(store: Store, image: Added) -> str:
    store.index.write_text("{")
    return "index.json: invalid JSON"


def no_layout_file(store: Store, image: Added) -> str:
    (store.images / "oci-layout").unlink()
    return "oci-layout: missing"


def a_layout_of_another_version(store: Store, image: Added) -> str:
    (store.images / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    return "oci-layout: not of version 1.0.0"


def a_layout_file_that_is_none(store: Store, image: Added) -> str:
    (store.images / "oci-layout").write_text("")
    return "oci-layout: invalid JSON"


def an_unpacked_layer_without_its_tree(store: Store, image: Added) -> str:
    (store.layer(image.diff_ids[0]) / "diff").rmdir()
    return f"layers/{image.diff_ids[0][7:]}: diff is missing"


def an_unpacked_layer_without_its_record(store: Store, image: Added) -> str:
    (store.layer(image.diff_ids[0]) / "layer.json").unlink()
    return f"layers/{image.diff_ids[0][7:]}: layer.json is missing"


@pytest.mark.parametrize(
    "damage",
    [
        a_flipped_bit_in_a_layer,
        a_flipped_bit_in_the_configuration,
        a_flipped_bit_in_the_manifest,
        a_blob_cut_off,
        a_blob_that_is_a_directory,
        a_blob_that_is_a_link,
        a_missing_layer,
        a_missing_configuration,
        a_missing_manifest,
        a_wrong_size_in_the_index,
        a_manifest_with_fewer_layers_than_its_configuration,
        a_configuration_that_is_none,
        damage_behind_an_index,
        an_index_that_is_none,
        no_layout_file,
        a_layout_of_another_version,
        a_layout_file_that_is_none,
        an_unpacked_layer_without_its_tree,
        an_unpacked_layer_without_its_record,
    ],
)
def test_damage_is_named(store: Store, damage: Damage) -> None:
    image = add_named(store, "web", "one", "two")
    unpack(store, image)
    assert check(store) == []
    expected = damage(store, image)
    found = check(store)
    assert any(problem.startswith(expected) for problem in found), found


def test_indexes_within_indexes_are_followed_however_many_there_are(store: Store) -> None:
    innermost = add_image(store, "one")
    entry = innermost.manifest
    for _ in range(1500):
        data = json.dumps({"schemaVersion": 2, "manifests": [msgspec.to_builtins(entry)] * 3}).encode()
        entry = Descriptor(media_type=OCI_INDEX, digest=digest_of(data), size=len(data))
        store.path(entry.digest).write_bytes(data)
    set_name(store, Named("web", entry))
    assert check(store) == []
    assert collect(store).blobs == []
    store.path(innermost.layers[0].digest).unlink()
    assert check(store) == [f"{NAME}: {innermost.layers[0].digest} is not in the image store"]


def test_several_damages_are_named_together(store: Store) -> None:
    image = add_named(store, "web", "one", "two")
    for part in image.layers:
        store.path(part.digest).unlink()
    assert len(check(store)) == 2


def test_what_no_name_needs_may_be_incomplete(store: Store) -> None:
    image = add_image(store, "one")
    store.path(image.layers[0].digest).unlink()
    with store.ingest(OTHER, 5) as ingest:
        ingest.write(b"abc")
    assert check(store) == []
