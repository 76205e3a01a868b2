"""Masked and read-only paths: parts of /proc and /sys that a container may not see or not change.

A masked file becomes /dev/null, a masked directory an empty read-only tmpfs; a missing path is skipped. What
covers a file is proven to be the null device before it is used (CVE-2025-31133), and every target is held by
descriptor.

Implements runtime-spec, config-linux.md "Masked Paths" and "Readonly Paths".
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import KernelError, Refused
from minicontainer.linux import mounts as m
from minicontainer.linux.paths import (
    NULL_DEVICE,
    O_NOFOLLOW,
    O_PATH,
    S_IFCHR,
    S_IFDIR,
    S_IFMT,
    file_type,
    try_openat2,
)
from minicontainer.runtime.mounting import attach, new_filesystem

EMPTY = m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC
COPY = m.OPEN_TREE_CLONE | m.OPEN_TREE_CLOEXEC | m.AT_EMPTY_PATH


def open_null() -> int:
    """Open the host's null device, proven to be it, to cover files with."""
    fd = posix.open("/dev/null", O_PATH | posix.O_CLOEXEC)
    status = posix.fstat(fd)
    if status.st_mode & S_IFMT != S_IFCHR or status.st_rdev != NULL_DEVICE:
        raise Refused("/dev/null on this host is not the null device")
    return fd


def find(root: int, path: str) -> int:
    """Open a path of the container without following a link at its end; negative when there is nothing."""
    fd = try_openat2(root, path, O_PATH | O_NOFOLLOW)
    if fd < 0 and -fd not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
        raise KernelError(-fd, "openat2", (root, path, O_PATH | O_NOFOLLOW))
    return fd


def mask_paths(root: int, paths: list[str]) -> None:
    """Cover each path, so that the container sees nothing there."""
    null = empty = -1
    for path in paths:
        target = find(root, path)
        if target < 0:
            continue
        if file_type(target) == S_IFDIR:
            empty = cover_directory(target, empty)
        else:
            null = open_null() if null < 0 else null
            cover_file(target, null)
        posix.close(target)
    for fd in (null, empty):
        if fd >= 0:
            posix.close(fd)


def cover_file(target: int, null: int) -> None:
    """Bind the null device onto a file."""
    copy = m.open_tree(null, "", COPY)
    attach(copy, target)
    posix.close(copy)


def cover_directory(target: int, empty: int) -> int:
    """Put an empty tmpfs onto a directory: the same one on all, of which `empty` is an attached copy."""
    if empty < 0:
        copy = new_filesystem("tmpfs", "tmpfs", [("size", "0"), ("nr_inodes", "1"), ("mode", "755")], EMPTY)
        attach(copy, target)
        return copy
    copy = m.open_tree(empty, "", COPY)
    attach(copy, target)
    posix.close(copy)
    return empty


def make_paths_readonly(root: int, paths: list[str]) -> None:
    """Cover each path with a read-only copy of itself."""
    for path in paths:
        target = find(root, path)
        if target < 0:
            continue
        copy = m.open_tree(target, "", COPY | m.AT_RECURSIVE)
        m.mount_setattr(copy, "", m.AT_EMPTY_PATH | m.AT_RECURSIVE, m.MOUNT_ATTR_RDONLY, 0, 0, 0)
        attach(copy, target)
        posix.close(copy)
        posix.close(target)
