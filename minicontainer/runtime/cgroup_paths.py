"""Where the container's cgroup lies: from `linux.cgroupsPath` to a path in the tree, and to a descriptor.

    cgroupfs: /libpod_parent/libpod-ID            as it is
              pod/ID                              beside our own group
    systemd:  machine.slice:libpod:ID             /machine.slice/libpod-ID.scope
              a-b.slice:cri:ID                    /a.slice/a-b.slice/cri-ID.scope

Implements runtime-spec config-linux.md, "Cgroups Path", as runc reads it; see systemd.slice(5).
"""

from __future__ import annotations

import errno

from minicontainer.errors import NotFound, SpecError
from minicontainer.linux import cgroups
from minicontainer.linux.cgroups import open_group, own_cgroup
from minicontainer.linux.namespaces import in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USUAL = "/sys/fs/cgroup"  # where it is, but for hosts with both versions
DEFAULT_PARENT = "/minicontainer"
GONE = (errno.ENOENT, errno.ENODEV)
_root: list[str | None] = []


def root() -> str | None:
    """Say where the cgroup v2 tree is seen, looked up once for each process."""
    if not _root:
        _root.append(USUAL if cgroups.is_cgroup2(USUAL) else cgroups.find_cgroup2())
    return _root[0]


def whole_path(path: str) -> str:
    """Turn a path inside the tree into one of the file system. Raises NotFound without a tree."""
    top = root()
    if top is None:
        raise NotFound("no cgroup v2 hierarchy is mounted: the cgroup does not exist")
    return top.rstrip("/") + path if path != "/" else top


def open_path(path: str | None) -> int | None:
    """Open a group by its path; None where there is no such group (any more), or none was ever made."""
    if not path or root() is None:
        return None
    try:
        return open_group(whole_path(path))
    except OSError as problem:
        if problem.errno in GONE:
            return None
        raise


def cgroup_path(config: dict[str, Any], identifier: str, systemd: bool) -> str:
    """Choose the group's path from `linux.cgroupsPath`. Raises SpecError for one that could lead elsewhere.

    An absolute path counts from the root of the tree, a relative one from beside our own group, as in runc.
    Without any, it is `/minicontainer/ID`, or beside our own group in a user namespace, where the top of the
    tree is not ours.
    """
    asked: str = (config.get("linux") or {}).get("cgroupsPath") or ""
    if ".." in asked.replace(":", "/").split("/"):
        raise SpecError("linux.cgroupsPath", 'must not contain ".."')
    if systemd:
        return unit_path(*unit_of(asked, identifier))
    if not asked:
        path = beside_us(identifier) if in_user_namespace() else f"{DEFAULT_PARENT}/{identifier}"
    elif asked.startswith("/"):
        path = asked
    else:
        path = beside_us(asked)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts:
        raise SpecError("linux.cgroupsPath", "is the root of the tree")
    return "/" + "/".join(parts)


def beside_us(name: str) -> str:
    """Place a group beside our own: below it would be refused controllers, for we are in it."""
    return f"{own_cgroup().rpartition('/')[0]}/{name}"


def unit_of(asked: str, identifier: str) -> tuple[str, str]:
    """Read `slice:prefix:name` as (slice, unit), as runc does; none of it given: a scope of system.slice."""
    if not asked:
        return "system.slice", f"minicontainer-{identifier}.scope"
    parent, colon, rest = asked.partition(":")
    prefix, colon, name = rest.partition(":")
    if not colon or not name or ":" in name or "/" in asked:
        problem = f'expected the form "slice:prefix:name" for systemd cgroups, got "{asked}"'
        raise SpecError("linux.cgroupsPath", problem)
    if name.endswith(".slice"):
        raise SpecError("linux.cgroupsPath", f'"{name}" is a slice, which has no processes of its own')
    return parent or "system.slice", f"{prefix}-{name}.scope"


def unit_path(parent: str, unit: str) -> str:
    """Give the group of a systemd unit: a dash in a slice's name is a level, so a-b.slice lies in a.slice."""
    words = parent.removesuffix(".slice").split("-")
    if not parent.endswith(".slice") or ("" in words and parent != "-.slice"):
        raise SpecError("linux.cgroupsPath", f'invalid slice name "{parent}"')
    if parent == "-.slice":
        return f"/{unit}"
    levels = ["-".join(words[: depth + 1]) + ".slice" for depth in range(len(words))]
    return "/" + "/".join([*levels, unit])
