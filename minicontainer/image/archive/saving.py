"""Writing images to one tar file that is a docker-archive and an OCI image layout at once, as docker's is.

    oci-layout  index.json     what skopeo and podman read as oci-archive, and docker with containerd's store
    manifest.json              what docker, podman and skopeo read as docker-archive
    blobs/sha256/HEX           manifests, configurations and layers, each once

Nothing of it depends on when or where it is written: the same images give the same bytes.

Implements image-spec image-layout.md; github.com/moby/docker-image-spec v1.2.md, "Combined Image JSON".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from minicontainer.errors import NotFound, Refused
from minicontainer.image.archive.source import FULL_NAME
from minicontainer.image.layer.tar_header import DIRECTORY, REGULAR
from minicontainer.image.layer.tar_writer import TarEntry, TarWriter
from minicontainer.image.reference import Reference
from minicontainer.image.store.images import Image
from minicontainer.image.store.names import REF_NAME
from minicontainer.image.store.store import LAYOUT, Store
from minicontainer.oci.digest import hasher, split_digest
from minicontainer.oci.image import OCI_INDEX, Descriptor

PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Saved:
    """An image, and the names under which it is to be loaded again."""

    image: Image
    names: tuple[Reference, ...]


def save(store: Store, saved: Sequence[Saved], out: BinaryIO, *, docker: bool = True) -> None:
    """Write images to a stream; without `docker` only the OCI image layout. Raises NotFound, Refused."""
    blobs = {blob.digest: blob for each in saved for blob in blobs_of(each.image)}
    for blob in blobs.values():
        if not store.has(blob.digest):
            raise NotFound(f"{blob.digest} is not in the image store", hint="pull the image again")
    documents = {"index.json": index_of(saved), "oci-layout": LAYOUT}
    if docker:
        documents["manifest.json"] = docker_manifest_of(saved)
    tar = TarWriter(out)
    for name, data in sorted(documents.items()):
        tar.add(entry(name, len(data)), [data])
    for directory in sorted({path_of(digest).rpartition("/")[0] for digest in blobs} | {"blobs"}):
        tar.add(TarEntry(name=f"{directory}/".encode(), kind=DIRECTORY, mode=0o755))
    for digest, blob in sorted(blobs.items()):
        tar.add(entry(path_of(digest), blob.size), verified(store, blob))
    tar.finish()


def blobs_of(image: Image) -> tuple[Descriptor, ...]:
    """List the blobs that an image consists of."""
    return (image.descriptor, image.manifest.config, *image.manifest.layers)


def path_of(digest: str) -> str:
    """Name a blob's file."""
    return "/".join(("blobs", *split_digest(digest)))


def entry(name: str, size: int) -> TarEntry:
    """Describe a file; its time is the beginning of time."""
    return TarEntry(name=name.encode(), kind=REGULAR, mode=0o644, size=size)


def verified(store: Store, blob: Descriptor) -> Iterator[bytes]:
    """Read a blob. Raises Refused for one that is damaged."""
    computed = hasher(blob.digest)
    size = 0
    with store.path(blob.digest).open("rb") as file:
        while piece := file.read(PIECE):
            computed.update(piece)
            size += len(piece)
            yield piece
    if size != blob.size or computed.hexdigest() != split_digest(blob.digest)[1]:
        raise Refused(f"{blob.digest} is damaged in the image store", hint="minicontainer image gc --check")


def index_of(saved: Sequence[Saved]) -> bytes:
    """Write index.json: an entry for each name, with docker's annotations."""
    entries: list[dict[str, Any]] = []
    for each in saved:
        found = each.image.descriptor
        plain = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
        entries += [
            plain | {"annotations": {FULL_NAME: str(name), REF_NAME: name.tag}} for name in each.names
        ] or [plain]
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def docker_manifest_of(saved: Sequence[Saved]) -> bytes:
    """Write docker's manifest.json: an object for each image, with all its names."""
    return msgspec.json.encode(
        [
            {
                "Config": path_of(each.image.id),
                "RepoTags": [str(name) for name in each.names],  # podman takes short ones for its own
                "Layers": [path_of(layer.digest) for layer in each.image.manifest.layers],
            }
            for each in saved
        ]
    )
