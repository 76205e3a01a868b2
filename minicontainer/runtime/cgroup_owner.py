"""A container in a user namespace that may write to its cgroup is given it: the group, not its limits.

    ID/                       its user's     it may make groups below,
      cgroup.procs ...        its user's     move its processes into them, hand controllers down to them
      memory.max, pids.max    the host's     what limits itself it cannot change

Implements: runtime-spec config-linux.md "Cgroup ownership"; <Documentation/admin-guide/cgroup-v2.rst>
"Delegation"; /sys/kernel/cgroup/delegate, the kernel's list of the files.
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import KernelError
from minicontainer.linux.mounts import MOUNT_ATTR_RDONLY
from minicontainer.linux.paths import AT_SYMLINK_NOFOLLOW, fchownat
from minicontainer.runtime.cgroup_paths import open_path
from minicontainer.trace.events import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.plan import InitPlan, NamespacePlan

LIST = "/sys/kernel/cgroup/delegate"
NAMES = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control")  # what every kernel delegates
MAY_BE_REFUSED = (errno.EPERM, errno.EACCES, errno.EROFS)  # an ordinary user's group may be another's


def give_group(path: str, plan: InitPlan) -> None:
    """Give the cgroup to the user of a container that sees it as its own tree and can write to it."""
    owner = host_id(plan.namespaces, plan.process.uid)
    if owner >= 0 and owner != posix.geteuid() and sees_own_tree(plan):
        change_owner(path, owner)


def sees_own_tree(plan: InitPlan) -> bool:
    """Tell whether the container has a cgroup namespace and a writable mount of its tree."""
    return plan.namespaces.makes("cgroup") and any(
        entry.kind in ("cgroup", "cgroup2") and not entry.options.set & MOUNT_ATTR_RDONLY
        for entry in plan.mounts
    )


def host_id(namespaces: NamespacePlan, uid: int) -> int:
    """Say which user on the host a user of the container is; -1 where the config does not say."""
    for row in namespaces.uid_mappings:
        if row["containerID"] <= uid < row["containerID"] + row["size"]:
            return row["hostID"] + uid - row["containerID"]
    return -1


@step
def change_owner(path: str, owner: int) -> None:
    """Give the container its cgroup, so that it can make groups below: the group, but not its limits.

    cgroups(7), "Delegation"
    """
    group = open_path(path)
    if group is None:
        return
    try:
        for name in (".", *delegated()):
            change_owner_of(group, name, owner)
    finally:
        posix.close(group)


def change_owner_of(group: int, name: str, owner: int) -> None:
    """Change the owner of a group's file, if there is one: memory.reclaim comes with its controller."""
    try:
        fchownat(group, name, owner, -1, AT_SYMLINK_NOFOLLOW)
    except KernelError as problem:
        if problem.errno != errno.ENOENT and problem.errno not in MAY_BE_REFUSED:
            raise


def delegated() -> list[str]:
    """Name the files that whom a group is given to may write."""
    try:
        fd = posix.open(LIST, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return list(NAMES)
    try:
        return posix.read(fd, 4096).decode().split()
    finally:
        posix.close(fd)
