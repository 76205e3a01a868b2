"""Blobs appear in the store whole and verified, or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from pathlib import Path

import pytest

from minicontainer.errors import Error, NotFound, Refused, SpecError
from minicontainer.image.store import place
from minicontainer.image.store import store as stores
from minicontainer.image.store.checking import check
from minicontainer.image.store.ingest import WrongContent
from minicontainer.image.store.store import Store
from minicontainer.oci.image import OCI_CONFIG, Descriptor
from tests.image.store.contents import begun, blobs

DATA = bytes(range(256)) * 40
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
SHA512 = f"sha512:{hashlib.sha512(DATA).hexdigest()}"


def bring_in(store: Store, digest: str = DIGEST, data: bytes = DATA) -> None:
    with store.ingest(digest, len(data)) as ingest:
        ingest.write(data[ingest.offset :])
        ingest.commit()


# --- the layout --------------------------------------------------------------------------------


def test_a_new_store_is_a_valid_and_empty_image_layout(store: Store) -> None:
    assert json.loads((store.images / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(store.index.read_text())["manifests"] == []
    assert check(store) == []
    assert begun(store) == []


def test_nobody_else_reads_the_unpacked_layers(store: Store) -> None:
    assert store.layers.stat().st_mode & 0o7777 == 0o700


def test_making_a_store_again_changes_nothing(store: Store) -> None:
    store.index.write_text('{"schemaVersion": 2, "manifests": [], "mine": 1}')
    assert json.loads(Store(str(store.root)).create().index.read_text())["mine"] == 1


def test_a_layout_that_another_program_made_is_taken_over(tmp_path: Path) -> None:
    images = tmp_path / "root" / "images"
    images.mkdir(parents=True)
    (images / "oci-layout").write_text('{ "imageLayoutVersion": "1.0.0" }')
    (images / "index.json").write_text('{"schemaVersion": 2, "manifests": [], "theirs": 1}')
    store = Store(tmp_path / "root").create()
    bring_in(store)
    assert (images / "oci-layout").read_text() == '{ "imageLayoutVersion": "1.0.0" }'
    assert json.loads(store.index.read_text())["theirs"] == 1


def test_a_store_that_is_not_there_is_only_made_when_something_is_added(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    assert not store.has(DIGEST)
    assert not store.root.exists()
    with store.hold():
        store.add(b"{}", OCI_CONFIG)
    assert store.root.exists()


def test_where_a_store_cannot_be_made_the_error_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match=f"cannot make the image store in {tmp_path}/file/root: Not a directory"):
        Store(tmp_path / "file" / "root").create()


@pytest.mark.parametrize(
    ("variables", "root"),
    [
        ({"MINICONTAINER_ROOT": "/x/y", "HOME": "/home/me"}, "/x/y"),
        ({"MINICONTAINER_ROOT": "x", "HOME": "/home/me"}, "/here/x"),
        ({"HOME": "/home/me"}, "/home/me/.local/share/minicontainer"),
        ({"HOME": "/home/me", "XDG_DATA_HOME": "/data"}, "/data/minicontainer"),
    ],
)
def test_an_ordinary_user_has_a_store_below_his_home(
    variables: dict[str, str], root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = {name.encode(): value.encode() for name, value in variables.items()}
    monkeypatch.setattr("posix.environ", raw)
    monkeypatch.setattr("posix.getcwd", lambda: "/here")
    monkeypatch.setattr("posix.geteuid", lambda: 1000)
    assert place.default_root() == root


@pytest.mark.parametrize(("inside", "root"), [(False, "/var/lib/minicontainer"), (True, "/d/minicontainer")])
def test_root_of_the_whole_machine_alone_has_the_machines_store(
    inside: bool, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posix.environ", {b"XDG_DATA_HOME": b"/d"})
    monkeypatch.setattr("posix.geteuid", lambda: 0)
    monkeypatch.setattr(place, "in_user_namespace", lambda: inside)
    assert place.default_root() == root


def test_the_hot_lanes_paths_are_those_of_the_store(store: Store) -> None:
    root = str(store.root)
    assert place.blob_path(root, DIGEST) == str(store.path(DIGEST))
    assert place.layer_path(root, DIGEST) == place.layer_path(root, DIGEST[7:]) == str(store.layer(DIGEST))
    assert place.index_path(root) == str(store.index)


# --- documents ---------------------------------------------------------------------------------


def test_what_is_added_is_read_back(store: Store) -> None:
    descriptor = store.add(b"{}", OCI_CONFIG)
    assert descriptor == Descriptor(
        media_type=OCI_CONFIG, digest=f"sha256:{hashlib.sha256(b'{}').hexdigest()}", size=2
    )
    assert store.has(descriptor.digest)
    assert store.read(descriptor) == b"{}"
    assert store.add(b"{}", OCI_CONFIG) == descriptor
    assert begun(store) == []


@pytest.mark.parametrize("size", [0, 1, 3, 100])
def test_a_descriptor_of_the_wrong_size_reads_nothing(store: Store, size: int) -> None:
    digest = store.add(b"{}", OCI_CONFIG).digest
    with pytest.raises(Refused, match=digest):
        store.read(Descriptor(media_type=OCI_CONFIG, digest=digest, size=size))
    with pytest.raises(WrongContent, match=f"{digest} has 2 bytes, and not {size}"):
        store.has(digest, size)


def test_a_damaged_blob_is_noticed_when_it_is_read(store: Store) -> None:
    descriptor = store.add(b"{}", OCI_CONFIG)
    store.path(descriptor.digest).write_bytes(b"[]")
    with pytest.raises(Refused, match="damaged") as raised:
        store.read(descriptor)
    assert "image gc --check" in raised.value.hint


def test_what_is_not_here_is_named(store: Store) -> None:
    with pytest.raises(NotFound, match=DIGEST):
        store.read(Descriptor(media_type=OCI_CONFIG, digest=DIGEST, size=2))


def test_a_large_document_is_not_read_into_memory(store: Store) -> None:
    with pytest.raises(Refused, match="too many to be read at once"):
        store.read(Descriptor(media_type=OCI_CONFIG, digest=DIGEST, size=(4 << 20) + 1))


@pytest.mark.parametrize("digest", ["sha256:../../../etc/passwd", "md5:0", "", "sha256:" + "A" * 64, "../x"])
def test_what_is_no_digest_is_never_a_path(store: Store, digest: str) -> None:
    for use in (store.path, store.has, store.layer, store.partial, lambda name: store.ingest(name, 1)):
        with pytest.raises(SpecError, match="is not a digest"):
            use(digest)


# --- blobs in pieces ---------------------------------------------------------------------------


@pytest.mark.parametrize("digest", [DIGEST, SHA512])
def test_a_blob_comes_in_pieces_and_is_there_when_it_is_whole(store: Store, digest: str) -> None:
    with store.ingest(digest, len(DATA)) as ingest:
        assert ingest.offset == 0
        for start in range(0, len(DATA), 1000):
            assert not store.has(digest)
            ingest.write(DATA[start : start + 1000])
        ingest.commit()
    assert store.path(digest).read_bytes() == DATA
    assert begun(store) == []
    assert check(store) == []


def test_an_interrupted_blob_is_gone_on_with(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:3000])
        raise KeyboardInterrupt
    with store.ingest(DIGEST, len(DATA)) as ingest:
        assert ingest.offset == 3000
        assert b"".join(ingest.kept()) == DATA[:3000]
        ingest.write(DATA[3000:])
        ingest.commit()
    assert store.path(DIGEST).read_bytes() == DATA


def test_of_a_blob_that_was_never_begun_nothing_is_kept(store: Store) -> None:
    with store.ingest(DIGEST, len(DATA)):
        pass
    assert begun(store) == []


def test_a_blob_that_is_whole_but_was_never_named_needs_only_its_name(store: Store) -> None:
    with store.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(DATA)
    with store.ingest(DIGEST, len(DATA)) as ingest:
        assert ingest.offset == len(DATA)
        assert b"".join(ingest.kept()) == DATA
        ingest.commit()
    assert store.has(DIGEST, len(DATA))


def test_a_blob_that_is_here_is_not_fetched_again(store: Store) -> None:
    bring_in(store)
    with store.ingest(DIGEST, len(DATA)) as ingest:
        assert ingest.done
        assert ingest.offset == len(DATA)
        assert b"".join(ingest.kept()) == DATA
        ingest.commit()
    assert begun(store) == []


def test_what_is_left_of_a_blob_that_came_in_another_way_is_removed(store: Store) -> None:
    with store.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:3000])
    store.add(DATA, OCI_CONFIG)
    with store.ingest(DIGEST, len(DATA)) as ingest:
        assert ingest.done
    assert begun(store) == []


def test_a_blob_that_is_here_has_no_second_size(store: Store) -> None:
    bring_in(store)
    with pytest.raises(WrongContent, match="as its descriptor says"), store.ingest(DIGEST, 5):
        pass
    assert begun(store) == []
    assert store.has(DIGEST)


def test_wrong_content_is_refused_and_forgotten(store: Store) -> None:
    wrong = DATA[:-1] + b"x"
    with pytest.raises(WrongContent, match=DIGEST), store.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(wrong)
        ingest.commit()
    assert begun(store) == []
    assert blobs(store) == set()


def test_what_was_kept_is_verified_with_the_rest(store: Store) -> None:
    store.partial(DIGEST).write_bytes(b"x" * 3000)
    with pytest.raises(WrongContent), store.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[ingest.offset :])
        ingest.commit()
    bring_in(store)
    assert check(store) == []


def test_more_than_was_promised_is_refused_at_once(store: Store) -> None:
    with pytest.raises(WrongContent, match="more than the 10 bytes"), store.ingest(DIGEST, 10) as ingest:
        ingest.write(DATA[:10])
        ingest.write(DATA[10:11])
    assert begun(store) == []


def test_less_than_was_promised_gets_no_name(store: Store) -> None:
    short = pytest.raises(WrongContent, match="5 bytes came, and it has 10240")
    with short, store.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:5])
        ingest.commit()
    assert blobs(store) == set()


def test_a_partial_blob_that_is_too_long_is_begun_anew(store: Store) -> None:
    store.partial(DIGEST).write_bytes(DATA + b"x")
    with store.ingest(DIGEST, len(DATA)) as ingest:
        assert ingest.offset == 0
        ingest.write(DATA)
        ingest.commit()


def test_a_link_in_place_of_a_partial_blob_is_not_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    store.partial(DIGEST).symlink_to(tmp_path / "victim")
    with pytest.raises(Error, match="cannot write sha256"), store.ingest(DIGEST, len(DATA)):
        pass
    assert (tmp_path / "victim").read_text() == "mine"


# --- nothing is named before it is on the disk -------------------------------------------------


def test_files_reach_the_disk_before_their_names_and_names_before_we_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(fd: int) -> None:
        events.append(("fsync", Path(f"/proc/self/fd/{fd}").readlink().name))
        fsync(fd)

    def noted_rename(path: Path, target: Path) -> Path:
        events.append(("rename", path.name))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    bring_in(store)
    partial = store.partial(DIGEST).name
    assert events == [("fsync", partial), ("rename", partial), ("fsync", "sha256")]
    events.clear()
    store.add(b"{}", OCI_CONFIG)
    assert [kind for kind, _ in events] == ["fsync", "rename", "fsync"]
    assert events[0][1] == events[1][1]
    assert events[2] == ("fsync", "sha256")
    events.clear()
    store.write_index(stores.EMPTY_INDEX)
    assert [kind for kind, _ in events] == ["fsync", "fsync", "rename", "fsync"]
    assert (events[0][1], events[3][1]) == ("sha256", "images")


# --- locks -------------------------------------------------------------------------------------


def test_whoever_adds_keeps_the_collector_out_and_the_other_way_round(store: Store) -> None:
    with store.hold(), store.hold(), pytest.raises(BlockingIOError), store.alone(wait=False):
        pass
    with store.alone(wait=False), (store.root / "lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with store.alone(wait=False):
        pass
