r"""Assembling an image: tar files and a configuration become blobs, a manifest and a name in the store.

    tar --gzip--> blob, diff id, how it was made  \
                                                   > configuration --> manifest --> name
    Env, Cmd, ...                                 /

Nothing of it depends on when and where it is done: times are what the caller says. So the same tar files
always give the same digests, as long as the compressor stays the same; the diff ids do not even need that.

Implements image-spec manifest.md, config.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from minicontainer.image import platform
from minicontainer.image.layer.compression import compressor
from minicontainer.image.store.images import Image
from minicontainer.image.store.names import Named, set_name
from minicontainer.image.store.store import Store
from minicontainer.oci.image import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    ContainerConfig,
    Descriptor,
    HistoryEntry,
    ImageConfig,
    Manifest,
    RootFs,
)

PIECE = 1 << 18  # bytes read at once


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer whose blob is in the store, and what the history says of it."""

    blob: Descriptor
    diff_id: str
    history: HistoryEntry


def add_layer(store: Store, tar: Path, history: HistoryEntry) -> Layer:
    """Compress a tar file into the store; a file beside it is made meanwhile. Raises Error."""
    packed = tar.with_name(f"{tar.name}.gz")
    diff_id, digest = hashlib.sha256(), hashlib.sha256()
    compress = compressor("gzip")
    with packed.open("wb") as target:

        def write(piece: bytes) -> None:
            digest.update(piece)
            target.write(piece)

        for piece in pieces(tar):
            diff_id.update(piece)
            write(compress.feed(piece))
        write(compress.finish())
    blob = Descriptor(
        media_type=f"{OCI_LAYER}+gzip", digest=f"sha256:{digest.hexdigest()}", size=packed.stat().st_size
    )
    add_blob(store, blob, packed)
    packed.unlink()
    return Layer(blob, f"sha256:{diff_id.hexdigest()}", history)


def add_blob(store: Store, blob: Descriptor, path: Path) -> None:
    """Bring a file of known digest into the store. Raises Error."""
    with store.ingest(blob.digest, blob.size) as ingest:
        for piece in pieces(path, ingest.offset):
            ingest.write(piece)
        ingest.commit()


def pieces(path: Path, offset: int = 0) -> Iterator[bytes]:
    """Read a file from an offset on."""
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(PIECE):
            yield piece


def layers_of(image: Image) -> list[Layer]:
    """Take an image's layers to build on, with what its history says of each."""
    entries = [entry for entry in image.config.history or () if not entry.empty_layer]
    entries += [HistoryEntry()] * (len(image.manifest.layers) - len(entries))  # a history is optional
    triples = zip(image.manifest.layers, image.diff_ids, entries, strict=True)
    return [Layer(blob, diff_id, entry) for blob, diff_id, entry in triples]


def assemble(
    store: Store, name: str, layers: Sequence[Layer], config: ContainerConfig, created: str
) -> Named:
    """Make an image for this machine of layers, lowest first, and name it. Returns the name. Raises Error.

    `created` is a time as in RFC 3339. To be called while the store is held.
    """
    machine = platform.host()
    document = ImageConfig(
        created=created,
        architecture=machine.architecture,
        variant=machine.variant or None,
        os=machine.os,
        config=config,
        rootfs=RootFs(type="layers", diff_ids=tuple(layer.diff_id for layer in layers)),
        history=tuple(layer.history for layer in layers),
    )
    manifest = Manifest(
        schema_version=2,
        media_type=OCI_MANIFEST,
        config=store.add(encode(document), OCI_CONFIG),
        layers=tuple(layer.blob for layer in layers),
    )
    named = Named(name, store.add(encode(manifest), OCI_MANIFEST))
    set_name(store, named)
    return named


def encode(document: ImageConfig | Manifest) -> bytes:
    """Write a document; the members of its objects are sorted, as they come from anywhere."""
    return msgspec.json.encode(document, order="deterministic")
