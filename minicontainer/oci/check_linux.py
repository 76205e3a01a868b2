"""The rules that tie the members of `linux` together, beyond what the table can say.

Each function takes members that the table has accepted, so it asks for no types. Most rules are one: the
container may change what belongs to a namespace only if it lists that namespace.

Implements runtime-spec config-linux.md; user_namespaces(7) for the mappings.
"""

from __future__ import annotations

from minicontainer.errors import SpecError
from minicontainer.oci.shape import member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_END_OF_IDS = 2**32 - 1
_LONGEST_INTERFACE = 15
_CARRIES_AN_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")


def check_linux(linux: dict[str, Any]) -> None:
    """Check the rules of `linux` in a config; an absent `linux` is the empty one."""
    namespaces = _namespaces(linux.get("namespaces") or ())
    if "mount" not in namespaces:
        raise SpecError(
            "linux.namespaces", "a container without a mount namespace would change the host's mounts"
        )
    _check_user_namespace(linux, namespaces)
    _check_time_namespace(linux, namespaces)
    _check_network_devices(linux.get("netDevices") or {}, namespaces)
    check_cgroups_path(linux.get("cgroupsPath") or "")
    for index, device in enumerate(linux.get("devices") or ()):
        if device["type"] != "p":
            for name in ("major", "minor"):
                if name not in device:
                    raise SpecError(f"linux.devices[{index}].{name}", "is required")
    if (resources := linux.get("resources")) is not None:
        check_resource_values(resources, "linux.resources")
    if (seccomp := linux.get("seccomp")) is not None:
        _check_seccomp(seccomp)
    _check_class_of_service((linux.get("intelRdt") or {}).get("closID", ""))


def check_cgroups_path(path: str) -> None:
    """Refuse a path (also the `slice:prefix:name` of systemd) that could lead out of the cgroup tree."""
    if ".." in path and ".." in path.replace(":", "/").split("/"):
        raise SpecError("linux.cgroupsPath", 'must not contain ".."')


def check_resource_values(resources: dict[str, Any], path: str) -> None:
    """Refuse keys of `unified` that name anything but a controller's file in the container's own cgroup."""
    for name in resources.get("unified") or ():
        if "/" in name:
            raise SpecError(f"{path}.unified{member(name)}", "must be a file name, without slashes")
        if "." not in name.strip("."):
            raise SpecError(f"{path}.unified{member(name)}", "must have the form CONTROLLER.PARAMETER")


def check_mount_mappings(mounts: Iterable[dict[str, Any]]) -> None:
    """Refuse id-mapped mounts whose mapping is incomplete, or not one that the kernel takes."""
    for index, mount in enumerate(mounts):
        if "uidMappings" in mount or "gidMappings" in mount:
            path = f"mounts[{index}]"
            uids, gids = mount.get("uidMappings") or (), mount.get("gidMappings") or ()
            if bool(uids) != bool(gids):
                missing = "gidMappings" if uids else "uidMappings"
                raise SpecError(f"{path}.{missing}", "an id-mapped mount needs both uid and gid mappings")
            _check_mappings(uids, f"{path}.uidMappings")
            _check_mappings(gids, f"{path}.gidMappings")


def _namespaces(listed: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Give the path of each listed namespace: the empty path is a new one."""
    found: dict[str, str] = {}
    for index, namespace in enumerate(listed):
        kind = namespace["type"]
        if kind in found:
            raise SpecError(f"linux.namespaces[{index}].type", f'the namespace "{kind}" is listed twice')
        found[kind] = namespace.get("path", "")
    return found


def _check_user_namespace(linux: dict[str, Any], namespaces: dict[str, str]) -> None:
    """Refuse mappings without a user namespace, and a new user namespace without mappings.

    A path together with mappings is let through: containerd and cri-o write both.
    """
    uids, gids = linux.get("uidMappings") or (), linux.get("gidMappings") or ()
    if "user" not in namespaces:
        if uids or gids:
            raise SpecError(
                "linux.uidMappings" if uids else "linux.gidMappings",
                "mappings are given, but linux.namespaces lists no user namespace",
            )
        return
    if not namespaces["user"] and not uids and not gids:
        raise SpecError("linux.uidMappings", "a new user namespace needs mappings, or a path to join")
    _check_mappings(uids, "linux.uidMappings")
    _check_mappings(gids, "linux.gidMappings")


def _check_mappings(mappings: Iterable[dict[str, Any]], path: str) -> None:
    """Refuse ranges that run past the last id or overlap: the kernel would only say EINVAL."""
    for side in ("containerID", "hostID"):
        ranges = []
        for index, mapping in enumerate(mappings):
            first, size = mapping[side], mapping["size"]
            if first + size > _END_OF_IDS:
                raise SpecError(f"{path}[{index}].size", f"the range from {first} runs past the last id")
            ranges.append((first, first + size, index))
        end = before = 0
        for first, past, index in sorted(ranges):
            if first < end:
                raise SpecError(f"{path}[{index}].{side}", f"overlaps the range of {path}[{before}]")
            end, before = past, index


def _check_time_namespace(linux: dict[str, Any], namespaces: dict[str, str]) -> None:
    if not linux.get("timeOffsets"):
        return
    if "time" not in namespaces:
        raise SpecError(
            "linux.timeOffsets", "offsets are given, but linux.namespaces lists no time namespace"
        )
    if namespaces["time"]:
        raise SpecError("linux.timeOffsets", "the clocks of a time namespace that is joined cannot be set")


def _check_network_devices(devices: dict[str, dict[str, Any]], namespaces: dict[str, str]) -> None:
    if devices and "network" not in namespaces:
        raise SpecError(
            "linux.netDevices", "devices are given, but linux.namespaces lists no network namespace"
        )
    for name, device in devices.items():
        path = f"linux.netDevices{member(name)}"
        _check_interface(name, path)
        if device.get("name"):
            _check_interface(device["name"], f"{path}.name")


def _check_interface(name: str, path: str) -> None:
    """Apply the kernel's dev_valid_name()."""
    too_long = len(name.encode("utf-8", "surrogatepass")) > _LONGEST_INTERFACE
    if not name or too_long or name in (".", "..") or any(c in "/:" or c.isspace() for c in name):
        raise SpecError(path, "is not a name that a network interface can have")


def _check_seccomp(seccomp: dict[str, Any]) -> None:
    if seccomp["defaultAction"] == "SCMP_ACT_NOTIFY":
        raise SpecError("linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action")
    _check_errno(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"), "linux.seccomp.defaultErrnoRet")
    if seccomp.get("listenerMetadata") and not seccomp.get("listenerPath"):
        raise SpecError("linux.seccomp.listenerMetadata", "must not be given without listenerPath")
    for index, rule in enumerate(seccomp.get("syscalls") or ()):
        if "errnoRet" in rule:
            _check_errno(rule["action"], rule["errnoRet"], f"linux.seccomp.syscalls[{index}].errnoRet")


def _check_errno(action: str, number: int | None, path: str) -> None:
    if number is not None and action not in _CARRIES_AN_ERRNO:
        raise SpecError(path, f"{action} cannot return an errno")


def _check_class_of_service(name: str) -> None:
    if name in (".", "..") or "/" in name:
        raise SpecError("linux.intelRdt.closID", "must be the name of a directory, without slashes")
