"""Pushing: blobs first, the manifest last, so that a registry never has a name for half an image.

A blob that the registry has is not sent; one that it has in another repository of ours is mounted from there.
What was pulled is pushed as it came, byte for byte, so that its digest stays what it was.

See distribution-spec "Push", "Mounting a blob from another repository".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from minicontainer.errors import NotFound
from minicontainer.image import reference as references
from minicontainer.image.documents import as_oci, decode_manifest
from minicontainer.image.progress import Nobody, Observer, Status
from minicontainer.image.reference import Reference
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.store.images import Image, load
from minicontainer.image.store.names import Named, names
from minicontainer.image.store.store import Store
from minicontainer.image.workers import work_through
from minicontainer.oci.digest import digest_of
from minicontainer.oci.image import DOCKER_FOREIGN_LAYER, OCI_MANIFEST, Descriptor, Manifest

MOST_SOURCES = 3  # repositories from which a blob is tried to be mounted


@dataclass(frozen=True, slots=True)
class Push:
    """One push at work."""

    store: Store
    client: RegistryClient
    named: Named
    reference: Reference  # where to
    observer: Observer

    def run(self) -> str:
        """Push; returns the digest of the manifest. Raises Error, RegistryError."""
        with self.store.hold():
            self._blobs(load(self.store, self.named))
            media_type, data = original(self.store, self.named)
            digest = digest_of(data)
            self.client.push_manifest(self.reference, media_type, data, self.reference.tag or digest)
            return digest

    def _blobs(self, image: Image) -> None:
        blobs = {blob.digest: blob for blob in (*image.manifest.layers, image.manifest.config)}
        wanted = [blob for blob in blobs.values() if self._is_pushed(blob)]
        sources = repositories(self.store, self.reference)

        def push(blob: Descriptor, observer: Observer) -> None:
            told = Nobody() if blob.digest == image.id else observer  # the configuration is no layer
            how = self._push(blob, sources.get(blob.digest, [])[:MOST_SOURCES], told)
            told.layer(blob.digest, how, blob.size, blob.size)

        for blob in wanted:
            if blob.digest != image.id:
                self.observer.layer(blob.digest, "waiting", 0, blob.size)
        work_through(wanted, push, self.observer, at_birth=self.client.reopen)

    def _is_pushed(self, blob: Descriptor) -> bool:
        """Tell whether a blob goes to the registry: not one that may only be fetched from its maker."""
        if self.store.has(blob.digest):
            return True
        if blob.media_type == DOCKER_FOREIGN_LAYER or "nondistributable" in blob.media_type:
            return False
        raise NotFound(
            f"{self.named.name}: the blob {blob.digest} is not in the store", hint="pull the image again"
        )

    def _push(self, blob: Descriptor, sources: list[str], observer: Observer) -> Status:
        """Bring one blob to the registry, in the cheapest way that works; says which."""
        if self.client.has_blob(self.reference, blob.digest):
            return "exists"
        if any(self.client.mount_blob(self.reference, blob.digest, source) for source in sources):
            return "mounted"
        self.client.push_blob(
            self.reference,
            blob,
            lambda offset: open_at(self.store.path(blob.digest), offset),
            lambda sent: observer.layer(blob.digest, "pushing", sent, blob.size),
        )
        return "done"


def open_at(path: Path, offset: int) -> BinaryIO:
    """Open a file for reading from an offset on."""
    file = path.open("rb")
    file.seek(offset)
    return file


def repositories(store: Store, target: Reference) -> dict[str, list[str]]:
    """Say for each blob in which other repositories of the target's registry it is, as far as we know."""
    found: dict[str, list[str]] = {}
    for name, named in names(store).items():
        other = references.parse(name)
        if other.domain == target.domain and other.path != target.path:
            manifest = load(store, named).manifest
            for blob in (*manifest.layers, manifest.config):
                found.setdefault(blob.digest, []).append(other.path)
    return found


def original(store: Store, named: Named) -> tuple[str, bytes]:
    """Give media type and bytes of an image's manifest as it was pulled; of one made here, as it is."""
    for digest in manifests_within(store, named.origin):
        data = read_document(store, digest)
        if digest_of(as_oci(data)) == named.descriptor.digest:
            return decode_manifest(data).media_type or OCI_MANIFEST, data
    return OCI_MANIFEST, store.read(named.descriptor)


def manifests_within(store: Store, origin: str) -> list[str]:
    """List the manifests in the store that a name's origin, a manifest or an index, stands for."""
    if not origin or not store.has(origin):
        return []
    document = decode_manifest(read_document(store, origin))
    if isinstance(document, Manifest):
        return [origin]
    return [entry.digest for entry in document.manifests if store.has(entry.digest)]


def read_document(store: Store, digest: str) -> bytes:
    """Read a manifest or an index of which only the digest is known."""
    size = store.path(digest).stat().st_size
    return store.read(Descriptor(media_type="", digest=digest, size=size))
