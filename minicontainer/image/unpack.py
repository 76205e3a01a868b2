"""Making the unpacked form of a layer, root/layers/HEX, while its blob streams by.

    layers/HEX/diff          the tree, as overlayfs wants it
    layers/HEX/layer.json    what was noted on the way

The directory has its name when the digest of all that came is the diff id, and not before.

See minicontainer/image/claim.py; image-spec config.md, "Layer DiffID".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minicontainer.errors import Error
from minicontainer.image.claim import claimed
from minicontainer.image.layer.compression import decompressor
from minicontainer.image.layer.extract import Extractor, LayerError
from minicontainer.image.layer.limits import Limits
from minicontainer.image.layer.pipeline import flow
from minicontainer.image.layer.record import Record
from minicontainer.image.progress import Observer
from minicontainer.image.store.images import Image
from minicontainer.image.store.ingest import NO_ROOM
from minicontainer.image.store.store import Store
from minicontainer.image.workers import work_through
from minicontainer.linux.namespaces import in_user_namespace
from minicontainer.oci.digest import hasher, split_digest
from minicontainer.oci.image import Descriptor, ImageConfig, Manifest

PIECE = 1 << 18  # bytes of a blob read at once


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of an image: its blob, and what the blob becomes."""

    blob: Descriptor
    diff_id: str


def layers_of(manifest: Manifest, config: ImageConfig) -> list[Layer]:
    """List the layers of an image, lowest first; one that it has twice stands here once."""
    pairs = zip(manifest.layers, config.rootfs.diff_ids, strict=True)
    return list({diff_id: Layer(blob, diff_id) for blob, diff_id in pairs}.values())


def unpack(store: Store, image: Image, observer: Observer, limits: Limits) -> None:
    """Make what is missing of an image's unpacked layers, from blobs. Raises Error, LayerError."""

    def make(layer: Layer, observer: Observer) -> None:
        unpack_layer(store, layer, read_blob(store, layer.blob, observer), limits)
        observer.layer(layer.blob.digest, "done", layer.blob.size, layer.blob.size)

    layers = layers_of(image.manifest, image.config)
    missing = [layer for layer in layers if not store.layer(layer.diff_id).exists()]
    work_through(missing, make, observer)


def read_blob(store: Store, blob: Descriptor, observer: Observer) -> Iterator[bytes]:
    """Read a blob of the store in pieces, and tell how far."""
    done = 0
    with store.path(blob.digest).open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
            done += len(piece)
            observer.layer(blob.digest, "extracting", done, blob.size)


def unpack_layer(store: Store, layer: Layer, pieces: Iterable[bytes], limits: Limits) -> None:
    """Make one layer's directory of its blob's pieces, all of which are taken. Raises Error, LayerError."""
    try:
        with claimed(store.layer(layer.diff_id)) as new:
            if new is None:
                for _ in pieces:  # whoever lets them pass wants them all the same
                    pass
            else:
                _fill(new, layer, pieces, limits)
    except LayerError as problem:
        if isinstance(problem.__cause__, OSError) and problem.__cause__.errno in NO_ROOM:
            problem.hint = f"there is no room left in {store.root}; minicontainer image prune may make some"
        raise
    except OSError as problem:
        raise Error(f"cannot unpack layer {layer.blob.digest}: {problem.strerror}") from problem


def _fill(new: Path, layer: Layer, pieces: Iterable[bytes], limits: Limits) -> None:
    tree = new / "diff"
    tree.mkdir(mode=0o755)
    computed = hasher(layer.diff_id)

    def unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
        return tar_of(layer, pieces, limits)

    def hashed(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            computed.update(piece)
            yield piece

    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with Extractor(root, layer.blob.digest, limits=limits, userxattr=in_user_namespace()) as extractor:
            for piece in flow(pieces, iter, unpacked, hashed):
                extractor.feed(piece)
            made = extractor.finish()
    finally:
        os.close(root)
    check_tar(layer, computed.hexdigest())
    Record(made.size, made.entries, made.implied).write(new)


def tar_of(layer: Layer, pieces: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """Decompress a layer's blob. Raises LayerError."""
    decompress = decompressor(limits, f"layer {layer.blob.digest}")
    for piece in pieces:
        yield from decompress.feed(piece)
    yield from decompress.finish()


def check_tar(layer: Layer, digits: str) -> None:
    """Compare a tar's digest with the one that the image names. Raises LayerError."""
    algorithm, named = split_digest(layer.diff_id)
    if digits != named:
        raise LayerError(
            f"layer {layer.blob.digest}: its tar has the digest {algorithm}:{digits}, "
            f"but the image's configuration says {layer.diff_id}"
        )
