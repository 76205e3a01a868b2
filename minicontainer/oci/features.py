"""What a runtime says it can do: the answer of `minicontainer-runtime features`.

Absent and null mean "unknown", not "no".

Implements runtime-spec features.md, features-linux.md; NUMA policies and network devices are from 1.3.
"""

from __future__ import annotations

from msgspec import Struct


class Cgroup(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which cgroup versions and managers the runtime knows, whatever the host has."""

    v1: bool | None = None
    v2: bool | None = None
    systemd: bool | None = None
    systemd_user: bool | None = None
    rdma: bool | None = None


class Seccomp(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which words of a seccomp filter the runtime knows."""

    enabled: bool | None = None
    actions: tuple[str, ...] | None = None
    operators: tuple[str, ...] | None = None
    archs: tuple[str, ...] | None = None
    known_flags: tuple[str, ...] | None = None
    supported_flags: tuple[str, ...] | None = None


class Enabled(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether the runtime knows the feature at all."""

    enabled: bool | None = None


class IntelRdt(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which parts of resctrl the runtime knows."""

    enabled: bool | None = None
    schemata: bool | None = None
    monitoring: bool | None = None


class MountExtensions(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether mounts may have id mappings of their own."""

    idmap: Enabled | None = None


class MemoryPolicy(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which NUMA policies the runtime knows."""

    modes: tuple[str, ...] | None = None
    flags: tuple[str, ...] | None = None


class Linux(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is specific to Linux."""

    namespaces: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] | None = None
    cgroup: Cgroup | None = None
    seccomp: Seccomp | None = None
    apparmor: Enabled | None = None
    selinux: Enabled | None = None
    mount_extensions: MountExtensions | None = None
    intel_rdt: IntelRdt | None = None
    memory_policy: MemoryPolicy | None = None
    net_devices: Enabled | None = None


class Features(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the runtime can do; a name that ends in a dot among the unsafe annotations is a prefix."""

    oci_version_min: str = ""
    oci_version_max: str = ""
    hooks: tuple[str, ...] | None = None
    mount_options: tuple[str, ...] | None = None
    linux: Linux | None = None
    annotations: dict[str, str] | None = None
    potentially_unsafe_config_annotations: tuple[str, ...] | None = None
