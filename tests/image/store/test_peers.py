"""skopeo and umoci read our store as it is, and we read what they have written into it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from minicontainer.image.store import lookup
from minicontainer.image.store.checking import check
from minicontainer.image.store.gc import collect
from minicontainer.image.store.images import load
from minicontainer.image.store.names import Named, find, names, set_name
from minicontainer.image.store.store import Store
from minicontainer.oci.image import DOCKER_MANIFEST
from tests.image.store.contents import add_image, add_named, blobs
from tests.peers import peer

NAME = "docker.io/library/web:1"


def call(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def umoci(*arguments: str | Path) -> str:
    program = peer("umoci")
    assert program is not None
    return call(program, *arguments)


def skopeo_inspect(store: Store, name: str, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(call("skopeo", "inspect", *options, f"oci:{store.images}:{name}"))
    return document


def assert_whole(store: Store) -> None:
    """Nothing that they wrote is damage to us, and nothing of it is collected."""
    assert check(store) == []
    before = blobs(store)
    collect(store)
    assert check(store) == []
    assert blobs(store) == before


# --- skopeo ------------------------------------------------------------------------------------


@pytest.mark.requires("tool:skopeo")
def test_skopeo_reads_an_image_of_ours_by_its_name(store: Store) -> None:
    image = add_named(store, NAME, "one", "two")
    add_named(store, "localhost:5000/other", "three")
    seen = skopeo_inspect(store, NAME)
    assert seen["Digest"] == image.manifest.digest
    assert seen["Layers"] == [layer.digest for layer in image.layers]
    raw = skopeo_inspect(store, NAME, "--config", "--raw")
    assert raw["rootfs"]["diff_ids"] == list(image.diff_ids)


@pytest.mark.requires("tool:skopeo")
def test_skopeo_copies_an_image_of_ours_elsewhere(store: Store, tmp_path: Path) -> None:
    image = add_named(store, NAME, "one", "two")
    call("skopeo", "copy", "--preserve-digests", f"oci:{store.images}:{NAME}", f"oci:{tmp_path}/copy:x")
    copy = json.loads((tmp_path / "copy" / "index.json").read_text())
    assert [entry["digest"] for entry in copy["manifests"]] == [image.manifest.digest]


@pytest.mark.requires("tool:skopeo")
@pytest.mark.parametrize("name", ["theirs", "docker.io/library/theirs:latest", "localhost:5000/theirs:1"])
def test_what_skopeo_copies_into_the_store_is_an_image_of_ours(
    store: Store, tmp_path: Path, name: str
) -> None:
    source = Store(tmp_path / "source")
    image = add_named(source, "x", "one")
    ours = add_named(store, NAME, "two")
    call("skopeo", "copy", f"oci:{source.images}:docker.io/library/x:latest", f"oci:{store.images}:{name}")
    found = load(store, find(store, name))
    assert found.diff_ids == image.diff_ids
    assert find(store, NAME).descriptor == ours.manifest
    assert lookup.resolve(str(store.root), name) is not None
    assert_whole(store)
    set_name(store, Named("again", found.named.descriptor))
    assert skopeo_inspect(store, name)["Digest"] == found.named.descriptor.digest


@pytest.mark.requires("tool:skopeo")
def test_what_skopeo_copies_without_a_name_is_kept(store: Store, tmp_path: Path) -> None:
    source = Store(tmp_path / "source")
    image = add_named(source, "x", "one")
    origin = f"oci:{source.images}:docker.io/library/x:latest"
    call("skopeo", "copy", "--preserve-digests", origin, f"oci:{store.images}")
    assert names(store) == {}
    assert image.blobs <= blobs(store)
    assert_whole(store)


@pytest.mark.requires("tool:skopeo")
def test_a_docker_manifest_that_skopeo_leaves_as_it_is_is_read(store: Store, tmp_path: Path) -> None:
    source = Store(tmp_path / "source")
    image = add_named(source, "x", "one")
    origin = f"oci:{source.images}:docker.io/library/x:latest"
    call("skopeo", "copy", "--format=v2s2", origin, f"dir:{tmp_path}/docker")
    manifest = (tmp_path / "docker" / "manifest.json").read_bytes()
    assert json.loads(manifest)["mediaType"] == DOCKER_MANIFEST
    call("skopeo", "copy", f"dir:{tmp_path}/docker", f"oci:{store.images}:web")
    assert load(store, find(store, "web")).diff_ids == image.diff_ids


# --- umoci -------------------------------------------------------------------------------------


@pytest.mark.requires("peer:umoci")
def test_umoci_lists_our_names_and_reads_our_image(store: Store) -> None:
    image = add_named(store, NAME, "one", "two")
    assert umoci("ls", "--layout", store.images).split() == [NAME]
    seen = json.loads(umoci("stat", "--json", "--image", f"{store.images}:{NAME}"))
    assert seen["manifest"]["descriptor"]["digest"] == image.manifest.digest
    assert seen["config"]["blob"]["rootfs"]["diff_ids"] == list(image.diff_ids)


@pytest.mark.requires("peer:umoci")
def test_what_umoci_tags_is_an_image_of_ours(store: Store) -> None:
    image = add_named(store, NAME, "one")
    umoci("tag", "--image", f"{store.images}:{NAME}", "stable")
    assert find(store, "stable").descriptor == image.manifest
    assert_whole(store)


@pytest.mark.requires("peer:umoci")
def test_an_image_that_umoci_makes_in_the_store_is_one_of_ours(store: Store) -> None:
    ours = add_named(store, NAME, "one")
    umoci("new", "--image", f"{store.images}:fresh")
    umoci("config", "--image", f"{store.images}:fresh", "--config.env=A=b", "--config.cmd=sh")
    config = load(store, find(store, "fresh")).config.config
    assert config is not None
    assert config.cmd == ("sh",)
    assert find(store, NAME).descriptor == ours.manifest
    collect(store)
    assert check(store) == []


@pytest.mark.requires("peer:umoci")
def test_a_layout_that_umoci_begins_becomes_our_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    store.root.mkdir()
    umoci("init", "--layout", store.images)
    assert names(store) == {}
    add_named(store, NAME, "one")
    assert umoci("ls", "--layout", store.images).split() == [NAME]
    assert check(store) == []


@pytest.mark.requires("peer:umoci")
def test_umocis_collection_takes_nothing_that_a_name_of_ours_reaches(store: Store) -> None:
    image = add_named(store, NAME, "one", "two")
    add_image(store, "three")
    umoci("gc", "--layout", store.images)
    assert blobs(store) == image.blobs
    assert check(store) == []
