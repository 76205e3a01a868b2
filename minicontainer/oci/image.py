"""The image specification's documents as types: descriptor, manifest, index, configuration.

    index --manifests--> manifest --config--> configuration (Env, Cmd, ... and rootfs.diff_ids)
                                  --layers--> blobs: tar files, mostly compressed

Docker's documents, from which these were made, fit the same types: only their media types differ. Members
that are not known here are ignored; who passes a document on passes its bytes on, never these types.

Implements image-spec descriptor.md, manifest.md, image-index.md, config.md, and what Docker's image manifest
v2 schema 2 has of the same.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)

Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Strings = dict[str, str] | None


class Platform(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What machine an image is for, in Go's words: linux, amd64."""

    architecture: str
    os: str
    os_version: str = field(default="", name="os.version")
    os_features: tuple[str, ...] | None = field(default=None, name="os.features")
    variant: str = ""


class Descriptor(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What one document says of another piece of content: its type, digest and size in bytes."""

    media_type: str
    digest: str
    size: Size
    urls: tuple[str, ...] | None = None
    annotations: Strings = None
    data: str | None = None
    artifact_type: str = ""
    platform: Platform | None = None


class Manifest(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One image for one platform."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: Strings = None


class Index(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Several images under one name, as for several platforms; index.json of an image layout is one, too."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: Strings = None


class Healthcheck(Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """How Docker finds out whether a container is well; durations are in nanoseconds."""

    test: tuple[str, ...] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """What a container made from the image begins with (`config` of the configuration)."""

    user: str | None = None
    exposed_ports: dict[str, Any] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str | None = None
    labels: Strings = None
    stop_signal: str | None = None
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] | None = None
    on_build: tuple[str, ...] | None = None


class RootFs(Struct, frozen=True, kw_only=True):
    """The layers, lowest first, by the digests of their uncompressed tar files."""

    type: str
    diff_ids: tuple[str, ...]


class HistoryEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one layer was made; `empty_layer` when the step made none."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool = False


class ImageConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image's configuration. Its digest is what docker calls the image's id."""

    created: str | None = None
    author: str | None = None
    architecture: str
    os: str
    os_version: str | None = field(default=None, name="os.version")
    os_features: tuple[str, ...] | None = field(default=None, name="os.features")
    variant: str | None = None
    config: ContainerConfig | None = None
    rootfs: RootFs
    history: tuple[HistoryEntry, ...] | None = None
