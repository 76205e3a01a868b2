"""What may not be taken away: all that names and leases lead to, from descriptor to descriptor.

    index.json, leases --> index --> manifest --> configuration --> unpacked layers
                                              --> layers' blobs

What is missing leads nowhere, and that is no error: of an index we keep only one platform's image. What is
here and cannot be read is one: nobody knows then what it leads to, and nothing is taken away.

See minicontainer/image/store/gc.py, leases.py; image-spec config.md, "Layer ChainID".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from minicontainer.errors import Error
from minicontainer.image.chain import chain_id
from minicontainer.image.documents import CONFIGS, decode_config, decode_manifest
from minicontainer.image.store import leases
from minicontainer.image.store.names import Named, roots
from minicontainer.image.store.store import Store
from minicontainer.oci.image import INDEXES, MANIFESTS, Descriptor, Manifest

CHAIN = "chain-"  # begins the names of directories that belong to a chain of layers: image/chain.py


@dataclass(slots=True)
class Reach:
    """Digests of blobs, and names of directories below layers/."""

    blobs: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)


def reachable(store: Store, ignored: Collection[str] = ()) -> Reach:
    """Follow every lease, and every name but the `ignored`. Raises Error for what cannot be read."""
    reach = Reach()
    for named in roots(store):
        if not named.name or named.name not in ignored:
            follow(store, named, reach)
    for manifest, layers in leases.active(str(store.root)).values():
        _follow_unknown(store, manifest, reach)
        reach.layers |= directories(layers)
    return reach


def follow(store: Store, named: Named, reach: Reach) -> Reach:
    """Add what one image leads to. Raises Error for what is here and cannot be read."""
    try:
        _follow(store, named.descriptor, reach)
        _follow_unknown(store, named.origin, reach)
    except Error as problem:
        name = named.name or named.descriptor.digest
        raise Error(f"cannot tell what {name} uses: {problem}", f"minicontainer image rm {name}") from problem
    return reach


def _follow_unknown(store: Store, digest: str, reach: Reach) -> None:
    """Follow what is known by its digest alone: a manifest or an index, if it is here."""
    if digest and store.has(digest):
        size = store.path(digest).stat().st_size
        media_type = _media_type(store.read(Descriptor(media_type="", digest=digest, size=size)))
        _follow(store, Descriptor(media_type=media_type, digest=digest, size=size), reach)


def _media_type(data: bytes) -> str:
    return MANIFESTS[0] if isinstance(decode_manifest(data), Manifest) else INDEXES[0]


def _follow(store: Store, start: Descriptor, reach: Reach) -> None:
    waiting = [start]
    while waiting:
        descriptor = waiting.pop()
        if descriptor.digest not in reach.blobs:
            reach.blobs.add(descriptor.digest)
            if store.has(descriptor.digest):
                waiting += _next(store, descriptor, reach)


def _next(store: Store, descriptor: Descriptor, reach: Reach) -> Iterable[Descriptor]:
    """Give what a document leads to; a blob of any other kind leads nowhere."""
    if descriptor.media_type not in (*MANIFESTS, *INDEXES):
        return ()
    document = decode_manifest(store.read(descriptor))
    if not isinstance(document, Manifest):
        return document.manifests
    if document.config.media_type in CONFIGS and store.has(document.config.digest):
        reach.layers |= directories(decode_config(store.read(document.config)).rootfs.diff_ids)
    subject = (document.subject,) if document.subject is not None else ()
    return (document.config, *document.layers, *subject)


def directories(diff_ids: Sequence[str]) -> set[str]:
    """Name the directories below layers/ that an image with these layers, lowest first, may use."""
    layers = {diff_id.rpartition(":")[2] for diff_id in diff_ids}
    return layers | {CHAIN + chain_id(diff_ids)} if layers else set()
