"""The peers as the tests use them: each brings an image to a registry, and says which digest it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.image.trees import Tree, read_tree
from tests.peers.engines import Docker, Engine, Podman
from tests.registries import Mode, Registry

# What the tests of this folder require: the fixture `tools` starts all of them.
PEERS = ("root", *(f"peer:{name}" for name in ("docker-registry", "skopeo", "umoci", "podman", "dockerd")))


@dataclass(frozen=True, slots=True)
class Tools:
    """Real tools that share a room, and a folder for what they need in between."""

    folder: Path
    skopeo: Engine
    umoci: Engine
    podman: Podman
    docker: Docker

    def digest(self, registry: Registry, reference: str) -> str:
        """Ask skopeo for the digest of what a registry serves under a name."""
        words = ("inspect", "--no-tags", "--format", "{{.Digest}}", *trust(registry))
        return self.skopeo.succeed(*words, f"docker://{reference}")

    def podman_digest(self, registry: Registry, reference: str) -> str:
        """Pull with podman, and give the digest that it has found."""
        self.podman.succeed("pull", "--quiet", *trust(registry), reference)
        return self.podman.succeed("image", "inspect", "--format", "{{.Digest}}", reference)

    def docker_digest(self, registry: Registry, reference: str) -> str:
        """Pull with docker, and give the digest that it has found."""
        self.docker.succeed(*login(registry), "pull", "--quiet", reference)
        found = self.docker.succeed("image", "inspect", "--format", '{{join .RepoDigests " "}}', reference)
        name = reference.rpartition(":")[0]
        return next(each for each in found.split() if each.startswith(f"{name}@")).partition("@")[2]

    def podman_tree(self, name: str) -> Tree:
        """Read the tree of an image as podman mounts it."""
        place = self.podman.succeed("image", "mount", name)
        try:
            return read_tree(self.podman.room.seen(place))
        finally:
            self.podman.succeed("image", "unmount", name)


def trust(registry: Registry, prefix: str = "") -> list[str]:
    """Give skopeo's and podman's options for a registry; `prefix` is "dest-" where skopeo asks for which."""
    verify = "true" if registry.mode is Mode.TLS else "false"
    words = [f"--{prefix}tls-verify={verify}", f"--{prefix}cert-dir={registry.certificates}"]
    return [*words, f"--authfile={registry.auth_file}"]


def login(registry: Registry) -> list[str]:
    """Give docker's option for the password."""
    return ["--config", str(registry.auth_file.parent)]


# --- how a layout's image `sample` comes to a registry -----------------------------------------------

Publish = Callable[[Tools, Registry, Path, str], None]


def by_skopeo(*flags: str) -> Publish:
    """Let skopeo copy, with some flags."""

    def publish(tools: Tools, registry: Registry, layout: Path, reference: str) -> None:
        words = ("copy", "--quiet", *flags, *trust(registry, "dest-"))
        tools.skopeo.succeed(*words, f"oci:{layout}:sample", f"docker://{reference}")

    return publish


def by_podman(*flags: str) -> Publish:
    """Let podman take the image into its storage, and push it with some flags."""

    def publish(tools: Tools, registry: Registry, layout: Path, reference: str) -> None:
        image = tools.podman.succeed("pull", "--quiet", f"oci:{layout}:sample").splitlines()[-1]
        tools.podman.succeed("push", "--quiet", *flags, *trust(registry), image, reference)

    return publish


def by_docker(tools: Tools, registry: Registry, layout: Path, reference: str) -> None:
    """Let docker load the image, and push it."""
    archive = tools.folder / "docker.tar"
    tools.skopeo.succeed("copy", "--quiet", f"oci:{layout}:sample", f"docker-archive:{archive}:{reference}")
    tools.docker.succeed("load", "--quiet", "--input", archive)
    archive.unlink()
    tools.docker.succeed(*login(registry), "push", "--quiet", reference)


ZSTD = ("--dest-compress-format=zstd", "--dest-force-compress-format")
BY_SKOPEO = by_skopeo()
PUBLISHERS: dict[str, Publish] = {
    "skopeo, OCI": BY_SKOPEO,
    "skopeo, schema 2": by_skopeo("--format=v2s2"),
    "skopeo, zstd": by_skopeo(*ZSTD),
    "podman, OCI": by_podman(),
    "podman, schema 2": by_podman("--format=v2s2"),
    "podman, zstd": by_podman("--compression-format=zstd", "--force-compression"),
    "docker": by_docker,
}
LIST_PUBLISHERS: dict[str, Publish] = {
    "OCI": by_skopeo("--all"),
    "schema 2": by_skopeo("--all", "--format=v2s2"),
    "zstd": by_skopeo("--all", *ZSTD),
}
