"""Checking the whole store: every blob against its name, every image for all of its parts.

See minicontainer/image/store/store.py for what may be relied on; `image gc --check` prints what is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from minicontainer.errors import Error
from minicontainer.image.documents import CONFIGS, decode_config, decode_manifest
from minicontainer.image.store.names import roots
from minicontainer.image.store.store import LAYOUT, Store
from minicontainer.oci.digest import hasher, is_digest
from minicontainer.oci.image import INDEXES, MANIFESTS, Descriptor, Manifest
from minicontainer.oci.json_text import loads

PIECE = 1 << 20


def check(store: Store) -> list[str]:
    """Look for damage, and name all of it. Raises OSError if the store cannot be read at all."""
    return [*_check_layout(store), *_check_blobs(store), *_check_images(store), *_check_layers(store)]


def _check_layout(store: Store) -> Iterator[str]:
    path = store.images / "oci-layout"
    try:
        if loads(path.read_bytes()) != loads(LAYOUT):
            yield "oci-layout: not of version 1.0.0"
    except FileNotFoundError:
        yield "oci-layout: missing"
    except Error as problem:
        yield f"oci-layout: {problem}"


def _check_blobs(store: Store) -> Iterator[str]:
    for digest, path in store.blobs():
        if not path.is_file() or path.is_symlink():
            yield f"{digest}: not a file"
        elif digest_of_file(path, digest) != digest:
            yield f"{digest}: its content is another"


def digest_of_file(path: Path, like: str) -> str:
    """Compute the digest of a file, with the algorithm of the digest `like`."""
    computed = hasher(like)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            computed.update(piece)
    return f"{computed.name}:{computed.hexdigest()}"


def _check_images(store: Store) -> Iterator[str]:
    try:
        images = list(roots(store))
    except Error as problem:
        yield str(problem)
        return
    for named in images:
        name = named.name or named.descriptor.digest
        try:
            yield from (f"{name}: {problem}" for problem in _check_image(store, named.descriptor))
        except Error as problem:
            yield f"{name}: {problem}"


def _check_image(store: Store, start: Descriptor) -> Iterator[str]:
    """Check a manifest; behind an index, those of its images that are here. Raises Error."""
    waiting, seen = [start], set[str]()
    while waiting:
        descriptor = waiting.pop()
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        if descriptor.media_type not in (*MANIFESTS, *INDEXES):
            store.require(descriptor)
            continue
        document = decode_manifest(store.read(descriptor), descriptor.media_type)
        if isinstance(document, Manifest):
            yield from _check_parts(store, document)
        else:
            waiting += [entry for entry in document.manifests if store.has(entry.digest)]


def _check_parts(store: Store, manifest: Manifest) -> Iterator[str]:
    for part in (manifest.config, *manifest.layers):
        try:
            store.require(part)
        except Error as problem:
            yield str(problem)
    if manifest.config.media_type in CONFIGS:
        decode_config(store.read(manifest.config), manifest)


def _check_layers(store: Store) -> Iterator[str]:
    for path in sorted(store.layers.iterdir()):
        if is_digest(f"sha256:{path.name}"):
            for part in ("diff", "layer.json"):
                if not (path / part).exists():
                    yield f"layers/{path.name}: {part} is missing"
