"""`rmi`, `image prune`, `image gc`: which names go, what is deleted with the last one, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from minicontainer.cli.image_format import short_id
from minicontainer.image.store.checking import check
from minicontainer.image.store.leases import lease
from minicontainer.image.store.names import Named, names, set_name
from minicontainer.image.store.store import Store
from minicontainer.oci.image import OCI_INDEX, Descriptor
from tests.cli.conftest import Command
from tests.cli.images import DAY, ago, image_id, put


def unpacked(store: Store, manifest: Descriptor) -> list[str]:
    """Make the directories of an image's layers; gives the diff ids."""
    diff_ids: list[str] = json.loads(store.path(image_id(store, manifest)).read_text())["rootfs"]["diff_ids"]
    for diff_id in diff_ids:
        (store.layer(diff_id) / "diff").mkdir(parents=True)
        (store.layer(diff_id) / "layer.json").write_text('{"size": 2048, "entries": 1, "implied": []}')
    return diff_ids


@pytest.fixture
def in_use(store: Store) -> Iterator[Descriptor]:
    """Put an image `busybox` that the container c0ffee uses."""
    manifest = put(store, "busybox")
    held = lease(str(store.root), "c0ffee", manifest.digest, unpacked(store, manifest))
    yield manifest
    held.end()


def test_one_of_several_names_is_only_a_name(store: Store, command: Command) -> None:
    manifest = put(store, "busybox", "busybox:1")
    assert command("rmi", "busybox:1").out == "Untagged: busybox:1\n"
    assert [*names(store)] == ["docker.io/library/busybox:latest"]
    assert store.has(manifest.digest)


def test_the_last_name_takes_the_image_with_it_but_for_what_others_share(
    store: Store, command: Command
) -> None:
    kept = put(store, "other", words=("one",))
    manifest = put(store, "busybox", words=("one", "two"))
    id_, (_, second) = image_id(store, manifest), unpacked(store, manifest)
    said = command("image", "rm", "busybox")
    assert said.out == f"Untagged: busybox:latest\nDeleted: {id_}\nDeleted: {second}\n"
    assert not store.has(manifest.digest)
    assert store.has(kept.digest)
    assert check(store) == []


def test_what_the_registry_served_goes_as_well(store: Store, command: Command) -> None:
    manifest = put(store, "other")
    index = {"schemaVersion": 2, "manifests": [msgspec.to_builtins(manifest)]}
    origin = store.add(json.dumps(index).encode(), OCI_INDEX)
    set_name(store, Named("busybox", manifest, origin.digest))
    assert command("rmi", "other", "busybox").code == 0
    assert [*store.blobs()] == []


@pytest.mark.parametrize("length", [4, 12, 64])
def test_an_id_stands_for_all_names_of_a_repository(length: int, store: Store, command: Command) -> None:
    manifest = put(store, "busybox", "busybox:1")
    id_ = image_id(store, manifest)
    said = command("rmi", id_.removeprefix("sha256:")[:length])
    assert said.out == f"Untagged: busybox:latest\nUntagged: busybox:1\nDeleted: {id_}\n"


def test_an_id_with_names_in_several_repositories_must_be_forced(store: Store, command: Command) -> None:
    id_ = image_id(store, put(store, "busybox", "team/web"))
    said = command("rmi", id_)
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        f"minicontainer: conflict: unable to delete {short_id(id_)} (must be forced) - "
        "image is referenced in multiple repositories\nhint: name one of them, or use -f\n"
    )
    said = command("rmi", id_, "-f")
    assert said.out == f"Untagged: busybox:latest\nUntagged: team/web:latest\nDeleted: {id_}\n"


def test_the_last_name_of_what_a_container_uses_stays(
    in_use: Descriptor, store: Store, command: Command
) -> None:
    said = command("rmi", "busybox")
    assert said.code == 1
    assert said.err.startswith(
        'minicontainer: conflict: unable to remove repository reference "busybox" (must force) - '
        f"container c0ffee is using its referenced image {short_id(image_id(store, in_use))}\n"
    )
    assert "unable to delete" in command("rmi", image_id(store, in_use)).err
    assert len(names(store)) == 1


def test_forced_its_name_goes_and_the_container_keeps_its_layers(
    in_use: Descriptor, store: Store, command: Command
) -> None:
    said = command("rmi", "-f", "busybox")
    assert (said.code, said.out) == (0, "Untagged: busybox:latest\n")
    assert store.has(in_use.digest)
    assert all(path.is_dir() for path in store.layers.iterdir())


def test_what_cannot_be_removed_does_not_keep_the_others(store: Store, command: Command) -> None:
    put(store, "busybox")
    said = command("rmi", "nope", "busybox", "Nope")
    assert said.code == 1
    assert said.out.startswith("Untagged: busybox:latest\n")
    assert said.err.startswith("minicontainer: no such image: nope\n")
    assert "invalid reference format" in said.err


def test_a_damaged_image_can_be_removed(store: Store, command: Command) -> None:
    manifest = put(store, "busybox")
    store.path(manifest.digest).write_bytes(b"{}")
    assert command("rmi", "busybox").out == "Untagged: busybox:latest\n"
    assert not store.has(manifest.digest)


# --- prune -----------------------------------------------------------------------------------------


def test_prune_removes_what_has_no_name_and_says_how_much_that_was(store: Store, command: Command) -> None:
    put(store, "busybox")
    gone = put(store, words=("two",))
    said = command("image", "prune", "-f")
    assert said.code == 0
    assert said.out.startswith("Deleted Images:\ndeleted: sha256:")
    assert f"deleted: {gone.digest}\n" in said.out
    assert said.out.splitlines()[-1].startswith("Total reclaimed space: ")
    assert command("image", "prune", "-f").out == "Total reclaimed space: 0B\n"
    assert [*names(store)] == ["docker.io/library/busybox:latest"]


def test_prune_all_spares_what_a_container_uses(in_use: Descriptor, store: Store, command: Command) -> None:
    put(store, "team/web", words=("two",))
    said = command("image", "prune", "-a", "-f")
    assert said.out.startswith("Deleted Images:\nuntagged: team/web:latest\n")
    assert [*names(store)] == ["docker.io/library/busybox:latest"]


def test_where_nobody_answers_nothing_is_removed(store: Store, command: Command) -> None:
    manifest = put(store, words=("two",))
    said = command("image", "prune")
    assert said.code == 1
    assert "hint: -f does not ask" in said.err
    assert store.has(manifest.digest)


@pytest.mark.parametrize(("answer", "removed"), [("y", True), ("YES", True), ("n", False), ("", False)])
def test_it_asks_first(answer: str, removed: bool, store: Store, command: Command) -> None:
    manifest = put(store, words=("two",))
    said = command("image", "prune", stdin=f"{answer}\n")
    assert said.out.startswith(
        "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] "
    )
    assert said.code == 0
    assert store.has(manifest.digest) != removed


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (["until=24h"], "new none"),
        (["until=1h30m0.5s"], "none"),
        (["until=2000-01-01"], "new none old"),
        (["label=a"], "none old"),
        (["label=a=1", "until=1h"], "none old"),
        (["label=a=2"], "new none old"),
    ],
)
def test_only_what_passes_the_filters_is_removed(
    filters: list[str], left: str, store: Store, command: Command
) -> None:
    put(store, "new", created=ago(2 * 3600), config={"Labels": {"a": "1"}})
    put(store, "old", words=("two",), created=ago(2 * DAY))
    put(store, "none", words=("three",), created=ago(60))
    words = [word for each in filters for word in ("--filter", each)]
    assert command("image", "prune", "-a", "-f", *words).code == 0
    assert sorted(command("images", "--format", "{{.Repository}}").out.split()) == left.split()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--filter", "label=a"], "--filter is about images with a name"),
        (["-a", "--filter", "until=soon"], "until=soon: neither a time nor a duration"),
        (["-a", "--filter", "color=red"], "invalid filter 'color=red'"),
    ],
)
def test_a_filter_that_is_not_understood_removes_nothing(
    words: list[str], problem: str, store: Store, command: Command
) -> None:
    put(store, "busybox")
    said = command("image", "prune", "-f", *words)
    assert (said.code, said.out) == (1, "")
    assert problem in said.err
    assert len(names(store)) == 1


# --- gc --------------------------------------------------------------------------------------------


def test_gc_tells_what_it_removes_and_what_it_would(store: Store, command: Command) -> None:
    put(store, "busybox")
    gone = put(store, words=("two",))
    [layer] = unpacked(store, gone)
    (store.ingests / f"sha256-{'0' * 64}").write_bytes(b"partial")
    dry = command("image", "gc", "--dry-run")
    assert store.has(gone.digest)
    assert f"would remove blob {gone.digest}\n" in dry.out
    assert "Total reclaimable space: " in dry.out
    said = command("image", "gc")
    assert said.out == dry.out.replace("would remove", "removed").replace("reclaimable", "reclaimed")
    assert f"removed layer {layer.removeprefix('sha256:')}\n" in said.out
    assert f"removed partial download sha256-{'0' * 64}\n" in said.out
    assert command("image", "gc").out == "Total reclaimed space: 0B\n"


def test_gc_check_names_what_is_damaged(store: Store, command: Command) -> None:
    manifest = put(store, "busybox")
    assert command("image", "gc", "--check").out == "The store is whole.\n"
    store.path(image_id(store, manifest)).write_bytes(b"{}")
    said = command("image", "gc", "--check")
    assert said.code == 1
    assert image_id(store, manifest) in said.out


def test_nothing_is_made_where_nothing_is(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MINICONTAINER_ROOT", str(tmp_path / "nowhere"))
    assert command("rmi", "busybox").code == 1
    assert not (tmp_path / "nowhere").exists()
