"""Images that tests put into a store without unpacking them: layers of one file, and a configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from minicontainer.image.store.names import Named, set_name
from minicontainer.image.store.store import Store
from minicontainer.oci.image import OCI_MANIFEST, Descriptor
from tests.image.layouts import Document, Layout, file, layer

DAY = 86400


def ago(seconds: float) -> str:
    """Write the time that was so long ago, as images do."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f789Z")


def sample(words: Sequence[str] = ("one",), **config: Any) -> tuple[Layout, Document]:
    """Make an image with a layer for each word; `config` replaces members of its configuration."""
    layout = Layout()
    layers = [layer([file("word", word.encode())]) for word in words]
    return layout, layout.add_image(layers, config=lambda document: document.update(config))


def put(store: Store, *names: str, words: Sequence[str] = ("one",), **config: Any) -> Descriptor:
    """Put an image into a store, under all these names; gives its manifest's descriptor."""
    layout, manifest = sample(words, **config)
    with store.hold():
        for digest, data in layout.blobs.items():
            store.add(data, layout.types[digest])
        found = Descriptor(media_type=OCI_MANIFEST, digest=manifest["digest"], size=manifest["size"])
        for name in names:
            set_name(store, Named(name, found))
    return found


def image_id(store: Store, manifest: Descriptor) -> str:
    """Give the id of an image, the digest of its configuration."""
    found: str = json.loads(store.read(manifest))["config"]["digest"]
    return found
