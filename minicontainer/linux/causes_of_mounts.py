"""Why a mount, an unmount or a change of the root was refused: the rows of the errno table.

See mount(2), pivot_root(2), umount2(2), mount_namespaces(7); <Documentation/filesystems/overlayfs.rst>.
"""

# ruff: noqa: D401 - a row's docstring is the rule that was broken

from __future__ import annotations

import os

from minicontainer.linux.causes import Arguments, Cause, row
from minicontainer.linux.evidence import Evidence
from minicontainer.linux.mounts import MNT_DETACH, MS_BIND, MS_MOVE, MS_REMOUNT

PLACE_IS_CHANGED = MS_REMOUNT | MS_BIND | MS_MOVE


@row("pivot_root", "EINVAL")
def root_is_rootfs(_arguments: Arguments, seen: Evidence) -> Cause | None:
    """The first root of all, an initramfs, cannot be swapped."""
    root = seen.mount_of("/")
    if root.kind != "rootfs":
        return None
    return Cause(
        saw="/ is of type rootfs",
        means="the root is the kernel's first file system, which cannot be moved away",
        look_at="move the new root onto / with MS_MOVE and chroot(2) into it instead (`--no-pivot`)",
    )


@row("pivot_root", "EINVAL")
def not_a_mount_point(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A plain directory cannot become the root."""
    if seen.is_mount_point(arguments[0]):
        return None
    return Cause(
        saw=f"nothing is mounted at {arguments[0]}",
        means="new_root is not a mount point",
        look_at="bind it onto itself first (MS_BIND)",
    )


@row("pivot_root", "EINVAL")
def put_old_is_elsewhere(arguments: Arguments, seen: Evidence) -> Cause | None:
    """The place for the old root must be reachable from the new one."""
    new, old = (seen.path(name).resolve() for name in arguments[:2])
    if old.is_relative_to(new):
        return None
    return Cause(
        saw=f"{arguments[1]} is not below {arguments[0]}",
        means="put_old does not lie below new_root",
        look_at='make a directory in the new root, or use pivot_root(".", ".")',
    )


@row("pivot_root", "EINVAL")
def mounts_are_shared(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A pivot would spread to every peer of a shared mount."""
    new, old, root = seen.mount_of(arguments[0]), seen.mount_of(arguments[1]), seen.mount_of("/")
    known = {mount.id: mount for mount in seen.mounts()}
    judged = [known.get(new.parent), old, known.get(root.parent)]
    shared = sorted({mount.place for mount in judged if mount and mount.shared})
    if not shared:
        return None
    return Cause(
        saw=f"`shared:` in mountinfo of {', '.join(shared)}",
        means="the mounts are still shared with other mount namespaces",
        look_at='make them private first: mount(NULL, "/", NULL, MS_REC|MS_PRIVATE, NULL)',
    )


@row("pivot_root", "EBUSY")
def same_file_system(arguments: Arguments, seen: Evidence) -> Cause | None:
    """New and old root must be two mounts."""
    root = seen.mount_of("/")
    same = [str(name) for name in arguments[:2] if seen.mount_of(name).id == root.id]
    if not same:
        return None
    return Cause(
        saw=f"{same[0]} lies on the mount of the present root",
        means="new_root is a plain directory of the root that should be left",
        look_at="bind it onto itself first (MS_BIND): then it is a mount of its own",
    )


@row("pivot_root mount umount2 move_mount open_tree mount_setattr chroot", "ENOENT")
def path_is_missing(arguments: Arguments, seen: Evidence) -> Cause | None:
    """One of the paths does not exist."""
    for name in arguments:
        if isinstance(name, str) and name.startswith("/") and not os.path.lexists(seen.path(name)):
            return Cause(
                saw=f"{name} does not exist",
                means="a path of the call leads nowhere",
                look_at="make it first, or correct the path",
            )
    return None


@row("umount2", "EBUSY")
def still_in_use(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Without MNT_DETACH a mount must be at rest."""
    target, flags = arguments
    if not isinstance(flags, int) or flags & MNT_DETACH:
        return None
    here = seen.mount_of(target)
    below = sorted(mount.place for mount in seen.mounts() if mount.parent == here.id)
    saw = f"mounted on it: {', '.join(below)}" if below else "MNT_DETACH is not set"
    return Cause(
        saw=saw,
        means="files of the mount are in use: a working directory, a root, an open file or another mount",
        look_at="take it away with MNT_DETACH: it ends when its last user does",
    )


@row("mount fsopen", "ENODEV")
def unknown_file_system(arguments: Arguments, seen: Evidence) -> Cause | None:
    """The kernel has no such file system."""
    kind = str(arguments[2] if len(arguments) > 1 and isinstance(arguments[1], str) else arguments[0])
    known = {line.split()[-1] for line in seen.system("filesystems").splitlines()}
    if kind in known:
        return None
    return Cause(
        saw=f"{kind} is not in /proc/filesystems",
        means="the kernel has no such file system, or its module is not loaded",
        look_at=f"modprobe {kind}",
    )


def overlay_options(arguments: Arguments) -> dict[str, list[str]] | None:
    """Read the directories of an overlay, or None when the call is about something else."""
    if len(arguments) < 5 or arguments[2] != "overlay" or not isinstance(arguments[4], str):  # noqa: PLR2004
        return None
    pairs = [option.partition("=") for option in arguments[4].split(",")]
    found = {name: value for name, _, value in pairs if name in ("lowerdir", "upperdir", "workdir")}
    return {name: value.split(":") if name == "lowerdir" else [value] for name, value in found.items()}


@row("mount", "ENOENT")
def layer_is_missing(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Each directory of an overlay must be there."""
    for name, places in (overlay_options(arguments) or {}).items():
        for place in places:
            if not seen.path(place).is_dir():
                return Cause(
                    saw=f"{name}: {place} is not a directory",
                    means="a directory of the overlay is missing",
                    look_at="make it first; of several lower directories the first is the topmost",
                )
    return None


@row("mount", "EINVAL")
def work_is_elsewhere(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Files are finished in workdir and renamed into upperdir, so both lie on one mount."""
    options = overlay_options(arguments)
    if not options or not {"upperdir", "workdir"} <= set(options):
        return None
    upper, work = options["upperdir"][0], options["workdir"][0]
    if seen.mount_of(upper).id == seen.mount_of(work).id:
        return None
    return Cause(
        saw=f"{upper} and {work} lie on different mounts",
        means="upperdir and workdir must lie on the same mounted file system",
        look_at="put workdir beside upperdir",
    )


@row("mount", "EINVAL")
def work_is_inside(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Neither of the two may contain the other."""
    options = overlay_options(arguments)
    if not options or not {"upperdir", "workdir"} <= set(options):
        return None
    upper, work = (seen.path(options[name][0]).resolve() for name in ("upperdir", "workdir"))
    if not (upper.is_relative_to(work) or work.is_relative_to(upper)):
        return None
    return Cause(
        saw=f"{upper} and {work} are one inside the other",
        means="upperdir and workdir must be separate directories",
        look_at="put workdir beside upperdir",
    )


@row("mount", "EINVAL")
def upper_is_missing(arguments: Arguments, _seen: Evidence) -> Cause | None:
    """An upper directory needs a work directory."""
    options = overlay_options(arguments)
    if not options or "workdir" in options or "upperdir" not in options:
        return None
    return Cause(
        saw="upperdir= without workdir=",
        means="an overlay that can be written to needs a work directory",
        look_at="add workdir=, an empty directory on the file system of upperdir",
    )


@row("mount", "EINVAL")
def remount_of_nothing(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Propagation and flags belong to a mount, not to a directory."""
    target, flags = arguments[1], arguments[3]
    if arguments[2] or not isinstance(flags, int) or seen.is_mount_point(target):
        return None
    if flags & MS_BIND and not flags & MS_REMOUNT:
        return None
    return Cause(
        saw=f"nothing is mounted at {target}",
        means="only a mount has flags and a propagation type, and this is a plain directory",
        look_at="bind it onto itself first (MS_BIND)",
    )


@row("mount", "ENOTDIR")
def file_on_directory(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A directory is mounted on a directory, a file on a file."""
    source, target = (seen.path(name) for name in arguments[:2])
    if not isinstance(arguments[3], int) or not arguments[3] & MS_BIND or source.is_dir() == target.is_dir():
        return None
    kinds = ["a directory" if place.is_dir() else "a file" for place in (source, target)]
    return Cause(
        saw=f"{arguments[0]} is {kinds[0]}, {arguments[1]} is {kinds[1]}",
        means="a directory can only be bound onto a directory, and a file onto a file",
        look_at="make a target of the right kind",
    )


@row("mount umount2 move_mount open_tree mount_setattr pivot_root fsopen fsmount", "EPERM")
def no_right_to_mount(_arguments: Arguments, seen: Evidence) -> Cause | None:
    """Mounting needs CAP_SYS_ADMIN over the mount namespace."""
    if seen.can("CAP_SYS_ADMIN") and seen.owns("mnt"):
        return None
    lacks = not seen.can("CAP_SYS_ADMIN")
    return Cause(
        saw="CapEff lacks CAP_SYS_ADMIN"
        if lacks
        else "the mount namespace belongs to another user namespace",
        means="mounting needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace",
        look_at="run as root, or unshare(CLONE_NEWUSER|CLONE_NEWNS) first",
    )


def makes_proc(arguments: Arguments) -> bool:
    """Say whether the call mounts a new proc."""
    return len(arguments) > 2 and arguments[2] == "proc"  # noqa: PLR2004 - (source, target, type, ...)


@row("mount fsconfig fsmount", "EPERM")
def pid_namespace_of_others(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A proc shows one PID namespace: to mount it one must own that."""
    if not (makes_proc(arguments) or isinstance(arguments[0], int)) or seen.owns("pid"):
        return None
    return Cause(
        saw="/proc/self/ns/pid is owned by another user namespace",
        means="a proc file system may only be mounted by the owner of its PID namespace",
        look_at="unshare CLONE_NEWPID with CLONE_NEWUSER and mount in the next child, or bind /proc",
    )


@row("mount fsmount move_mount", "EPERM")
def proc_is_covered(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A fresh proc or sysfs must not reveal what was hidden in the old one."""
    kind = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], str) else "proc"  # noqa: PLR2004
    if kind not in ("proc", "sysfs") or seen.in_first_user_namespace():
        return None
    place = "/proc" if kind == "proc" else "/sys"
    hiding = sorted(mount.place for mount in seen.mounts() if mount.place.startswith(place + "/"))
    if not hiding:
        return None
    return Cause(
        saw=f"mounted inside: {', '.join(hiding[:3])}",
        means=f"parts of the visible {place} are covered, and a new one would reveal them",
        look_at=f"bind the existing {place} instead, or start the outer container with its masks off",
    )


@row("mount mount_setattr", "EPERM")
def locked_flags(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Flags set by a more privileged mount namespace stay."""
    if seen.in_first_user_namespace():
        return None
    place = arguments[1]
    locked = seen.mount_of(place).options & {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"}
    if not locked or not isinstance(arguments[3], int) or not arguments[3] & PLACE_IS_CHANGED:
        return None
    return Cause(
        saw=f"{place} is mounted {','.join(sorted(locked))}",
        means="these flags were set outside of this user namespace and cannot be taken off inside",
        look_at="repeat them in the remount",
    )


@row("openat openat2 open", "EACCES")
def device_on_nodev(arguments: Arguments, seen: Evidence) -> Cause | None:
    """On a nodev mount a device node is only a name."""
    name = arguments[0] if isinstance(arguments[0], str) else arguments[1]
    place = seen.path(name)
    here = seen.mount_of(name)
    if not (place.is_char_device() or place.is_block_device()) or "nodev" not in here.options:
        return None
    return Cause(
        saw=f"{here.place} is mounted nodev",
        means="device nodes do not work on a mount with nodev",
        look_at="bind the device from the host's /dev, or mount without nodev",
    )
