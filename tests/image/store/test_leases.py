"""A lease lasts as long as somebody holds it, and keeps what it names; kill -9 ends it."""

from __future__ import annotations

import json
import os
import posix
import signal

import pytest

from minicontainer.errors import Error, NotFound, SpecError
from minicontainer.image.store.gc import collect
from minicontainer.image.store.leases import active, lease
from minicontainer.image.store.names import remove_name
from minicontainer.image.store.store import Store
from tests.image.store.contents import Added, add_named, blobs, layers, unpack
from tests.linux.children import sleeping_child


@pytest.fixture
def image(store: Store) -> Added:
    """An unpacked image whose name is gone."""
    added = add_named(store, "web", "one", "two")
    unpack(store, added)
    remove_name(store, "web")
    return added


def digits(image: Added) -> list[str]:
    return [diff_id[7:] for diff_id in image.diff_ids]


def test_a_lease_keeps_an_image_without_a_name(store: Store, image: Added) -> None:
    held = lease(str(store.root), "c1", image.manifest.digest, digits(image))
    assert active(str(store.root)) == {"c1": (image.manifest.digest, digits(image))}
    collected = collect(store)
    assert (collected.blobs, collected.layers) == ([], [])
    held.end()
    assert active(str(store.root)) == {}
    assert set(collect(store).blobs) == image.blobs
    assert layers(store) == set()


def test_a_lease_outlives_the_process_that_made_it_in_one_that_inherited_it(
    store: Store, image: Added
) -> None:
    held = lease(str(store.root), "c1", image.manifest.digest, list(image.diff_ids))
    with sleeping_child():
        posix.close(held.fd)
        assert list(active(str(store.root))) == ["c1"]
    assert active(str(store.root)) == {}


def test_a_killed_container_leaves_a_lease_that_the_next_collection_removes(
    store: Store, image: Added
) -> None:
    def claim() -> None:
        lease(str(store.root), "c1", image.manifest.digest, digits(image))

    with sleeping_child(claim) as pid:
        assert list(active(str(store.root))) == ["c1"]
        assert collect(store).layers == []
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert active(str(store.root)) == {}
    assert (store.leases / "c1").exists()
    assert set(collect(store).layers) == set(digits(image))
    assert not (store.leases / "c1").exists()


def test_what_was_collected_meanwhile_cannot_be_leased(store: Store, image: Added) -> None:
    collect(store)
    with pytest.raises(NotFound, match="is not there any more") as raised:
        lease(str(store.root), "c1", image.manifest.digest, digits(image))
    assert raised.value.hint == "pull the image again"
    assert list(store.leases.iterdir()) == []


def test_a_lease_that_cannot_be_written_leaves_nothing(
    store: Store, image: Added, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(posix, "write", full)
    with pytest.raises(Error, match=r"cannot write .*leases/c1: No space left on device"):
        lease(str(store.root), "c1", image.manifest.digest, digits(image))
    assert list(store.leases.iterdir()) == []


def test_a_stale_lease_is_written_over(store: Store, image: Added) -> None:
    (store.leases / "c1").write_text("x" * 10_000)
    held = lease(str(store.root), "c1", image.manifest.digest, digits(image))
    assert json.loads((store.leases / "c1").read_text())["layers"] == digits(image)
    held.end()


def test_a_lease_that_is_only_just_being_written_claims_nothing_yet(store: Store, image: Added) -> None:
    held = lease(str(store.root), "c1", image.manifest.digest, digits(image))
    posix.ftruncate(held.fd, 0)
    assert active(str(store.root)) == {}
    held.end()


def test_a_lease_ends_even_if_its_file_is_gone(store: Store, image: Added) -> None:
    held = lease(str(store.root), "c1", image.manifest.digest, digits(image))
    (store.leases / "c1").unlink()
    held.end()
    assert active(str(store.root)) == {}


@pytest.mark.parametrize("text", ["[]", "{}", '{"manifest": "x"}', '{"manifest": "x", "layers": null}'])
def test_a_held_lease_that_says_nothing_stops_the_collection(store: Store, image: Added, text: str) -> None:
    held = lease(str(store.root), "c1", image.manifest.digest, digits(image))
    (store.leases / "c1").write_text(text)
    with pytest.raises(SpecError):
        collect(store)
    assert blobs(store) == image.blobs
    held.end()
