"""Mounts: attaching file systems to the tree that a process sees.

Two families. The classic calls (`mount`, `umount2`) name places by path. The newer ones work on descriptors:
a mount is made first (`fsopen`, `fsconfig`, `fsmount`, or `open_tree` for a copy), shaped (`mount_setattr`)
and only then put in its place (`move_mount`), which cannot be redirected by a link that somebody swaps in
between.

See mount(2), umount2(2), pivot_root(2), fsopen(2), fsconfig(2), fsmount(2), move_mount(2), open_tree(2),
mount_setattr(2), mount_namespaces(7).
"""

from __future__ import annotations

import posix

from minicontainer.linux.kernel import check, kernel_call, long, syscall, u64
from minicontainer.linux.numbers import (
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_open_tree,
    SYS_pivot_root,
    SYS_umount2,
)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_SYNCHRONOUS, MS_REMOUNT, MS_MANDLOCK, MS_DIRSYNC = 16, 32, 64, 128
MS_NOSYMFOLLOW, MS_NOATIME, MS_NODIRATIME = 256, 1024, 2048
MS_BIND, MS_MOVE, MS_REC, MS_SILENT = 4096, 8192, 16384, 32768
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_I_VERSION, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 23, 1 << 24, 1 << 25

MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW = 1, 2, 4, 8

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME = 0, 0x10, 0x20
MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW = 0x80, 0x100000, 0x200000

FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC = 1, 1
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_FD = 0, 1, 5
FSCONFIG_CMD_CREATE, FSCONFIG_CMD_RECONFIGURE = 6, 7
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, 0o2000000
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW = -100, 0x1000, 0x8000, 0x100


def _raw(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogateescape")


@kernel_call
def mount(
    source: str | None, target: str, filesystemtype: str | None, mountflags: int, data: str | None
) -> None:
    """Attach a file system, or change how a mounted one behaves. See mount(2)."""
    check(syscall(SYS_mount, _raw(source), _raw(target), _raw(filesystemtype), long(mountflags), _raw(data)))


@kernel_call
def umount2(target: str, flags: int) -> None:
    """Detach what is mounted at `target`. See umount2(2)."""
    check(syscall(SYS_umount2, _raw(target), flags))


@kernel_call
def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root mount of the caller's mount namespace. See pivot_root(2)."""
    check(syscall(SYS_pivot_root, _raw(new_root), _raw(put_old)))


@kernel_call
def chroot(path: str) -> None:
    """Change the caller's root directory, which is no wall by itself. See chroot(2)."""
    posix.chroot(path)


@kernel_call
def fsopen(fsname: str, flags: int) -> int:
    """Begin to make a mount of the file system type `fsname`; returns its context. See fsopen(2)."""
    return check(syscall(SYS_fsopen, _raw(fsname), flags))


@kernel_call
def fsconfig(fd: int, cmd: int, key: str | None, value: str | None, aux: int) -> None:
    """Set one option of a file system context, or create the file system. See fsconfig(2)."""
    check(syscall(SYS_fsconfig, fd, cmd, _raw(key), _raw(value), aux))


@kernel_call
def fsmount(fsfd: int, flags: int, attr_flags: int) -> int:
    """Turn a finished context into a mount that is not attached yet. See fsmount(2)."""
    return check(syscall(SYS_fsmount, fsfd, flags, attr_flags))


@kernel_call
def move_mount(from_dirfd: int, from_path: str, to_dirfd: int, to_path: str, flags: int) -> None:
    """Put a mount in its place. See move_mount(2)."""
    check(syscall(SYS_move_mount, from_dirfd, _raw(from_path), to_dirfd, _raw(to_path), flags))


@kernel_call
def open_tree(dirfd: int, path: str, flags: int) -> int:
    """Open a mount, or with OPEN_TREE_CLONE a copy of it that is not attached yet. See open_tree(2)."""
    return check(syscall(SYS_open_tree, dirfd, _raw(path), flags))


@kernel_call
def mount_setattr(
    dirfd: int, path: str, flags: int, attr_set: int, attr_clr: int, propagation: int, userns_fd: int
) -> None:
    """Change the attributes of a mount, or with AT_RECURSIVE of all below it. See mount_setattr(2)."""
    attributes = u64(attr_set, attr_clr, propagation, userns_fd)
    check(syscall(SYS_mount_setattr, dirfd, _raw(path), flags, attributes, long(len(attributes))))
