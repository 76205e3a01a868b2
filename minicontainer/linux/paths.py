"""Paths inside a root directory that may be hostile: only descriptors, never joined strings.

`openat2` with RESOLVE_IN_ROOT lets the kernel itself resolve every link and every `..` as if the directory
were `/`, and RESOLVE_NO_MAGICLINKS refuses links such as /proc/PID/root that leap out of any root. What was
opened so is then used by descriptor: nothing that is swapped afterwards can redirect it (CVE-2021-30465 and
its family).

See openat2(2), path_resolution(7), symlink(7).
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import KernelError
from minicontainer.linux.kernel import buffer, check, kernel_call, last_errno, syscall
from minicontainer.linux.numbers import SYS_fstatfs, SYS_openat2

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 1, 2, 4
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 8, 16
O_PATH, O_DIRECTORY = posix.O_PATH, posix.O_DIRECTORY  # some differ between machines
O_NOFOLLOW, O_CLOEXEC = posix.O_NOFOLLOW, posix.O_CLOEXEC
S_IFMT, S_IFDIR, S_IFREG, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK = (
    0o170000, 0o040000, 0o100000, 0o120000, 0o020000, 0o060000, 0o010000, 0o140000,
)  # fmt: skip
NULL_DEVICE = posix.makedev(1, 3)
PROC_SUPER_MAGIC, DEVPTS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC = 0x9FA0, 0x1CD1, 0x794C7630
CGROUP2_SUPER_MAGIC = 0x63677270
AT_SYMLINK_NOFOLLOW = 0x100
AGAIN = 128  # how often a resolution that raced with a rename is tried again


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = RESOLVE_IN_ROOT) -> int:
    """Open `path` as if the directory `dirfd` were the root. Raises KernelError. See openat2(2)."""
    fd = try_openat2(dirfd, path, flags, mode, resolve)
    if fd < 0:
        raise KernelError(-fd, "openat2", (dirfd, path, flags))
    return fd


def try_openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = RESOLVE_IN_ROOT) -> int:
    """Open as `openat2` does, but answer a refusal with -errno: where it is usual, raising costs more."""
    # struct open_how: three numbers of 64 bits
    how = flags | O_CLOEXEC | mode << 64 | (resolve | RESOLVE_NO_MAGICLINKS) << 128
    raw, packed = path.encode("utf-8", "surrogateescape"), how.to_bytes(24, "little")
    for _ in range(AGAIN):
        fd: int = syscall(SYS_openat2, dirfd, raw, packed, 24)
        if fd >= 0:
            return fd
        if last_errno() != errno.EAGAIN:
            break
    return -last_errno()


def open_in_root(root: int, path: str, flags: int = O_PATH) -> int:
    """Open what lies at `path` inside the root directory `root`; links and `..` stay inside."""
    return openat2(root, path, flags)


def exists(path: str) -> bool:
    """Tell whether a path of our own leads anywhere."""
    try:
        posix.stat(path)
    except FileNotFoundError:
        return False
    return True


def exists_in_root(root: int, path: str) -> bool:
    """Tell whether `path` leads anywhere inside the root."""
    fd = try_openat2(root, path, O_PATH)
    if fd >= 0:
        posix.close(fd)
        return True
    if -fd in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return False
    raise KernelError(-fd, "openat2", (root, path, O_PATH))


def file_type(fd: int) -> int:
    """Say what a descriptor is: S_IFDIR, S_IFREG, S_IFLNK, ..."""
    return posix.fstat(fd).st_mode & S_IFMT


def filesystem_magic(fd: int) -> int:
    """Say on which type of file system a descriptor lies (`f_type`). See statfs(2)."""
    answer = buffer(120)
    check(syscall(SYS_fstatfs, fd, answer))
    return int.from_bytes(bytes(answer)[:8], "little")


@kernel_call
def mkdirat(dirfd: int, path: str, mode: int) -> None:
    """Make a directory. See mkdirat(2)."""
    posix.mkdir(path, mode, dir_fd=dirfd)


@kernel_call
def mknodat(dirfd: int, path: str, mode: int, dev: int) -> None:
    """Make a device node, a FIFO or a file. See mknodat(2)."""
    posix.mknod(path, mode, dev, dir_fd=dirfd)


@kernel_call
def symlinkat(target: str, newdirfd: int, linkpath: str) -> None:
    """Make a symbolic link. See symlinkat(2)."""
    posix.symlink(target, linkpath, dir_fd=newdirfd)


@kernel_call
def linkat(olddirfd: int, oldpath: str, newdirfd: int, newpath: str, flags: int) -> None:
    """Give a file one more name; a symbolic link is not followed. See linkat(2)."""
    posix.link(oldpath, newpath, src_dir_fd=olddirfd, dst_dir_fd=newdirfd, follow_symlinks=bool(flags))


@kernel_call
def fchmod(fd: int, mode: int) -> None:
    """Change the permissions of an open file. See fchmod(2)."""
    posix.fchmod(fd, mode)


@kernel_call
def fchown(descriptor: int, uid: int, gid: int) -> None:
    """Change the owner of an open file."""
    posix.fchown(descriptor, uid, gid)


@kernel_call
def fchownat(dirfd: int, path: str, owner: int, group: int, flags: int) -> None:
    """Change the owner of a name; with AT_SYMLINK_NOFOLLOW of a link itself. See fchownat(2)."""
    posix.chown(path, owner, group, dir_fd=dirfd, follow_symlinks=not flags & AT_SYMLINK_NOFOLLOW)


@kernel_call
def fsetxattr(fd: int, name: str, value: bytes) -> None:
    """Set an extended attribute of an open file. See fsetxattr(2)."""
    posix.setxattr(fd, name, value)


def make_directories(root: int, path: str, mode: int = 0o755) -> int:
    """Open the directory `path` inside the root, making what is missing of it; returns an O_PATH descriptor.

    Existing parts may be links: they are resolved inside the root. A link that leads nowhere inside it is
    refused with ENOENT or EEXIST, as mkdir(2) would.
    """
    fd = try_openat2(root, path or "/", O_PATH | O_DIRECTORY)
    if fd >= 0:
        return fd
    if fd != -errno.ENOENT:
        raise KernelError(-fd, "openat2", (root, path, O_PATH | O_DIRECTORY))
    # Resolved from the root at every level: `..` and links in the middle must see the whole path.
    above, _, name = path.rstrip("/").rpartition("/")
    parent = make_directories(root, above, mode)
    try:
        if name in (".", ".."):
            return open_in_root(root, path, O_PATH | O_DIRECTORY)
        return _make_or_enter(parent, name, mode)
    finally:
        posix.close(parent)


def _make_or_enter(parent: int, name: str, mode: int) -> int:
    try:
        mkdirat(parent, name, mode)
    except KernelError as problem:
        if problem.errno != errno.EEXIST:
            raise
    return openat2(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_BENEATH)


def make_file(root: int, path: str, mode: int = 0o644) -> int:
    """Open the file `path` inside the root, made empty if it is missing; returns an O_PATH descriptor."""
    fd = try_openat2(root, path, O_PATH)
    if fd >= 0:
        return fd
    if fd != -errno.ENOENT:
        raise KernelError(-fd, "openat2", (root, path, O_PATH))
    folder, _, name = path.rstrip("/").rpartition("/")
    parent = make_directories(root, folder)
    try:
        mknodat(parent, name, S_IFREG | mode, 0)
        return openat2(parent, name, O_PATH | O_NOFOLLOW, 0, RESOLVE_BENEATH)
    finally:
        posix.close(parent)
