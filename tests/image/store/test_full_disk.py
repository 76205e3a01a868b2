"""On a full disk, and where there are no inodes left: a clear error, and the store is what it was."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minicontainer.errors import Error
from minicontainer.image.store.checking import check
from minicontainer.image.store.gc import collect
from minicontainer.image.store.images import load
from minicontainer.image.store.leases import lease
from minicontainer.image.store.names import Named, find, names, remove_name, set_name
from minicontainer.image.store.store import Store
from minicontainer.linux.mounts import mount
from minicontainer.oci.image import OCI_CONFIG
from tests.image.store.contents import Added, add_image, add_named, begun, blobs, unpack
from tests.linux.children import in_child, own_mounts

pytestmark = pytest.mark.requires("root")

NO_ROOM = "No space left on device"
LARGE = b"large" * 400_000
DIGEST = f"sha256:{'1' * 64}"
Fill = Callable[[Path], None]


@contextlib.contextmanager
def refused(what: str) -> Iterator[None]:
    """Expect an error that names what could not be written, and why not."""
    with pytest.raises(Error) as raised:
        yield
    assert what in str(raised.value)
    assert NO_ROOM in str(raised.value)


def on_small_disk(folder: Path, options: str, work: Callable[[Store, Added], None]) -> None:
    """Call with a store on a small file system, which has one image; afterwards it must still have it."""

    def prepared() -> None:
        own_mounts()
        mount("tmpfs", str(folder), "tmpfs", 0, options)
        store = Store(folder / "root").create()
        image = add_named(store, "kept", "one")
        unpack(store, image)
        work(store, image)
        assert load(store, find(store, "kept")).id == image.config.digest
        assert image.blobs <= blobs(store)
        assert begun(store) == []
        assert check(store) == []

    in_child(prepared)


def fill_blocks(folder: Path) -> None:
    """Leave no room for a single byte."""
    with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def fill_inodes(folder: Path) -> None:
    """Leave no room for a single file."""
    with contextlib.suppress(OSError):
        for number in range(100_000):
            (folder / f"ballast{number}").touch()


def make_room(folder: Path) -> None:
    """Take the ballast away."""
    for path in folder.glob("ballast*"):
        path.unlink()


def test_a_blob_for_which_there_is_no_room_leaves_nothing(tmp_path: Path) -> None:
    def work(store: Store, image: Added) -> None:
        before = os.statvfs(tmp_path)
        with refused(f"cannot write {DIGEST}"), store.ingest(DIGEST, len(LARGE)) as ingest:
            for start in range(0, len(LARGE), 10_000):
                ingest.write(LARGE[start : start + 10_000])
        after = os.statvfs(tmp_path)
        assert (after.f_bfree, after.f_ffree) == (before.f_bfree, before.f_ffree)
        add_named(store, "small", "two")

    on_small_disk(tmp_path, "size=1m", work)


@pytest.mark.parametrize(
    ("options", "fill"),
    [("size=1m", fill_blocks), ("size=1m,nr_inodes=100", fill_inodes)],
    ids=["blocks", "inodes"],
)
def test_whatever_is_written_on_a_full_disk_is_refused_and_what_is_there_is_found(
    tmp_path: Path, options: str, fill: Fill
) -> None:
    def work(store: Store, image: Added) -> None:
        spare = add_image(store, "two")
        fill(tmp_path)
        index = store.index.read_bytes()
        with refused("cannot write sha256:"):
            store.add(b"{}", OCI_CONFIG)
        with refused(f"cannot write {DIGEST}"), store.ingest(DIGEST, len(LARGE)) as ingest:
            ingest.write(LARGE)
        with refused("index.json"):
            set_name(store, Named("other", image.manifest))
        with refused("index.json"):
            remove_name(store, "kept")
        with refused("leases/c1"):
            lease(str(store.root), "c1", image.manifest.digest, image.diff_ids)
        assert store.index.read_bytes() == index
        assert list(store.leases.iterdir()) == []
        assert list(names(store)) == ["docker.io/library/kept:latest"]
        assert set(collect(store).blobs) == spare.blobs
        make_room(tmp_path)
        add_named(store, "other", "two")

    on_small_disk(tmp_path, options, work)


def test_a_store_is_not_made_by_halves(tmp_path: Path) -> None:
    def work() -> None:
        own_mounts()
        mount("tmpfs", str(tmp_path), "tmpfs", 0, "size=1m,nr_inodes=100")
        fill_inodes(tmp_path)
        for room in range(20):
            store = Store(tmp_path / "root")
            with contextlib.suppress(Error):
                add_named(store, "web", "one")
                assert room > 5
                assert check(store) == []
                return
            (tmp_path / f"ballast{room}").unlink()
        pytest.fail("there was room enough")

    in_child(work)
