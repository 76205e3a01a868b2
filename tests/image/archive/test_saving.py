"""The archive of `save`: docker's and the OCI's at once, the same bytes each time."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from minicontainer.errors import NotFound, Refused
from minicontainer.image import reference as references
from minicontainer.image.archive.contents import open_contents
from minicontainer.image.archive.saving import Saved, save
from minicontainer.image.archive.source import ArchiveSource
from minicontainer.image.layer.limits import Limits
from minicontainer.image.store.images import Image, load
from minicontainer.image.store.names import find
from minicontainer.image.store.store import Store
from tests.cli.images import put
from tests.image.layouts import digest_of

BUSYBOX, WEB = references.parse("busybox:latest"), references.parse("registry.test:5000/team/web:2")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root").create()


def image(store: Store, *names: str, words: tuple[str, ...] = ("one",)) -> Image:
    put(store, *names, words=words)
    return load(store, find(store, names[0]))


def archive(store: Store, *saved: Saved, docker: bool = True) -> dict[str, bytes]:
    """Save, and give each file of the archive."""
    out = io.BytesIO()
    save(store, saved, out, docker=docker)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.uname) == (0, 0, "")
        return {
            member.name: content.read() for member in tar if (content := tar.extractfile(member)) is not None
        }


def test_an_archive_is_both_dockers_and_the_ocis(store: Store) -> None:
    one = image(store, "busybox", "registry.test:5000/team/web:2", words=("one", "two"))
    files = archive(store, Saved(one, (BUSYBOX, WEB)))
    blobs = [one.descriptor.digest, one.id, *(layer.digest for layer in one.manifest.layers)]
    assert sorted(files) == sorted(
        [
            "index.json",
            "manifest.json",
            "oci-layout",
            *(f"blobs/{digest.replace(':', '/')}" for digest in blobs),
        ]
    )
    assert all(digest_of(data)[7:] == name.split("/")[-1] for name, data in files.items() if "/" in name)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(files["manifest.json"]) == [
        {
            "Config": f"blobs/sha256/{one.id[7:]}",
            "RepoTags": ["docker.io/library/busybox:latest", "registry.test:5000/team/web:2"],
            "Layers": [f"blobs/sha256/{layer.digest[7:]}" for layer in one.manifest.layers],
        }
    ]
    found = {"mediaType": one.descriptor.media_type, "digest": blobs[0], "size": one.descriptor.size}
    assert json.loads(files["index.json"])["manifests"] == [
        {
            **found,
            "annotations": {
                "io.containerd.image.name": str(name),
                "org.opencontainers.image.ref.name": name.tag,
            },
        }
        for name in (BUSYBOX, WEB)
    ]


def test_what_several_images_share_is_saved_once(store: Store) -> None:
    one, two = image(store, "busybox", words=("one",)), image(store, "web", words=("one", "two"))
    files = archive(store, Saved(one, (BUSYBOX,)), Saved(two, (WEB,)))
    assert len([name for name in files if name.startswith("blobs/")]) == 2 + 2 + 2
    assert len(json.loads(files["manifest.json"])) == 2


def test_an_image_without_a_name_is_saved_all_the_same(store: Store) -> None:
    files = archive(store, Saved(image(store, "busybox"), ()))
    assert json.loads(files["manifest.json"])[0]["RepoTags"] == []
    [entry] = json.loads(files["index.json"])["manifests"]
    assert "annotations" not in entry


def test_an_oci_archive_has_nothing_of_dockers(store: Store) -> None:
    assert "manifest.json" not in archive(store, Saved(image(store, "busybox"), (BUSYBOX,)), docker=False)


def test_the_same_images_give_the_same_bytes(store: Store, tmp_path: Path) -> None:
    saved = [Saved(image(store, "busybox", words=("one", "two")), (BUSYBOX,))]
    first, second = io.BytesIO(), io.BytesIO()
    save(store, saved, first)
    save(store, saved, second)
    assert first.getvalue() == second.getvalue()


@pytest.mark.parametrize("docker", [True, False])
def test_what_is_saved_is_what_an_archive_holds(docker: bool, store: Store, tmp_path: Path) -> None:
    one = image(store, "busybox", words=("one", "two"))
    with (tmp_path / "archive").open("wb") as out:
        save(store, [Saved(one, (BUSYBOX, WEB))], out, docker=docker)
    with open_contents(str(tmp_path / "archive"), tmp_path, Limits()) as contents:
        source = ArchiveSource(contents)
        assert [*source.images] == [BUSYBOX, WEB]
        descriptor, data = source.manifest(BUSYBOX, source.resolve(BUSYBOX).digest)
        assert (descriptor, data) == (one.descriptor, store.read(one.descriptor))


def test_a_blob_that_is_not_there_is_named_before_anything_is_written(store: Store) -> None:
    one = image(store, "busybox")
    store.path(one.manifest.layers[0].digest).unlink()
    out = io.BytesIO()
    with pytest.raises(NotFound, match=one.manifest.layers[0].digest):
        save(store, [Saved(one, (BUSYBOX,))], out)
    assert out.getvalue() == b""


def test_a_damaged_blob_is_not_saved(store: Store) -> None:
    one = image(store, "busybox")
    path = store.path(one.manifest.layers[0].digest)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Refused, match="is damaged in the image store"):
        save(store, [Saved(one, (BUSYBOX,))], io.BytesIO())
