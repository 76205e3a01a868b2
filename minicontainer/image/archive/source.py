"""An archive of images as a pull sees a registry: it names images, gives their manifests, and their blobs.

    oci-layout, index.json    blobs/sha256/HEX                  an OCI image layout, and docker since 25
    manifest.json             HEX.json, HEX.tar, ID/layer.tar   docker before, podman, skopeo; there are no
                                                                manifests, so we make them, always the same

Implements image-spec image-layout.md; github.com/moby/docker-image-spec v1.2.md, "Combined Image JSON".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec
from msgspec import Struct

from minicontainer.errors import NotFound, Refused, SpecError, Unsupported
from minicontainer.image import reference as references
from minicontainer.image.archive.contents import Content, Contents, read_whole
from minicontainer.image.documents import MAX, MOST_IMAGES, decode_config, decode_manifest
from minicontainer.image.layer.compression import kind_of
from minicontainer.image.reference import Reference
from minicontainer.image.store.names import REF_NAME
from minicontainer.oci.digest import digest_of, hasher, split_digest
from minicontainer.oci.image import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
)
from minicontainer.oci.json_text import loads

# Where docker and containerd write the whole name; as REF_NAME they write the tag alone.
FULL_NAME = "io.containerd.image.name"
NAMELESS = Reference("localhost", "loaded")  # and the digest: the name of what was saved by its id


class DockerImage(Struct, frozen=True, kw_only=True, rename="pascal"):
    """One image in docker's manifest.json: the names of its files, and its own."""

    config: str
    layers: tuple[str, ...]  # the lowest first
    repo_tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A document that is not a file of the archive."""

    data: bytes

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.data)

    def pieces(self, offset: int = 0) -> Iterator[bytes]:
        """Give it from an offset on."""
        yield self.data[offset:]


class ArchiveSource:
    """The images of one archive; `images` says under which names they are to be taken in."""

    def __init__(self, contents: Contents) -> None:
        """Read what the archive says it holds. Raises SpecError, NotFound, Unsupported."""
        self._contents = contents
        self._blobs: dict[str, Content] = {}  # those that no file below blobs/ has
        self._hashed: dict[Content, str] = {}  # digests of compressed layers, each computed once
        self.images: dict[Reference, Descriptor] = {}
        if contents.find("oci-layout") and contents.find("index.json"):
            self._read_layout()
        elif contents.find("manifest.json"):
            self._read_docker()
        elif contents.find("repositories"):
            raise Unsupported(
                "the archive is of a docker before 1.10", "save the image again with a newer one"
            )
        else:
            raise SpecError("", "the archive has neither index.json nor manifest.json: it holds no images")

    # --- what a pull asks ---

    def resolve(self, reference: Reference, /) -> Descriptor:
        """Say what a name stands for."""
        return self.images[reference]

    def manifest(self, _reference: Reference, digest: str, /) -> tuple[Descriptor, bytes]:
        """Give a manifest or an index. Raises NotFound."""
        data = read_whole(self._blob(digest), digest, MAX)
        check(data, digest)
        document = decode_manifest(data)
        usual = OCI_INDEX if isinstance(document, Index) else OCI_MANIFEST
        return Descriptor(media_type=document.media_type or usual, digest=digest, size=len(data)), data

    def blob(self, _reference: Reference, wanted: Descriptor, offset: int, /) -> Iterator[bytes]:
        """Give a blob from an offset on. Raises NotFound."""
        return self._blob(wanted.digest).pieces(offset)

    def reopen(self) -> None:
        """Nothing is shared that a fork would harm: everything is read by its offset."""

    def _blob(self, digest: str) -> Content:
        found = self._blobs.get(digest) or self._contents.find("/".join(("blobs", *split_digest(digest))))
        if found is None:
            raise NotFound(f"{digest} is not in the archive", hint="is it for another --platform?")
        return found

    # --- an OCI layout ---

    def _read_layout(self) -> None:
        try:
            index = decode_manifest(self._file("index.json"), OCI_INDEX)
        except SpecError as problem:
            field = problem.path.partition(": ")[2]
            raise SpecError(f"index.json: {field}" if field else "index.json", problem.problem) from None
        for entry in index.manifests if isinstance(index, Index) else ():
            self.images[name_of(entry)] = entry
        if not self.images:
            raise SpecError("index.json", "it names no image")

    # --- docker's manifest.json ---

    def _read_docker(self) -> None:
        try:
            images = msgspec.convert(loads(self._file("manifest.json")), tuple[DockerImage, ...])
        except (msgspec.ValidationError, SpecError) as problem:
            raise SpecError("manifest.json", str(problem)) from None
        if len(images) > MOST_IMAGES:
            raise SpecError("manifest.json", f"{len(images)} images; at most {MOST_IMAGES} are allowed")
        for image in images:
            manifest = self._make_manifest(image)
            for tag in image.repo_tags or ():
                self.images[references.parse(tag).with_default_tag()] = manifest
            if not image.repo_tags:
                self.images[replace(NAMELESS, digest=manifest.digest)] = manifest

    def _make_manifest(self, image: DockerImage) -> Descriptor:
        """Make the manifest that docker leaves out: layers are kept as they are, compressed or not."""
        config = self._file(image.config)
        diff_ids = decode_config(config).rootfs.diff_ids
        if len(diff_ids) != len(image.layers):
            raise SpecError(
                f"manifest.json: {image.config}",
                f"it names {len(diff_ids)} layers, and {len(image.layers)} files are given for them",
            )
        layers = tuple(self._layer(*each) for each in zip(image.layers, diff_ids, strict=True))
        made = Manifest(
            schema_version=2,
            media_type=OCI_MANIFEST,
            config=self._keep(config, OCI_CONFIG),
            layers=layers,
        )
        return self._keep(msgspec.json.encode(made), OCI_MANIFEST)

    def _layer(self, name: str, diff_id: str) -> Descriptor:
        """Describe a layer's file. The digest of a plain tar is the diff id: whoever reads it will see."""
        file = self._find(name)
        kind = kind_of(next(file.pieces(), b""))
        if kind and file not in self._hashed:
            self._hashed[file] = digest_of_pieces(file.pieces())
        digest = self._hashed[file] if kind else diff_id
        self._blobs[digest] = file
        return Descriptor(
            media_type=f"{OCI_LAYER}+{kind}" if kind else OCI_LAYER, digest=digest, size=file.size
        )

    def _keep(self, data: bytes, media_type: str) -> Descriptor:
        made = Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))
        self._blobs[made.digest] = Made(data)
        return made

    # --- files ---

    def _file(self, name: str) -> bytes:
        return read_whole(self._find(name), name, MAX)

    def _find(self, name: str) -> Content:
        found = self._contents.find(name)
        if found is None:
            raise NotFound(f"{name[:200]!r} is not in the archive")
        return found


def name_of(entry: Descriptor) -> Reference:
    """Read the name that an entry of index.json has; one that docker could not say is as good as none."""
    annotations = entry.annotations or {}
    try:
        return references.parse(
            annotations.get(FULL_NAME) or annotations.get(REF_NAME, "")
        ).with_default_tag()
    except SpecError:
        return replace(NAMELESS, digest=entry.digest)


def digest_of_pieces(pieces: Iterator[bytes]) -> str:
    """Name content by its SHA-256."""
    computed = hashlib.sha256()
    for piece in pieces:
        computed.update(piece)
    return f"sha256:{computed.hexdigest()}"


def check(data: bytes, digest: str) -> None:
    """Compare a document with its digest. Raises Refused."""
    computed = hasher(digest)
    computed.update(data)
    if computed.hexdigest() != split_digest(digest)[1]:
        raise Refused(
            f"{digest}: what is in the archive has the digest {computed.name}:{computed.hexdigest()}"
        )
