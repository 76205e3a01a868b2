"""An archive as a pull sees it: which images it has, under which names, with which manifests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from minicontainer.errors import Error, NotFound, Refused, SpecError, Unsupported
from minicontainer.image import reference as references
from minicontainer.image.archive.source import ArchiveSource
from minicontainer.image.documents import decode_manifest
from minicontainer.oci.image import OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Index, Manifest
from tests.image.layouts import (
    NAME,
    Layout,
    digest_of,
    file,
    gzip,
    image,
    layer,
    plain,
    zstd,
)

ONE, TWO = layer([file("one", b"1")], plain), layer([file("two", b"2")], plain)
FULL_NAME = "io.containerd.image.name"
BUSYBOX = references.parse("busybox:latest")


@dataclass(frozen=True)
class Piece:
    """A file of an archive that lies in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def pieces(self, offset: int = 0) -> Any:
        yield self.data[offset:]


@dataclass
class Files:
    """An archive that lies in memory."""

    files: dict[str, bytes] = field(default_factory=dict)

    def find(self, name: str) -> Piece | None:
        return Piece(self.files[name]) if name in self.files else None


def docker(layers: dict[str, bytes], diff_ids: list[str], tags: list[str] | None, **more: bytes) -> Files:
    """Make what `docker save` wrote before it knew of the OCI."""
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    text = json.dumps(config).encode()
    name = f"{digest_of(text).removeprefix('sha256:')}.json"
    listed = json.dumps([{"Config": name, "RepoTags": tags, "Layers": [*layers]}]).encode()
    return Files({"manifest.json": listed, name: text, **layers, **more})


def manifest_of(source: ArchiveSource, name: str) -> Manifest:
    reference = references.parse(name).with_default_tag()
    wanted = source.resolve(reference)
    descriptor, data = source.manifest(reference, wanted.digest)
    assert descriptor.digest == wanted.digest == digest_of(data)
    found = decode_manifest(data, descriptor.media_type)
    assert isinstance(found, Manifest)
    return found


# --- an OCI layout ---------------------------------------------------------------------------------


def test_the_images_of_a_layout_are_those_of_its_index() -> None:
    layout = image([ONE, TWO], name="busybox:1")
    source = ArchiveSource(Files(layout.files()))
    assert [str(name) for name in source.images] == ["docker.io/library/busybox:1"]
    manifest = manifest_of(source, "busybox:1")
    assert [each.digest for each in manifest.layers] == [ONE.diff_id, TWO.diff_id]
    assert b"".join(source.blob(BUSYBOX, manifest.layers[0], 100)) == ONE.blob[100:]
    assert b"".join(source.blob(BUSYBOX, manifest.config, 0)) == layout.blobs[manifest.config.digest]


@pytest.mark.parametrize(
    ("annotations", "name"),
    [
        ({NAME: "latest", FULL_NAME: "docker.io/library/busybox:latest"}, "docker.io/library/busybox:latest"),
        ({NAME: "busybox"}, "docker.io/library/busybox:latest"),
        ({NAME: "localhost:5000/a/b:2"}, "localhost:5000/a/b:2"),
        ({NAME: "1.0-RC"}, "localhost/loaded@"),
        ({NAME: ""}, "localhost/loaded@"),
        ({}, "localhost/loaded@"),
    ],
)
def test_a_name_is_read_where_docker_skopeo_and_podman_write_it(
    annotations: dict[str, str], name: str
) -> None:
    def rename(index: dict[str, Any]) -> None:
        index["manifests"][0]["annotations"] = annotations

    layout = image([ONE], index=rename)
    [found] = ArchiveSource(Files(layout.files())).images
    assert str(found).startswith(name)


def test_an_index_in_a_layout_is_given_as_an_index() -> None:
    layout = Layout()
    inner = layout.add_image([ONE])
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner]}
    layout.name(layout.add(json.dumps(index).encode(), OCI_INDEX), "busybox")
    source = ArchiveSource(Files(layout.files()))
    descriptor, data = source.manifest(BUSYBOX, source.resolve(BUSYBOX).digest)
    assert descriptor.media_type == OCI_INDEX
    assert isinstance(decode_manifest(data), Index)


def test_a_manifest_that_is_not_what_its_digest_promises_is_refused() -> None:
    layout = image([ONE], name="busybox")
    [digest] = [digest for digest, kind in layout.types.items() if kind == OCI_MANIFEST]
    layout.blobs[digest] += b" "
    source = ArchiveSource(Files(layout.files()))
    with pytest.raises(Refused, match="what is in the archive has the digest sha256:"):
        source.manifest(BUSYBOX, digest)


def test_a_blob_that_is_missing_is_named() -> None:
    layout = image([ONE], name="busybox")
    del layout.blobs[ONE.diff_id]
    source = ArchiveSource(Files(layout.files()))
    with pytest.raises(NotFound, match=f"{ONE.diff_id} is not in the archive"):
        source.blob(BUSYBOX, manifest_of(source, "busybox").layers[0], 0)


# --- docker's manifest.json ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["{id}/layer.tar", "{hex}.tar", "blobs/sha256/{hex}"])
def test_a_manifest_is_made_where_docker_has_none(name: str) -> None:
    files = {name.format(id=f"{n:064}", hex=each.diff_id[7:]): each.blob for n, each in enumerate((ONE, TWO))}
    archive = docker(files, [ONE.diff_id, TWO.diff_id], ["busybox:latest", "registry.test/b:2"])
    source = ArchiveSource(archive)
    assert [each.familiar() for each in source.images] == ["busybox:latest", "registry.test/b:2"]
    manifest = manifest_of(source, "busybox")
    assert manifest == manifest_of(ArchiveSource(archive), "registry.test/b:2"), "it is always the same"
    assert manifest.media_type == OCI_MANIFEST
    assert [(each.media_type, each.digest, each.size) for each in manifest.layers] == [
        (OCI_LAYER, each.diff_id, len(each.blob)) for each in (ONE, TWO)
    ]
    assert b"".join(source.blob(BUSYBOX, manifest.layers[1], 0)) == TWO.blob
    assert digest_of(b"".join(source.blob(BUSYBOX, manifest.config, 0))) == manifest.config.digest


@pytest.mark.parametrize(("compress", "suffix"), [(gzip, "+gzip"), (zstd, "+zstd")])
def test_compressed_layers_stay_compressed(compress: Callable[[bytes], bytes], suffix: str) -> None:
    packed = compress(ONE.blob)
    source = ArchiveSource(docker({"layer.tar.gz": packed}, [ONE.diff_id], ["busybox"]))
    [found] = manifest_of(source, "busybox").layers
    assert (found.media_type, found.digest) == (OCI_LAYER + suffix, digest_of(packed))


def test_an_image_without_a_name_is_named_by_its_digest() -> None:
    source = ArchiveSource(docker({"layer.tar": ONE.blob}, [ONE.diff_id], None))
    [(name, descriptor)] = source.images.items()
    assert str(name) == f"localhost/loaded@{descriptor.digest}"


def test_a_layout_is_preferred_to_dockers_manifest() -> None:
    layout = image([layer([file("one", b"1")])], name="busybox")
    both = Files({**docker({"layer.tar": ONE.blob}, [ONE.diff_id], ["other"]).files, **layout.files()})
    assert [each.familiar() for each in ArchiveSource(both).images] == ["busybox:latest"]


@pytest.mark.parametrize(
    ("archive", "kind", "problem"),
    [
        (Files(), SpecError, "neither index.json nor manifest.json"),
        (Files({"repositories": b"{}"}), Unsupported, "of a docker before 1.10"),
        (
            Files({"manifest.json": b"[{}]"}),
            SpecError,
            "manifest.json: Object missing required field `Config`",
        ),
        (Files({"manifest.json": b"{"}), SpecError, "invalid JSON"),
        (docker({"l": b""}, [], None), SpecError, "it names 0 layers, and 1 files are given for them"),
        (docker({"l": b""}, ["sha256:../../x"], None), SpecError, "rootfs.diff_ids[0]"),
        (docker({"l": b""}, [ONE.diff_id], ["Busybox"]), SpecError, "must be lowercase"),
        (
            Files({"manifest.json": b'[{"Config":"/etc/passwd","Layers":[]}]'}),
            NotFound,
            "'/etc/passwd' is not in the archive",
        ),
        (Files({"manifest.json": b" " * (5 << 20)}), Refused, "at most 4194304 are read"),
        (
            Files({"manifest.json": json.dumps([{"Config": "c", "Layers": []}] * 1001).encode()}),
            SpecError,
            "1001 images; at most 1000 are allowed",
        ),
        (Files({"oci-layout": b"", "index.json": b'{"schemaVersion":1}'}), Unsupported, "schema 1"),
    ],
)
def test_what_holds_no_images_is_refused(archive: Files, kind: type[Error], problem: str) -> None:
    with pytest.raises(kind) as caught:
        ArchiveSource(archive)
    assert problem in str(caught.value)


def test_a_layer_whose_file_is_missing_is_named() -> None:
    archive = docker({"a/layer.tar": ONE.blob}, [ONE.diff_id], ["busybox"])
    del archive.files["a/layer.tar"]
    with pytest.raises(NotFound, match=r"'a/layer.tar' is not in the archive"):
        ArchiveSource(archive)
