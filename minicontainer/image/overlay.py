"""Overlay mounts: read-only layers stacked into one tree, and one writable directory on top.

Since Linux 6.8 the layers are given one by one (`lowerdir+`). Before, all options are one text of at most a
page: there the layers are named by the numbers of their descriptors, relative to /proc/self/fd, so that even
as many as the kernel can stack fit.

See Documentation/filesystems/overlayfs.rst of the kernel; mount(2), fsopen(2), fsconfig(2).
"""

from __future__ import annotations

import posix

from minicontainer.errors import KernelError, Refused, Unsupported
from minicontainer.linux import mounts as m
from minicontainer.linux.paths import O_CLOEXEC, O_DIRECTORY, O_PATH, fchmod, fchown, fsetxattr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LAYERS = 500  # OVL_MAX_STACK
MAX_VALUE = 255  # bytes of one value given to fsconfig(2)
MAX_DATA = 4095  # bytes of all options given to mount(2): a page and its last NUL
HAS_LOWERDIR_PLUS = tuple(map(int, posix.uname().release.partition("-")[0].split(".")[:2])) >= (6, 8)
# Kernels are built with other defaults. What these three write into the upper directory, no layer can tell.
PLAIN = ("redirect_dir=nofollow", "metacopy=off", "index=off")


def mount_overlay(  # noqa: PLR0913 - the directories and how
    target: str,
    lowers: Sequence[str],
    upper: str = "",
    work: str = "",
    *,
    options: Sequence[str] = (),
    attributes: int = 0,
    one_by_one: bool = HAS_LOWERDIR_PLUS,
) -> None:
    """Mount the directories `lowers`, the topmost first, and `upper` above them at `target`.

    Without `upper` the mount is read-only. `options` are words as "volatile" and "userxattr", `attributes`
    MOUNT_ATTR_NOSUID and the like. Raises Unsupported for more layers than can be stacked, KernelError.
    """
    lowers = list(lowers)
    if len(lowers) > MAX_LAYERS:
        raise Unsupported(
            f"{len(lowers)} layers cannot be stacked: the kernel's overlay file system takes {MAX_LAYERS}"
        )
    if not upper:
        attributes |= m.MOUNT_ATTR_RDONLY
        if len(lowers) == 1:
            lowers.append(_empty(target))
    words = [*PLAIN, *options]
    writable = [("upperdir", upper), ("workdir", work)] if upper else []
    mount = _mount_one_by_one if one_by_one else _mount_at_once
    mount(target, lowers, writable, words, attributes)


def prepare_upper(upper: str, below: str) -> None:
    """Give a new upper directory what its tree's root has without it: that of the topmost layer, `below`."""
    status = posix.stat(below)
    root = posix.open(upper, O_DIRECTORY | O_CLOEXEC)
    try:
        for name in posix.listxattr(below):
            if not name.startswith(("trusted.overlay.", "user.overlay.")):
                fsetxattr(root, name, posix.getxattr(below, name))
        fchown(root, status.st_uid, status.st_gid)
        fchmod(root, status.st_mode & 0o7777)
        posix.utime(root, ns=(status.st_mtime_ns, status.st_mtime_ns))
    finally:
        posix.close(root)


def _empty(target: str) -> str:
    """Find a second layer, as the kernel wants two: the directory that will be covered, if it is empty."""
    if posix.listdir(target):
        raise Refused(f"{target} is not empty: one layer alone can only be mounted on an empty directory")
    return target


def _mount_one_by_one(
    target: str,
    lowers: Sequence[str],
    writable: Sequence[tuple[str, str]],
    words: Sequence[str],
    attributes: int,
) -> None:
    directories = [("lowerdir+", lower) for lower in lowers] + list(writable)
    opened: list[int] = [m.fsopen("overlay", m.FSOPEN_CLOEXEC)]
    context = opened[0]
    try:
        m.fsconfig(context, m.FSCONFIG_SET_STRING, "source", "overlay", 0)
        for word in words:
            key, _, value = word.partition("=")
            command = m.FSCONFIG_SET_STRING if value else m.FSCONFIG_SET_FLAG
            m.fsconfig(context, command, key, value or None, 0)
        for key, path in directories:
            m.fsconfig(context, m.FSCONFIG_SET_STRING, key, _short(path, opened), 0)
        m.fsconfig(context, m.FSCONFIG_CMD_CREATE, None, None, 0)
        opened.append(m.fsmount(context, m.FSMOUNT_CLOEXEC, attributes))
        m.move_mount(opened[-1], "", m.AT_FDCWD, target, m.MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        for fd in opened:
            posix.close(fd)


def _short(path: str, opened: list[int]) -> str:
    """Name a directory so that fsconfig(2) takes it: a long path, or one to be unescaped, by a descriptor."""
    if len(path) <= MAX_VALUE and path.isascii() and "\\" not in path:
        return path
    opened.append(_directory(path))
    return f"/proc/self/fd/{opened[-1]}"


def _mount_at_once(
    target: str,
    lowers: Sequence[str],
    writable: Sequence[tuple[str, str]],
    words: Sequence[str],
    attributes: int,
) -> None:
    opened: list[int] = []
    try:
        for path in [".", target, *lowers, *(path for _, path in writable)]:
            opened.append(_directory(path))
        here, there, *layers = map(str, opened)
        names = ":".join(layers[: len(lowers)])
        above = [f"{key}={fd}" for (key, _), fd in zip(writable, layers[len(lowers) :], strict=True)]
        data = ",".join([f"lowerdir={names}", *above, *words])
        if len(data) > MAX_DATA:
            raise Unsupported(
                f"{len(lowers)} layers cannot be stacked: their options take {len(data)} bytes, "
                f"and this kernel's mount(2) takes {MAX_DATA}"
            )
        posix.chdir("/proc/self/fd")
        try:
            m.mount("overlay", there, "overlay", attributes, data)
        finally:
            posix.fchdir(int(here))
    finally:
        for fd in opened:
            posix.close(fd)


def _directory(path: str) -> int:
    flags = O_PATH | O_DIRECTORY | O_CLOEXEC
    try:
        return posix.open(path, flags)
    except OSError as problem:
        raise KernelError(problem.errno or 0, "open", (path, flags)) from None
