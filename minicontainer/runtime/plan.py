"""What the container's first process is going to do, decided before it exists.

All reading and judging of config.json happens here, in the parent and on the host's side. The child gets a
plan of plain values: once it is inside, nothing may be imported or looked up any more.

Implements runtime-spec, config.md and config-linux.md.
"""

from __future__ import annotations

import posix

from minicontainer.errors import SpecError
from minicontainer.linux import mounts as m
from minicontainer.linux.namespaces import CLONE_NEWCGROUP, KINDS
from minicontainer.linux.paths import S_IFDIR, S_IFMT
from minicontainer.runtime.mount_options import PROPAGATION, MountOptions, parse_mount_options
from minicontainer.runtime.process_plan import ProcessPlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class MountPlan:
    """One entry of `mounts`: where, what, how.

    `source_fd` is the parent's copy of the source, or a tmpfs that is yet to become read-only; else -1.
    """

    __slots__ = ("destination", "gid_mappings", "kind", "options", "source", "source_fd", "uid_mappings")

    def __init__(self, entry: dict[str, Any], bundle: str) -> None:
        self.destination: str = entry["destination"]
        self.options: MountOptions = parse_mount_options(entry.get("options") or [])
        self.kind: str = entry.get("type") or ""
        if self.kind in ("bind", "rbind") or not self.kind:
            self.options.bind = self.options.bind or self.kind != "" or bool(entry.get("source"))
            self.options.recursive = self.options.recursive or self.kind == "rbind"
        self.source: str = entry.get("source") or self.kind
        if self.options.bind and self.source[:1] != "/":
            self.source = f"{bundle}/{self.source}"
        self.uid_mappings = entry.get("uidMappings") or []
        self.gid_mappings = entry.get("gidMappings") or []
        self.source_fd = -1


class NamespacePlan:
    """Which namespaces are made, which are joined (by path), and what a new user namespace maps."""

    __slots__ = ("gid_mappings", "joined", "new", "time_offsets", "uid_mappings")

    def __init__(self, linux: dict[str, Any]) -> None:
        self.new = 0
        self.joined: list[tuple[str, str]] = []
        for namespace in linux.get("namespaces") or []:
            kind, path = namespace["type"], namespace.get("path")
            if path:
                self.joined.append((kind, path))
            else:
                self.new |= KINDS[kind][0]
        self.uid_mappings: list[dict[str, int]] = linux.get("uidMappings") or []
        self.gid_mappings: list[dict[str, int]] = linux.get("gidMappings") or []
        self.time_offsets: dict[str, dict[str, int]] = linux.get("timeOffsets") or {}

    def has(self, kind: str) -> bool:
        """Tell whether the container has a namespace of this kind that is not the host's."""
        return bool(self.new & KINDS[kind][0]) or any(joined == kind for joined, _ in self.joined)

    def makes(self, kind: str) -> bool:
        """Tell whether a new namespace of this kind is made."""
        return bool(self.new & KINDS[kind][0])

    @property
    def staged(self) -> bool:
        """Tell whether a process in between must join before it makes, or set clocks before it enters.

        Who has joined a PID namespace for its children needs rights over its own to come back, and without
        root it has none: that is left to a process that does not come back.
        """
        kinds = [kind for kind, _ in self.joined]
        joins = "user" in kinds or "pid" in kinds or (kinds and self.makes("user"))
        return bool(joins or self.time_offsets)

    @property
    def at_clone(self) -> int:
        """The flags for clone3; a cgroup namespace is made later, when the process is in its cgroup."""
        return self.new & ~CLONE_NEWCGROUP


class InitPlan:
    """Everything that the container's first process needs to know."""

    __slots__ = (
        "annotations",
        "cgroup_path",
        "container_id",
        "devices",
        "domainname",
        "hooks",
        "hostname",
        "masked_paths",
        "memory_policy",
        "mount_label",
        "mounts",
        "namespaces",
        "new_keyring",
        "no_pivot",
        "personality",
        "preserve_fds",
        "process",
        "readonly_paths",
        "root_propagation",
        "root_readonly",
        "rootfs",
        "sysctl",
        "systemd_cgroup",
    )

    def __init__(self, config: dict[str, Any], bundle: str, container_id: str) -> None:
        linux = config.get("linux") or {}
        self.container_id = container_id
        self.rootfs = resolve_rootfs(config, bundle)
        self.root_readonly = bool((config.get("root") or {}).get("readonly"))
        self.namespaces = NamespacePlan(linux)
        self.mounts = [MountPlan(entry, bundle) for entry in config.get("mounts") or []]
        self.process = ProcessPlan(config.get("process") or {})
        self.hooks: dict[str, Any] = config.get("hooks") or {}
        self.hostname: str = config.get("hostname") or ""
        self.domainname: str = config.get("domainname") or ""
        self.masked_paths: list[str] = linux.get("maskedPaths") or []
        self.readonly_paths: list[str] = linux.get("readonlyPaths") or []
        self.devices: list[dict[str, Any]] = linux.get("devices") or []
        self.sysctl: dict[str, str] = linux.get("sysctl") or {}
        self.personality: dict[str, Any] | None = linux.get("personality")
        self.memory_policy: dict[str, Any] | None = linux.get("memoryPolicy")
        self.mount_label: str = linux.get("mountLabel") or ""
        self.root_propagation = root_propagation(linux.get("rootfsPropagation") or "")
        self.annotations: dict[str, str] = config.get("annotations") or {}
        self.process.keep_groups = self.annotations.get("run.oci.keep_original_groups") == "1"
        self.cgroup_path = ""
        self.systemd_cgroup = False  # systemd makes the group, when there is a process to put into it
        self.new_keyring = True
        self.no_pivot = False
        self.preserve_fds = 0
        if not self.namespaces.has("mount"):
            # Without one every mount below would happen on the host (R32).
            raise SpecError(
                "linux.namespaces", "a mount namespace is missing: the container's mounts would be the host's"
            )


def root_propagation(word: str) -> int:
    """Turn `linux.rootfsPropagation` into flags for mount(2); 0 when it is not given."""
    if not word:
        return 0
    if word not in PROPAGATION:
        raise SpecError("linux.rootfsPropagation", f'unknown propagation "{word}"')
    return PROPAGATION[word] | m.MS_REC


def resolve_rootfs(config: dict[str, Any], bundle: str) -> str:
    """Find the root file system's directory: absolute, or below the bundle. Raises SpecError."""
    root = config.get("root")
    if not root:
        raise SpecError("root", "is missing")
    path: str = root["path"]
    if path[:1] != "/":
        path = f"{bundle}/{path}"
    try:
        kind = posix.stat(path).st_mode & S_IFMT
    except OSError as problem:
        raise SpecError("root.path", f'invalid rootfs "{path}": {problem.strerror}'.lower()) from None
    if kind != S_IFDIR:
        raise SpecError("root.path", f'"{path}" is not a directory')
    return path
