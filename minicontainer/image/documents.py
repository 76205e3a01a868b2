"""Reading manifests, indexes and configurations that strangers wrote: bounded and checked.

    bytes -> JSON (depth, doubled keys: oci/json_text.py) -> kind -> type (oci/image.py) -> rules of the house

A document that two programs could read as two different things (a manifest that is also an index) is refused,
as is one that asks for more than an image can need.

Implements image-spec manifest.md, image-index.md, config.md; CVE-2021-41190 (documents of two kinds).
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from minicontainer.errors import SpecError, Unsupported
from minicontainer.oci.digest import split_digest
from minicontainer.oci.image import (
    DOCKER_CONFIG,
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA_1,
    INDEXES,
    MANIFESTS,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
)
from minicontainer.oci.json_text import loads
from minicontainer.trace.json_lines import dumps

MAX = 4 << 20  # bytes of one document; the registries and podman know the same bound
MOST_LAYERS = 500
MOST_IMAGES = 1000  # of one index
LISTS = ("layers", "manifests", "diff_ids")

OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"
LAYERS = {
    base + ending
    for base, endings in (
        (OCI_LAYER, ("", "+gzip", "+zstd")),
        (OCI_FOREIGN_LAYER, ("", "+gzip", "+zstd")),
        (DOCKER_LAYER, ("", ".gzip", ".zstd")),
        (DOCKER_FOREIGN_LAYER, ("", ".gzip", ".zstd")),
    )
    for ending in endings
}
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
AS_OCI = {
    DOCKER_MANIFEST: OCI_MANIFEST,
    DOCKER_CONFIG: OCI_CONFIG,
    **{
        theirs + (f".{packed}" if packed else ""): ours + (f"+{packed}" if packed else "")
        for theirs, ours in ((DOCKER_LAYER, OCI_LAYER), (DOCKER_FOREIGN_LAYER, OCI_FOREIGN_LAYER))
        for packed in ("", "gzip", "zstd")
    },
}

T = TypeVar("T")


def decode_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index; `media_type` is what its sender called it.

    Raises SpecError; Unsupported for schema 1.
    """
    document = _json_object(data, "manifest")
    if _kind(document, media_type) in INDEXES:
        index = _convert(document, Index, "index")
        _check_index(index)
        return index
    manifest = _convert(document, Manifest, "manifest")
    _check_manifest(manifest)
    return manifest


def decode_config(data: bytes, manifest: Manifest | None = None) -> ImageConfig:
    """Read an image's configuration, which must have as many layers as its manifest. Raises SpecError."""
    document = _json_object(data, "config")
    if isinstance(document.get("rootfs"), dict):
        _empty_lists(document["rootfs"])
    config = _convert(document, ImageConfig, "config")
    if config.rootfs.type != "layers":
        raise SpecError("config: rootfs.type", f"{config.rootfs.type[:40]!r}, and only 'layers' is known")
    for number, diff_id in enumerate(config.rootfs.diff_ids):
        _check_digest(diff_id, f"config: rootfs.diff_ids[{number}]")
    if not config.os or not config.architecture:
        raise SpecError("config: os" if not config.os else "config: architecture", "must not be empty")
    if manifest is not None:
        _match_layers(manifest, config)
    return config


def as_oci(data: bytes) -> bytes:
    """Rewrite the media types of a manifest: Docker's become the OCI's. Raises SpecError.

    What has none of them stays as it is, byte for byte.
    """
    decode_manifest(data)
    document = _json_object(data, "manifest")
    parts = [document, *document.get("layers", ())] + ([document["config"]] if "config" in document else [])
    changed = [_rename(part) for part in parts]
    return dumps(document).encode() if any(changed) else data


def _rename(part: dict[str, Any]) -> bool:
    new = AS_OCI.get(part.get("mediaType", ""))
    if new is not None:
        part["mediaType"] = new
    return new is not None


def require_image(manifest: Manifest) -> None:
    """Refuse what a registry also keeps but no container can be made from. Raises Unsupported."""
    if manifest.config.media_type not in CONFIGS:
        raise Unsupported(f"this is no container image but {manifest.config.media_type[:200]!r}")
    for number, layer in enumerate(manifest.layers):
        if layer.media_type not in LAYERS:
            raise Unsupported(
                f"layers[{number}] is of a type that we cannot unpack: {layer.media_type[:200]!r}"
            )


def _match_layers(manifest: Manifest, config: ImageConfig) -> None:
    there, named = len(manifest.layers), len(config.rootfs.diff_ids)
    if there != named:
        raise SpecError("config: rootfs.diff_ids", f"{named} are named, and the manifest has {there} layers")


def _json_object(data: bytes, name: str) -> dict[str, Any]:
    if len(data) > MAX:
        raise SpecError(name, f"larger than {MAX} bytes")
    try:
        document = loads(data)
    except SpecError as problem:
        raise SpecError(name, problem.problem) from None
    if not isinstance(document, dict):
        raise SpecError(name, "not a JSON object")
    _empty_lists(document)
    return document


def _empty_lists(document: dict[str, Any]) -> None:
    # Programs written in Go write an empty list as null.
    document.update({name: [] for name in LISTS if name in document and document[name] is None})


def _kind(document: dict[str, Any], media_type: str) -> str:
    """Find out what a document is, from what it says itself and from what it was called. Raises SpecError."""
    said = document.get("mediaType", "")
    if not isinstance(said, str):
        raise SpecError("manifest: mediaType", "not a string")
    version = document.get("schemaVersion")
    if said in DOCKER_SCHEMA_1 or media_type in DOCKER_SCHEMA_1 or (version == 1 and version is not True):
        raise Unsupported(
            "the manifest is of schema 1, which Docker gave up in 2019 and no longer reads either",
            hint="push the image again with a newer tool",
        )
    if type(version) is not int or version != 2:  # noqa: PLR2004
        raise SpecError("manifest: schemaVersion", f"{version!r:.40}, and only 2 is known")
    if said and media_type and said != media_type:
        raise SpecError("manifest: mediaType", f"{said[:200]!r}, but it was sent as {media_type[:200]!r}")
    return _check_kind(said or media_type or _shape(document), document)


def _shape(document: dict[str, Any]) -> str:
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def _check_kind(kind: str, document: dict[str, Any]) -> str:
    if kind not in (*MANIFESTS, *INDEXES):
        raise SpecError("manifest: mediaType", f"{kind[:200]!r} is neither a manifest nor an index")
    foreign = ("config", "layers", "fsLayers") if kind in INDEXES else ("manifests", "fsLayers")
    for name in foreign:
        if name in document:
            what = "an index" if kind in INDEXES else "a manifest"
            raise SpecError(f"manifest: {name}", f"{what} has no such member")
    return kind


def _convert(document: dict[str, Any], kind: type[T], name: str) -> T:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as problem:
        text, _, where = str(problem).partition(" - at `$")
        field = where.rstrip("`").lstrip(".")
        raise SpecError(f"{name}: {field}" if field else name, text.replace("`", "")) from None


def _check_manifest(manifest: Manifest) -> None:
    if len(manifest.layers) > MOST_LAYERS:
        raise SpecError(
            "manifest: layers", f"{len(manifest.layers)} of them; at most {MOST_LAYERS} are allowed"
        )
    _check_descriptor(manifest.config, "manifest: config", MAX)
    for number, layer in enumerate(manifest.layers):
        _check_descriptor(layer, f"manifest: layers[{number}]")
    if manifest.subject is not None:
        _check_descriptor(manifest.subject, "manifest: subject", MAX)


def _check_index(index: Index) -> None:
    if len(index.manifests) > MOST_IMAGES:
        raise SpecError(
            "index: manifests", f"{len(index.manifests)} of them; at most {MOST_IMAGES} are allowed"
        )
    for number, entry in enumerate(index.manifests):
        _check_descriptor(entry, f"index: manifests[{number}]", MAX)


def _check_descriptor(descriptor: Descriptor, path: str, most: int = 2**63 - 1) -> None:
    _check_digest(descriptor.digest, f"{path}.digest")
    if not 0 < descriptor.size <= most:
        raise SpecError(f"{path}.size", f"{descriptor.size}; it must be from 1 to {most}")


def _check_digest(digest: str, path: str) -> None:
    try:
        split_digest(digest)
    except SpecError as problem:
        raise SpecError(path, problem.problem) from None
