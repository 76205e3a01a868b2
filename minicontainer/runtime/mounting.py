"""Mounting one entry of `mounts` inside a root that may be hostile.

Every mount is made first, shaped while nobody can see it, and then put onto a *descriptor* that was resolved
inside the root: whatever the image's links say, or somebody swaps meanwhile, it cannot land on the host.

Implements runtime-spec, config.md "Mounts"; see fsopen(2), open_tree(2), move_mount(2), mount_setattr(2).
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import KernelError, Refused
from minicontainer.linux import mounts as m
from minicontainer.linux.paths import (
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    PROC_SUPER_MAGIC,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
    S_IFDIR,
    file_type,
    filesystem_magic,
    make_directories,
    make_file,
    try_openat2,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.mount_options import MountOptions
    from minicontainer.runtime.plan import MountPlan

# Files of /proc that a program may replace (lxcfs does): none of them is written by us or by the LSMs.
REPLACEABLE_IN_PROC = (
    "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev",
    "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
)  # fmt: skip
# File systems whose super block is shared: `ro` is said to the mount only.
KERNEL_FILESYSTEMS = ("proc", "sysfs", "devpts", "mqueue", "cgroup2", "tmpfs", "overlay")


def attach(mount_fd: int, target_fd: int) -> None:
    """Put a mount that is not attached yet onto what `target_fd` names."""
    m.move_mount(mount_fd, "", target_fd, "", m.MOVE_MOUNT_F_EMPTY_PATH | m.MOVE_MOUNT_T_EMPTY_PATH)


def new_filesystem(kind: str, source: str, data: list[tuple[str, str | None]], attributes: int) -> int:
    """Make a mount of a new file system; returns its descriptor."""
    context = m.fsopen(kind, m.FSOPEN_CLOEXEC)
    try:
        m.fsconfig(context, m.FSCONFIG_SET_STRING, "source", source, 0)
        for key, value in data:
            m.fsconfig(
                context, m.FSCONFIG_SET_STRING if value is not None else m.FSCONFIG_SET_FLAG, key, value, 0
            )
        if attributes & m.MOUNT_ATTR_RDONLY and kind not in KERNEL_FILESYSTEMS:
            m.fsconfig(context, m.FSCONFIG_SET_FLAG, "ro", None, 0)
        m.fsconfig(context, m.FSCONFIG_CMD_CREATE, None, None, 0)
        return m.fsmount(context, m.FSMOUNT_CLOEXEC, attributes)
    finally:
        posix.close(context)


def copy_of_tree(source: str, recursive: bool) -> int:
    """Copy the mount at a path of the host (what a bind mount is); returns its descriptor."""
    flags = m.OPEN_TREE_CLONE | m.OPEN_TREE_CLOEXEC | (m.AT_RECURSIVE if recursive else 0)
    return m.open_tree(m.AT_FDCWD, source, flags)


def mount_entry(root: int, plan: MountPlan, cgroup_source: str) -> None:
    """Mount one entry. `cgroup_source` is the container's cgroup directory if it has no cgroup namespace."""
    if plan.kind in ("proc", "sysfs"):
        mount_on_real_directory(root, plan)
    elif plan.kind in ("cgroup", "cgroup2"):
        mount_cgroup(root, plan, cgroup_source)
    elif plan.kind == "tmpfs":
        mount_tmpfs(root, plan)
    elif plan.options.bind:
        mount_bind(root, plan)
    else:
        place(root, plan, new_filesystem(plan.kind, plan.source, plan.options.data, plan.options.set))


def mount_on_real_directory(root: int, plan: MountPlan) -> None:
    """Mount proc or sysfs, on a real directory only: through a link an image could choose another place."""
    name, flags = plan.destination, O_PATH | O_DIRECTORY | O_NOFOLLOW
    target = try_openat2(root, name, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    if target == -errno.ENOENT:
        posix.close(make_directories(root, name))
        target = try_openat2(root, name, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    if -target in (errno.ELOOP, errno.ENOTDIR):
        raise Refused(f"{plan.kind} must be mounted on an ordinary directory, {name} is not one")
    if target < 0:
        raise KernelError(-target, "openat2", (root, name, flags))
    mount_fd = new_filesystem(plan.kind, plan.source, plan.options.data, plan.options.set)
    finish(mount_fd, target, plan.options)


def mount_tmpfs(root: int, plan: MountPlan) -> None:
    """Mount a tmpfs; it takes the mode of the directory that it hides, and with tmpcopyup its contents."""
    target = try_openat2(root, plan.destination, O_PATH | O_DIRECTORY)
    hidden = target >= 0
    if not hidden:
        target = make_directories(root, plan.destination)
    refuse_in_proc(target, plan)
    data = plan.options.data
    if hidden and not any(key == "mode" for key, _ in data):
        data = [*data, ("mode", f"{posix.fstat(target).st_mode & 0o7777:o}")]
    # `ro` comes last: devices, the console, mount points and what is copied up must be written first.
    mount_fd = new_filesystem("tmpfs", plan.source, data, plan.options.set & ~m.MOUNT_ATTR_RDONLY)
    if plan.options.copy_up and hidden:
        from minicontainer.runtime.copy_up import copy_tree

        copy_tree(root, plan.destination, mount_fd)
    if plan.options.set & m.MOUNT_ATTR_RDONLY:
        plan.source_fd = posix.dup(mount_fd)
    finish(mount_fd, target, plan.options)


def freeze_tmpfs(plan: MountPlan) -> None:
    """Make a tmpfs read-only that was to be so, now that all is in it that belongs there."""
    if plan.kind == "tmpfs" and plan.source_fd >= 0:
        m.mount_setattr(plan.source_fd, "", m.AT_EMPTY_PATH, m.MOUNT_ATTR_RDONLY, 0, 0, 0)
        posix.close(plan.source_fd)
        plan.source_fd = -1


def mount_bind(root: int, plan: MountPlan) -> None:
    """Mount a copy of a place on the host; its nosuid, nodev, noexec and atime stay unless changed."""
    mount_fd = plan.source_fd
    if mount_fd < 0:
        mount_fd = copy_of_tree(plan.source, plan.options.recursive)
    change_attributes(mount_fd, plan.options)
    place(root, plan, mount_fd)


def mount_cgroup(root: int, plan: MountPlan, cgroup_source: str) -> None:
    """Show the container's own cgroup tree, by its namespace or, without one, by a bind of its directory."""
    if cgroup_source:
        mount_fd = plan.source_fd if plan.source_fd >= 0 else copy_of_tree(cgroup_source, True)
        change_attributes(mount_fd, plan.options)
    else:
        mount_fd = new_filesystem("cgroup2", "cgroup", [], plan.options.set)
    place(root, plan, mount_fd)


def place(root: int, plan: MountPlan, mount_fd: int) -> None:
    """Find or make the target, a file for a file, and attach the mount there."""
    folder = file_type(mount_fd) == S_IFDIR
    target = make_directories(root, plan.destination) if folder else make_file(root, plan.destination)
    if folder == (file_type(target) == S_IFDIR):
        refuse_in_proc(target, plan, mount_fd)
        finish(mount_fd, target, plan.options)
        return
    raise Refused(f"{plan.destination} and what is mounted on it must both be directories, or neither")


def refuse_in_proc(target: int, plan: MountPlan, mount_fd: int = -1) -> None:
    """Refuse what would fake /proc: we and the kernel's security modules write to files there."""
    if plan.destination.strip("/") == "proc" and (
        mount_fd < 0 or filesystem_magic(mount_fd) != PROC_SUPER_MAGIC
    ):
        raise Refused(f'"{plan.source}" cannot be mounted on /proc: only a proc file system may be there')
    if filesystem_magic(target) != PROC_SUPER_MAGIC:
        return
    # The host's /proc is still the one at /proc here: it names the target, as seen from the container's own
    # proc.
    inside = posix.readlink(f"/proc/self/fd/{target}").partition("/proc/")[2]
    if inside and inside not in REPLACEABLE_IN_PROC:
        raise Refused(f'"{plan.destination}" cannot be mounted because it is inside /proc')


def finish(mount_fd: int, target: int, options: MountOptions) -> None:
    """Attach a mount, then give it what only an attached one takes: propagation, and the recursive words."""
    attach(mount_fd, target)
    if options.set_below or options.clear_below:
        flags = m.AT_EMPTY_PATH | m.AT_RECURSIVE
        m.mount_setattr(mount_fd, "", flags, options.set_below, options.clear_below, 0, 0)
    for propagation in options.propagation:
        flags = m.AT_EMPTY_PATH | (m.AT_RECURSIVE if propagation & m.MS_REC else 0)
        m.mount_setattr(mount_fd, "", flags, 0, 0, propagation & ~m.MS_REC, 0)
    posix.close(target)
    posix.close(mount_fd)


def change_attributes(mount_fd: int, options: MountOptions) -> None:
    """Change the attributes of a copied mount.

    A user namespace locks the attributes of mounts that it inherits: clearing one of them is then given up,
    because `rw` or `suid` in a list of options asks for a default, not for the impossible.
    """
    if not options.set and not options.clear:
        return
    try:
        m.mount_setattr(mount_fd, "", m.AT_EMPTY_PATH, options.set, options.clear, 0, 0)
    except KernelError as problem:
        if problem.errno != errno.EPERM or not options.clear:
            raise
        keeps_atime = options.clear & m.MOUNT_ATTR__ATIME if options.set & m.MOUNT_ATTR__ATIME else 0
        m.mount_setattr(mount_fd, "", m.AT_EMPTY_PATH, options.set, keeps_atime, 0, 0)
