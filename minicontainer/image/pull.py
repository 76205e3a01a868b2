"""Pulling: from a name to an image in the store, whose layers are unpacked when the pull ends.

    resolve --> manifest (of an index: the one for the platform) --> configuration
            --> layers, in workers: network -> sha256 + blob -> decompression -> sha256 -> files
            --> the name, last of all: nobody ever sees half of an image

What is in the store already is not fetched again: a second pull asks one question. What a cut connection left
is gone on with. What came and is wrong is removed, with all that came for its sake.

See distribution-spec "Pull".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from minicontainer.errors import Error, Refused
from minicontainer.image import platform as platforms
from minicontainer.image.documents import as_oci, decode_config, decode_manifest, require_image
from minicontainer.image.layer.limits import Limits
from minicontainer.image.progress import Nobody, Observer
from minicontainer.image.reference import Reference
from minicontainer.image.registry.errors import ContentError, Missing, RegistryError, UnsafeError
from minicontainer.image.store import gc
from minicontainer.image.store.names import Named, names, set_name
from minicontainer.image.store.store import Store
from minicontainer.image.unpack import Layer, layers_of, read_blob, unpack_layer
from minicontainer.image.workers import work_through
from minicontainer.oci.image import OCI_MANIFEST, Descriptor, ImageConfig, Index, Manifest, Platform

WRONG = (ContentError, Missing, UnsafeError)  # what a registry has done; no later try would be better


class Source(Protocol):
    """Where an image comes from: the registries, or an archive."""

    def resolve(self, reference: Reference, /) -> Descriptor:
        """Say what a reference stands for now."""

    def manifest(self, reference: Reference, digest: str, /) -> tuple[Descriptor, bytes]:
        """Give a manifest or an index."""

    def blob(self, reference: Reference, wanted: Descriptor, offset: int, /) -> Iterator[bytes]:
        """Give a blob from an offset on."""

    def reopen(self) -> None:
        """Forget what a child must not share with its parent after fork(2)."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull has come to."""

    name: str  # in the store
    digest: str  # of what the registry serves under the name: an image, or an index of images
    changed: bool


@dataclass(slots=True)
class Pull:
    """One pull at work."""

    store: Store
    client: Source
    reference: Reference
    platform: Platform
    observer: Observer
    limits: Limits = field(default_factory=Limits)
    asked_for: list[str] = field(default_factory=list)  # what was not in the store: blobs and layers

    def run(self) -> Pulled:
        """Pull. Raises Error; then what was fetched is gone, unless a later pull may go on with it."""
        try:
            with self.store.hold():
                return self._fetch()
        except Error as problem:
            if not isinstance(problem, RegistryError) or isinstance(problem, WRONG):
                gc.discard(self.store, self.asked_for)
            raise

    def _fetch(self) -> Pulled:
        served = self.client.resolve(self.reference)
        data, manifest = self._manifest(served)
        require_image(manifest)
        config = decode_config(self._small(manifest.config), manifest)
        self._tell_of_another_platform(config)
        self._layers(layers_of(manifest, config))
        name = self.reference.stored_name()
        made = self.store.add(as_oci(data), OCI_MANIFEST)
        named = Named(name, made, served.digest if served.digest != made.digest else "")
        changed = names(self.store).get(name) != named
        if changed:
            set_name(self.store, named)
        return Pulled(name, served.digest, changed)

    def _manifest(self, served: Descriptor) -> tuple[bytes, Manifest]:
        """Fetch the manifest of the image; of several images, of the one for the platform."""
        data = self._document(served)
        document = decode_manifest(data, served.media_type)
        if isinstance(document, Index):
            chosen = platforms.choose(document, self.platform)
            data = self._document(chosen)
            document = decode_manifest(data, chosen.media_type)
        if isinstance(document, Index):
            raise Error(f"{self.reference}: an index within an index is not an image")
        return data, document

    def _document(self, wanted: Descriptor) -> bytes:
        if self.store.has(wanted.digest):
            return self.store.read(wanted)
        self.asked_for.append(wanted.digest)
        descriptor, data = self.client.manifest(self.reference, wanted.digest)
        if len(data) != wanted.size:
            raise Refused(
                f"{wanted.digest} has {len(data)} bytes, and not {wanted.size}, as its descriptor says"
            )
        self.store.add(data, descriptor.media_type)
        return data

    def _small(self, wanted: Descriptor) -> bytes:
        """Fetch a blob that is read at once: the configuration."""
        if not self.store.has(wanted.digest):
            self.asked_for.append(wanted.digest)
            for _ in self._blob(wanted, Nobody()):
                pass
        return self.store.read(wanted)

    def _tell_of_another_platform(self, config: ImageConfig) -> None:
        if not platforms.fits(config, self.platform):
            there, wanted = platforms.text(platforms.of(config)), platforms.text(self.platform)
            self.observer.line(f"WARNING: the image is for {there}, and not for {wanted}")

    def _layers(self, layers: list[Layer]) -> None:
        """Fetch and unpack what is not there, the largest first: then no worker is left alone with it."""
        missing = []
        for layer in layers:
            there = self.store.has(layer.blob.digest, layer.blob.size)
            if not there:
                self.asked_for.append(layer.blob.digest)
            if not self.store.layer(layer.diff_id).exists():
                self.asked_for.append(layer.diff_id)
                there = False
            self.observer.layer(layer.blob.digest, "exists" if there else "waiting", 0, layer.blob.size)
            if not there:
                missing.append(layer)
        missing.sort(key=lambda layer: layer.blob.size, reverse=True)
        work_through(missing, self._layer, self.observer, at_birth=self.client.reopen)

    def _layer(self, layer: Layer, observer: Observer) -> None:
        if self.store.has(layer.blob.digest):
            pieces = read_blob(self.store, layer.blob, observer)
        else:
            pieces = self._blob(layer.blob, observer)
        unpack_layer(self.store, layer, pieces, self.limits)
        observer.layer(layer.blob.digest, "done", layer.blob.size, layer.blob.size)

    def _blob(self, wanted: Descriptor, observer: Observer) -> Iterator[bytes]:
        """Yield a blob's bytes as they come, and have it in the store at the end."""
        with self.store.ingest(wanted.digest, wanted.size) as ingest:
            yield from ingest.kept()
            done = ingest.offset
            if done < wanted.size:
                for piece in self.client.blob(self.reference, wanted, done):
                    ingest.write(piece)
                    done += len(piece)
                    observer.layer(wanted.digest, "downloading", done, wanted.size)
                    yield piece
            ingest.commit()
