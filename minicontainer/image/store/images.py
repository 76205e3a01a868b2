"""An image of the store, read: its name, its manifest, its configuration.

See minicontainer/oci/image.py for the documents, names.py for the way to a name.
"""

from __future__ import annotations

from dataclasses import dataclass

from minicontainer.errors import SpecError
from minicontainer.image.documents import decode_config, decode_manifest, require_image
from minicontainer.image.platform import choose, host
from minicontainer.image.store.names import Named
from minicontainer.image.store.store import Store
from minicontainer.oci.image import Descriptor, ImageConfig, Manifest, Platform

DEEPEST = 4  # indexes within indexes


@dataclass(frozen=True, slots=True)
class Image:
    """An image whose documents were read and verified; whether its layers are there was not asked."""

    named: Named
    descriptor: Descriptor  # of the manifest; the name may stand for an index that has it
    manifest: Manifest
    config: ImageConfig

    @property
    def id(self) -> str:
        """What docker calls the image's id: the digest of its configuration."""
        return self.manifest.config.digest

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers, lowest first, as their unpacked form is named."""
        return self.config.rootfs.diff_ids


def load(store: Store, named: Named, platform: Platform | None = None) -> Image:
    """Read an image; of an index, the image for `platform` (this machine's). Raises Error and its kinds."""
    descriptor = named.descriptor
    for _ in range(DEEPEST):
        document = decode_manifest(store.read(descriptor), descriptor.media_type)
        if isinstance(document, Manifest):
            require_image(document)
            config = decode_config(store.read(document.config), document)
            return Image(named, descriptor, document, config)
        descriptor = choose(document, platform or host())
    raise SpecError("index: manifests", f"indexes within indexes, more than {DEEPEST} deep")
