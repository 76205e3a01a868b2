"""What the tests put into a store: small images, each of layers with one file, and their unpacked layers.

    image = add_image(store, "one", "two")      two layers, whose blobs follow from the words
    set_name(store, Named("web", image.manifest))

See tests/image/layouts.py for images that are wrong.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import msgspec

from minicontainer.image.store.names import Named, set_name
from minicontainer.image.store.store import Store
from minicontainer.oci.image import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor
from tests.image.layouts import Layer, file, layer, plain


@dataclass(frozen=True)
class Added:
    """The parts of an image that a test asks about."""

    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]

    @property
    def blobs(self) -> set[str]:
        """Name all of its blobs."""
        return {part.digest for part in (self.manifest, self.config, *self.layers)}


def layer_of(word: str) -> Layer:
    """Make the layer that holds one file with this content."""
    return layer([file("word", word.encode())], plain)


def add_layer(store: Store, word: str) -> Descriptor:
    """Bring a layer's blob in, as a pull does."""
    made = layer_of(word)
    with store.ingest(made.diff_id, len(made.blob)) as ingest:
        ingest.write(made.blob[ingest.offset :])
        ingest.commit()
    return Descriptor(media_type=OCI_LAYER, digest=made.diff_id, size=len(made.blob))


def add_image(store: Store, *words: str, media_type: str = OCI_MANIFEST) -> Added:
    """Bring in an image whose layers follow from the words; it has no name yet."""
    layers = tuple(add_layer(store, word) for word in words)
    diff_ids = tuple(layer_of(word).diff_id for word in words)
    config = add_json(
        store,
        OCI_CONFIG,
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}},
    )
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers}
    return Added(add_json(store, media_type, manifest), config, layers, diff_ids)


def add_json(store: Store, media_type: str, document: dict[str, object]) -> Descriptor:
    """Bring in a document."""
    return store.add(json.dumps(msgspec.to_builtins(document)).encode(), media_type)


def add_named(store: Store, name: str, *words: str) -> Added:
    """Bring in an image under a name, as a pull does."""
    with store.hold():
        image = add_image(store, *words)
        set_name(store, Named(name, image.manifest))
    return image


def unpack(store: Store, image: Added) -> None:
    """Make the unpacked layers, empty ones; each is there whole or not at all."""
    for diff_id in image.diff_ids:
        if not store.layer(diff_id).exists():
            new = store.layers / f".new-{os.getpid()}"
            (new / "diff").mkdir(parents=True)
            (new / "layer.json").write_text("{}")
            new.rename(store.layer(diff_id))


def blobs(store: Store) -> set[str]:
    """List the blobs that the store has."""
    return {digest for digest, _ in store.blobs()}


def layers(store: Store) -> set[str]:
    """List what lies in the directory of unpacked layers."""
    return {path.name for path in store.layers.iterdir()}


def begun(store: Store) -> list[str]:
    """List what is not whole."""
    return sorted(path.name for path in store.ingests.iterdir())
