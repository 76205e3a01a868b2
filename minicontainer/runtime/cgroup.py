"""The container's cgroup: how it is made, limited and removed.

    (none) -create_group-> empty -clone3(CLONE_INTO_CGROUP)-> used -kill_group-> empty -remove_group-> (none)

A group is known by its path from the root of the cgroup v2 tree: kill, freeze and remove work from that path
and from what the kernel says, in any process and at any time. A group that has vanished counts as empty,
thawed and removed.

Implements runtime-spec config-linux.md, "Control groups"; see cgroups(7),
<Documentation/admin-guide/cgroup-v2.rst>.
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import Conflict, KernelError, NotFound
from minicontainer.linux import cgroups
from minicontainer.linux.cgroups import has_control, open_group, read_control, write_control
from minicontainer.runtime.cgroup_paths import DEFAULT_PARENT, GONE, open_path, root, whole_path
from minicontainer.trace.events import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AGAIN = 16  # how often a parent that somebody removes at this moment is made again
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)
IN_USE = (errno.EBUSY, errno.ENOTEMPTY)


class Group:
    """A container's cgroup.

    `path` is seen from the root of the tree; `directory` is a descriptor for clone3; `made` lists, from the
    top, the groups that were made for it and that are removed with it.
    """

    __slots__ = ("directory", "made", "path")

    def __init__(self, path: str, directory: int, made: list[str]) -> None:
        self.path = path
        self.directory = directory
        self.made = made

    def close(self) -> None:
        """Close the descriptor; the group stays."""
        if self.directory >= 0:
            posix.close(self.directory)
            self.directory = -1


def planned_groups(path: str) -> list[str]:
    """Name the groups that have to be made for this one, from the top: to be noted before they are."""
    missing: list[str] = []
    while path and (directory := open_path(path)) is None:
        missing.insert(0, path)
        path = path.rpartition("/")[0]
    if path and directory is not None:
        posix.close(directory)
    return missing


@step
def create_group(path: str | None, resources: dict[str, Any], required: bool = False) -> Group | None:
    """Make the container's cgroup, and hand down to it the controllers that its limits need.

    None where no limit is asked for and there is no tree, or none that we may write to (rootless), unless the
    group is `required`. Raises Unsupported for a controller that is not there, before anything is made, and
    Conflict for a group that has processes already.
    """
    needed = demand_controllers(resources)
    if not path or root() is None:
        return None
    try:
        group = make_path(path)
    except KernelError as problem:
        if needed or required or problem.errno not in NOT_OURS:
            raise
        return None
    try:
        if path not in group.made:
            refuse_in_use(group)
        if needed:
            from minicontainer.runtime.cgroup_limits import enable_controllers

            enable_controllers(path, needed)
    except BaseException:
        group.close()
        remove_made(group.made)
        raise
    return group


def demand_controllers(resources: dict[str, Any]) -> set[str]:
    """Name the controllers that the limits need. Raises Unsupported for one that is not there."""
    if not resources.keys() - {"devices"}:
        return set()  # device rules need no controller: they are a program
    from minicontainer.runtime.cgroup_limits import require_controllers
    from minicontainer.runtime.resources import controllers_needed

    needed = controllers_needed(resources)
    require_controllers(needed)
    return needed


def open_existing(path: str) -> Group:
    """Open the group that systemd has made for us. Raises NotFound."""
    directory = open_path(path)
    if directory is None:
        raise NotFound(f"cgroup {path} does not exist")
    return Group(path, directory, [])


def make_path(path: str) -> Group:
    """Make a group and its parents, as far as they are not there."""
    for _ in range(AGAIN):
        made: list[str] = []
        try:
            return Group(path, descend(path, made), made)
        except KernelError as problem:
            remove_made(made)
            # Another container's delete removed a parent between its opening and the making of its child.
            if problem.errno not in GONE:
                raise
    raise Conflict(f"cgroup {path}: its parents are being removed all the time")


def descend(path: str, made: list[str]) -> int:
    """Open each level of a path, making those that are missing and noting them in `made`."""
    here = open_group(whole_path("/"))
    walked = ""
    for part in path.strip("/").split("/"):
        walked += "/" + part
        try:
            below = enter_or_make(here, part, walked, made)
        finally:
            posix.close(here)
        here = below
    return here


def enter_or_make(parent: int, name: str, walked: str, made: list[str]) -> int:
    """Open the group `name` below `parent`; a new one below a threaded group has to be threaded too."""
    try:
        return cgroups.open_group(name, parent)
    except FileNotFoundError:
        pass
    try:
        directory = cgroups.make_group(parent, name)
    except KernelError as problem:
        if problem.errno == errno.EEXIST:
            return enter_or_make(parent, name, walked, made)
        raise
    made.append(walked)
    if has_control(directory, "cgroup.type") and read_control(directory, "cgroup.type") == "domain invalid\n":
        write_control(directory, "cgroup.type", "threaded")
    return directory


def refuse_in_use(group: Group) -> None:
    """Refuse a group that was there before and is not empty: delete would kill what is not ours."""
    from minicontainer.runtime.cgroup_processes import is_frozen, processes

    inside = processes(group.path)
    if inside:
        raise Conflict(f"container's cgroup is not empty: {len(inside)} process(es) found")
    if is_frozen(group.path):
        raise Conflict("container's cgroup unexpectedly frozen")


# --- removing it --------------------------------------------------------------------------------------------


@step
def remove_group(path: str | None, made: list[str], seconds: float = 10.0) -> None:
    """Remove the container's cgroup, and those above it that were made for it and are not used by others.

    cgroups(7)

    Works any number of times. Groups that the container made in its own are removed first. Waits until the
    last process has ended; raises Conflict when one has not after `seconds`. A group that was there before
    stays.
    """
    if not path or root() is None:
        return
    if path in made:
        remove_tree(path, seconds)
    parents = [group for group in made if group != path]
    if path.startswith(DEFAULT_PARENT + "/") and DEFAULT_PARENT not in parents:
        parents.insert(0, DEFAULT_PARENT)
    remove_made(parents)


def remove_tree(path: str, seconds: float) -> None:
    """Remove a group: at once where that is possible, else after its processes and the groups below."""
    if remove_one(path):
        return
    from minicontainer.runtime.cgroup_processes import groups_in, processes, wait_until_empty

    if not wait_until_empty(path, seconds):
        raise Conflict(f"cgroup {path} still has processes: {processes(path)}")
    for group in reversed(groups_in(path)):
        if not remove_one(group):
            raise Conflict(f"cgroup {group} is still in use")


def remove_made(made: list[str]) -> None:
    """Remove groups from the bottom up; one that others use by now stays."""
    for group in reversed(made):
        try:
            remove_one(group)
        except KernelError as problem:
            if problem.errno not in NOT_OURS:
                raise


def remove_one(path: str) -> bool:
    """Remove a single group; False when there is something in it."""
    above, _, name = path.rpartition("/")
    parent = open_path(above or "/")
    if parent is None:
        return True
    try:
        cgroups.remove_group(parent, name)
    except KernelError as problem:
        if problem.errno in IN_USE:
            return False
        if problem.errno not in GONE:
            raise
    finally:
        posix.close(parent)
    return True
