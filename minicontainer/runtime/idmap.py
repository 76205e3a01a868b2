"""Ids in user namespaces: who inside is whom outside, for processes and, with idmapped mounts, for files.

As root the map is written directly. An ordinary user may map only itself, or the ranges that /etc/subuid
grants, which the setuid programs newuidmap and newgidmap then write.

See user_namespaces(7), newuidmap(1), mount_setattr(2) "ID-mapped mounts", time_namespaces(7).
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import KernelError, SpecError
from minicontainer.linux import mounts as m
from minicontainer.linux.descriptors import read_beginning
from minicontainer.linux.namespaces import CLONE_NEWUSER, write_id_map
from minicontainer.linux.process import SIGCHLD, clone3, pidfd_send_signal
from minicontainer.runtime.mounting import copy_of_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.plan import InitPlan, MountPlan

    Mappings = list[dict[str, int]]

SIGKILL = 9
CLOCKS = {"monotonic": 1, "boottime": 7}


def map_lines(mappings: Mappings) -> str:
    """Write mappings as the kernel reads them: inside, outside, how many."""
    return "".join([f"{entry['containerID']} {entry['hostID']} {entry['size']}\n" for entry in mappings])


def map_ids(pid: int, uid_mappings: Mappings, gid_mappings: Mappings) -> None:
    """Map the ids of a new user namespace whose only process is `pid`."""
    # Without CAP_SETUID the kernel refuses the map; an ordinary user may still map its own single id.
    try:
        if uid_mappings:
            write_id_map(pid, "uid_map", map_lines(uid_mappings))
        if gid_mappings:
            write_gid_map(pid, gid_mappings)
    except KernelError as problem:
        if problem.errno != errno.EPERM or posix.geteuid() == 0:
            raise
        map_ids_by_helper(pid, uid_mappings, gid_mappings)


def write_gid_map(pid: int, mappings: Mappings) -> None:
    """Write the group map; without privileges setgroups must be given up first."""
    if posix.geteuid() != 0 and len(mappings) == 1 and mappings[0]["size"] == 1:
        write_id_map(pid, "setgroups", "deny")
    write_id_map(pid, "gid_map", map_lines(mappings))


def map_ids_by_helper(pid: int, uid_mappings: Mappings, gid_mappings: Mappings) -> None:
    """Let newuidmap and newgidmap write the maps, which may use the ranges of /etc/subuid and /etc/subgid."""
    from minicontainer.linux.programs import run

    # What the first try has written stays: only the map that is still empty is asked for.
    for program, kind, mappings in (
        ("newuidmap", "uid_map", uid_mappings),
        ("newgidmap", "gid_map", gid_mappings),
    ):
        if mappings and not read_beginning(f"/proc/{pid}/{kind}"):
            run([program, str(pid), *map_lines(mappings).split()])


def set_time_offsets(pid: int, offsets: dict[str, dict[str, int]]) -> None:
    """Set the clocks of the time namespace that the children of `pid` will enter."""
    lines = [f"{CLOCKS[name]} {o.get('secs') or 0} {o.get('nanosecs') or 0}\n" for name, o in offsets.items()]
    write_id_map(pid, "timens_offsets", "".join(lines))


def copy_sources(plan: InitPlan, cgroup_source: str) -> int:
    """Copy, on the host's side, the mounts that the first process could not; returns the root's copy, or -1.

    These are the idmapped ones, and all in a user namespace, where a source below somebody's private
    directory could not even be reached.
    """
    rootfs = copy_of_root(plan)
    all_of_them = rootfs >= 0
    part_from_host(rootfs, plan)
    for entry in plan.mounts:
        if entry.options.idmap or entry.uid_mappings:
            if not entry.options.bind:
                raise SpecError("mounts", f'"{entry.destination}": only a bind mount can be idmapped')
            entry.source_fd = idmapped_copy(entry, plan)
        elif all_of_them and entry.options.bind:
            entry.source_fd = copy_of_tree(entry.source, entry.options.recursive)
        elif all_of_them and entry.kind in ("cgroup", "cgroup2") and cgroup_source:
            entry.source_fd = copy_of_tree(cgroup_source, True)
        part_from_host(entry.source_fd, plan)
    return rootfs


def part_from_host(copy: int, plan: InitPlan) -> None:
    """Let what the container mounts in a copy not show up on the host, whose shared mounts are its peers.

    The first process does the same for what it copies itself, when it makes all of its own mounts slaves.
    """
    if copy >= 0 and not plan.root_propagation & m.MS_SHARED:
        m.mount_setattr(copy, "", m.AT_EMPTY_PATH | m.AT_RECURSIVE, 0, 0, m.MS_SLAVE, 0)


def copy_of_root(plan: InitPlan) -> int:
    """Copy the root file system's mount for a new user namespace; -1 where the first process must do it.

    An ordinary user may copy no mount of the host's namespace, only of one that his own user namespace owns.
    """
    if not plan.namespaces.has("user"):
        return -1
    try:
        return copy_of_tree(plan.rootfs, True)
    except KernelError as problem:
        if problem.errno != errno.EPERM:
            raise
        return -1


def idmapped_copy(entry: MountPlan, plan: InitPlan) -> int:
    """Copy a mount so that its files' owners are translated, by the entry's own map or the container's."""
    copy = copy_of_tree(entry.source, entry.options.recursive)
    userns = user_namespace_for(entry, plan)
    flags = m.AT_EMPTY_PATH | (m.AT_RECURSIVE if entry.options.idmap == "ridmap" else 0)
    m.mount_setattr(copy, "", flags, m.MOUNT_ATTR_IDMAP, 0, 0, userns)
    posix.close(userns)
    return copy


def user_namespace_for(entry: MountPlan, plan: InitPlan) -> int:
    """Open a user namespace that maps what the mount wants."""
    for kind, path in plan.namespaces.joined:
        if kind == "user" and not entry.uid_mappings:
            return posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    uid_mappings = entry.uid_mappings or plan.namespaces.uid_mappings
    gid_mappings = entry.gid_mappings or plan.namespaces.gid_mappings
    if not uid_mappings or not gid_mappings:
        raise SpecError(
            "mounts", f'"{entry.destination}": idmap needs mappings, its own or those of a user namespace'
        )
    return make_user_namespace(uid_mappings, gid_mappings)


def make_user_namespace(uid_mappings: Mappings, gid_mappings: Mappings) -> int:
    """Make a user namespace with these maps; a short-lived process holds it until it is opened."""
    reading, writing = posix.pipe2(posix.O_CLOEXEC)
    pid, pidfd = clone3(CLONE_NEWUSER, SIGCHLD, -1)
    if pid == 0:
        posix.close(writing)
        posix.read(reading, 1)  # ends when the parent closes its end, or dies
        posix._exit(0)
    try:
        map_ids(pid, uid_mappings, gid_mappings)
        return posix.open(f"/proc/{pid}/ns/user", posix.O_RDONLY | posix.O_CLOEXEC)
    finally:
        pidfd_send_signal(pidfd, SIGKILL)
        posix.waitpid(pid, 0)
        for fd in (reading, writing, pidfd):
            posix.close(fd)
