"""Collecting removes exactly what neither a name nor a lease reaches."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from minicontainer.errors import Error
from minicontainer.image.chain import chain_id
from minicontainer.image.layer.record import Record
from minicontainer.image.store.checking import check
from minicontainer.image.store.gc import collect, discard, prune
from minicontainer.image.store.leases import Lease, lease
from minicontainer.image.store.names import Named, names, remove_name, set_name
from minicontainer.image.store.removal import remove_tree
from minicontainer.image.store.store import Store
from minicontainer.oci.digest import digest_of
from minicontainer.oci.image import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from tests.image.store.contents import (
    Added,
    add_image,
    add_json,
    add_layer,
    add_named,
    begun,
    blobs,
    layer_of,
    layers,
    unpack,
)

OTHER = f"sha256:{'1' * 64}"
NAMES = ("web:1", "web:2", "db", "localhost:5000/x")
WORDS = ("a", "b", "c", "d")


# --- the model ---------------------------------------------------------------------------------


class Collecting(RuleBasedStateMachine):
    """Names and leases come and go; after each collection the store is what they reach, and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "root").create()
        self.named: dict[str, Added] = {}
        self.leased: list[tuple[Lease, Added]] = []
        self.count = 0

    def teardown(self) -> None:
        for held, _ in self.leased:
            held.end()
        self.folder.cleanup()

    @rule(
        name=st.sampled_from(NAMES),
        words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True),
    )
    def pull(self, name: str, words: list[str]) -> None:
        self.named[name] = add_named(self.store, name, *words)
        unpack(self.store, self.named[name])

    @rule(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True))
    def build_without_a_name(self, words: list[str]) -> None:
        unpack(self.store, add_image(self.store, *words))

    @rule()
    def be_interrupted(self) -> None:
        with self.store.ingest(OTHER, 5) as ingest:
            ingest.write(b"abc"[ingest.offset :])

    @precondition(lambda self: self.named)
    @rule(old=st.sampled_from(NAMES), new=st.sampled_from(NAMES))
    def tag(self, old: str, new: str) -> None:
        if old in self.named:
            set_name(self.store, Named(new, self.named[old].manifest))
            self.named[new] = self.named[old]

    @rule(name=st.sampled_from(NAMES))
    def untag(self, name: str) -> None:
        if self.named.pop(name, None) is not None:
            remove_name(self.store, name)

    @rule(name=st.sampled_from(NAMES))
    def run(self, name: str) -> None:
        if name in self.named:
            image = self.named[name]
            self.count += 1
            held = lease(str(self.store.root), f"c{self.count}", image.manifest.digest, image.diff_ids)
            self.leased.append((held, image))

    @precondition(lambda self: self.leased)
    @rule(which=st.integers(0, 5))
    def end(self, which: int) -> None:
        held, _ = self.leased.pop(which % len(self.leased))
        held.end()

    @rule()
    def collect(self) -> None:
        planned = collect(self.store, dry_run=True)
        assert collect(self.store) == planned
        images = [*self.named.values(), *(image for _, image in self.leased)]
        assert blobs(self.store) == {digest for image in images for digest in image.blobs}
        assert layers(self.store) == {diff_id[7:] for image in images for diff_id in image.diff_ids}
        assert begun(self.store) == []
        assert {path.name for path in self.store.leases.iterdir()} == {
            Path(held.path).name for held, _ in self.leased
        }

    @invariant()
    def the_store_is_whole(self) -> None:
        images = [*self.named.values(), *(image for _, image in self.leased)]
        assert {digest for image in images for digest in image.blobs} <= blobs(self.store)
        assert check(self.store) == []


TestCollecting = Collecting.TestCase
TestCollecting.settings = settings(
    max_examples=max(10, settings().max_examples // 20), stateful_step_count=30, deadline=None
)


# --- what is reached ---------------------------------------------------------------------------


def test_an_empty_store_has_nothing_to_collect(store: Store) -> None:
    collected = collect(store)
    assert (collected.blobs, collected.layers, collected.partials, collected.bytes) == ([], [], [], 0)


def test_the_bytes_are_those_of_the_blobs_and_of_what_was_unpacked(store: Store) -> None:
    image = add_image(store, "one")
    size = sum(part.size for part in (image.manifest, image.config, *image.layers))
    unpacked = store.layer(digest_of(b"a tar"))
    unpacked.mkdir(parents=True, exist_ok=True)
    Record(size=10240, entries=1, implied=()).write(unpacked)
    size += 10240
    assert collect(store, dry_run=True).bytes == size
    assert blobs(store) == image.blobs
    assert collect(store).bytes == size
    assert blobs(store) == set()


def test_what_the_registry_served_is_kept_for_a_push(store: Store) -> None:
    image = add_image(store, "one")
    docker = add_image(store, "one", media_type=DOCKER_MANIFEST).manifest
    served = add_json(store, OCI_INDEX, {"schemaVersion": 2, "manifests": [docker, missing(OCI_MANIFEST)]})
    set_name(store, Named("web", image.manifest, served.digest))
    collect(store)
    assert blobs(store) == image.blobs | {docker.digest, served.digest}
    set_name(store, Named("web", image.manifest))
    collect(store)
    assert blobs(store) == image.blobs


def missing(media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=OTHER, size=10)


def test_of_an_index_that_another_program_stored_everything_is_kept(store: Store) -> None:
    one, two = add_image(store, "one"), add_image(store, "two")
    index = add_json(
        store, OCI_INDEX, {"schemaVersion": 2, "manifests": [one.manifest, two.manifest, missing("text/x")]}
    )
    set_name(store, Named("web", index))
    collect(store)
    assert blobs(store) == one.blobs | two.blobs | {index.digest}


def test_an_entry_without_a_name_is_kept_too(store: Store) -> None:
    image = add_named(store, "web", "one")
    store.index.write_text(store.index.read_text().replace('"docker.io/library/web:latest"', '"No Name"'))
    assert names(store) == {}
    assert collect(store).blobs == []
    assert blobs(store) == image.blobs


def test_an_artifact_is_kept_with_its_parts_and_its_subject(store: Store) -> None:
    image = add_image(store, "one")
    part = add_layer(store, "signature")
    config = add_json(store, "application/vnd.oci.empty.v1+json", {})
    manifest = {
        "schemaVersion": 2,
        "artifactType": "text/x",
        "config": config,
        "layers": [part],
        "subject": image.manifest,
    }
    signature = add_json(store, OCI_MANIFEST, manifest)
    set_name(store, Named("signature", signature))
    assert collect(store).blobs == []
    assert image.blobs < blobs(store)


def test_what_is_known_of_a_chain_is_kept_with_the_chain(store: Store) -> None:
    image = add_named(store, "web", "one", "two")
    for chain in (image.diff_ids, image.diff_ids[::-1]):
        (store.layers / f"chain-{chain_id(chain)}").mkdir()
    assert collect(store).layers == [f"chain-{chain_id(image.diff_ids[::-1])}"]


@pytest.mark.parametrize("part", ["manifest", "config"])
def test_while_an_image_cannot_be_read_nothing_is_removed(store: Store, part: str) -> None:
    image = add_named(store, "web", "one")
    spare = add_image(store, "two")
    store.path(getattr(image, part).digest).write_bytes(b"{}")
    with pytest.raises(Error, match=r"cannot tell what docker\.io/library/web:latest uses") as raised:
        collect(store)
    assert raised.value.hint == "minicontainer image rm docker.io/library/web:latest"
    assert blobs(store) == image.blobs | spare.blobs
    remove_name(store, "web")
    collect(store)
    assert blobs(store) == set()


def test_what_is_not_ours_is_left_alone(store: Store) -> None:
    foreign = [
        store.images / "blobs" / "sha256" / "notes.txt",
        store.layers / "notes",
        store.images / "busybox",
    ]
    for path in foreign:
        path.mkdir()
    collect(store)
    assert all(path.is_dir() for path in foreign)


# --- unpacked layers ---------------------------------------------------------------------------


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_makes_is_not(store: Store) -> None:
    dead, alive, gone = (store.layers / name for name in (".new-1", ".new-2", ".gone-3"))
    for path in (dead, alive, gone):
        (path / "diff" / "a").mkdir(parents=True)
    lock = os.open(alive, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert sorted(collect(store).layers) == [".gone-3", ".new-1"]
    os.close(lock)
    assert collect(store).layers == [".new-2"]


def test_a_layer_is_removed_however_deep_it_is_and_no_link_is_followed(store: Store, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (victim / "kept").mkdir(parents=True)
    layer = store.layer(OTHER)
    (layer / "diff").mkdir(parents=True)
    (layer / "diff" / "link").symlink_to(victim)
    (layer / "layer.json").touch()
    os.mkfifo(layer / "diff" / "fifo")
    here = os.open(layer / "diff", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    assert collect(store).layers == [OTHER[7:]]
    assert layers(store) == set()
    assert (victim / "kept").is_dir()


def test_a_tree_with_any_names_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("\udcff\n", "a b", ".lifted-0", "-rf"):
        (tree / name / name).mkdir(parents=True)
    remove_tree(tree)
    assert list(tmp_path.iterdir()) == []


# --- prune and discard -------------------------------------------------------------------------


def test_prune_takes_away_the_names_that_no_container_uses_only_when_asked(store: Store) -> None:
    used, unused = add_named(store, "used", "one"), add_named(store, "unused", "two")
    unpack(store, used)
    held = lease(str(store.root), "c1", used.manifest.digest, used.diff_ids)
    assert prune(store).names == []
    planned = prune(store, unused=True, dry_run=True)
    assert len(names(store)) == 2
    assert prune(store, unused=True) == planned
    assert planned.names == ["docker.io/library/unused:latest"]
    assert list(names(store)) == ["docker.io/library/used:latest"]
    assert blobs(store) == used.blobs
    held.end()
    assert unused.manifest.digest in planned.blobs


def test_a_failed_pull_takes_back_what_only_it_brought(store: Store) -> None:
    kept, failed = add_named(store, "web", "one"), add_image(store, "one", "two")
    unpack(store, failed)
    with store.ingest(OTHER, 5) as ingest:
        ingest.write(b"abc")
    (store.layers / f"chain-{chain_id(failed.diff_ids)}").mkdir()
    (store.layers / f".new-{OTHER[7:]}" / "diff").mkdir(parents=True)
    unpack(store, add_image(store, "three"))
    others = blobs(store) - failed.blobs
    discard(store, [*failed.blobs, *failed.diff_ids, OTHER])
    assert blobs(store) == others | kept.blobs
    assert layers(store) == {diff_id[7:] for diff_id in (*kept.diff_ids, layer_of("three").diff_id)}
    assert begun(store) == []


def test_while_somebody_adds_nothing_is_taken_back(store: Store) -> None:
    failed = add_image(store, "two")
    with store.hold():
        discard(store, failed.blobs)
    assert blobs(store) == failed.blobs
