"""tmpcopyup: what a tmpfs hides is copied into it first: the directory looks as before and can be written.

Everything is kept: owners, modes, times, links (also several names of one file), devices and extended
attributes. Only descriptors are followed, so that nothing in the image can lead the copy out of the
directory.

See runc(8) "tmpcopyup"; openat(2), fgetxattr(2).
"""

from __future__ import annotations

import posix

from minicontainer.linux.paths import (
    AT_SYMLINK_NOFOLLOW,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    fchmod,
    fchown,
    fchownat,
    fsetxattr,
    linkat,
    mkdirat,
    mknodat,
    openat2,
    symlinkat,
)

CHUNK = 1 << 20


def copy_tree(root: int, path: str, target: int) -> None:
    """Copy what is in the directory `path` of the root into the directory `target`."""
    source = openat2(root, path, posix.O_RDONLY | O_DIRECTORY)
    # A mount's own descriptor is an O_PATH one, through which nothing can be changed.
    top = posix.open(".", posix.O_RDONLY | O_DIRECTORY | O_CLOEXEC, dir_fd=target)
    try:
        copy_directory(source, top, {}, top, "")
        copy_attributes(source, top)
    finally:
        posix.close(source)
        posix.close(top)


def copy_directory(
    source: int, target: int, copied: dict[tuple[int, int], str], top: int, where: str
) -> None:
    """Copy the entries of one directory; `copied` knows the files that have several names."""
    for name in posix.listdir(source):
        status = posix.stat(name, dir_fd=source, follow_symlinks=False)
        known = copied.get((status.st_dev, status.st_ino))
        if known is not None:
            linkat(top, known, target, name, 0)
            continue
        kind = status.st_mode & S_IFMT
        if status.st_nlink > 1 and kind != S_IFDIR:
            copied[status.st_dev, status.st_ino] = where + name
        if kind == S_IFDIR:
            copy_subdirectory(source, target, name, copied, top, where)
        elif kind == S_IFREG:
            copy_file(source, target, name)
        elif kind == S_IFLNK:
            symlinkat(posix.readlink(name, dir_fd=source), target, name)
            fchownat(target, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW)
        else:
            mknodat(target, name, status.st_mode, status.st_rdev)
            fchownat(target, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW)


def copy_subdirectory(
    source: int, target: int, name: str, copied: dict[tuple[int, int], str], top: int, where: str
) -> None:
    """Copy one directory below."""
    mkdirat(target, name, 0o700)
    flags = posix.O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
    inner_source = posix.open(name, flags, dir_fd=source)
    inner_target = posix.open(name, flags, dir_fd=target)
    try:
        copy_directory(inner_source, inner_target, copied, top, f"{where}{name}/")
        copy_attributes(inner_source, inner_target)
    finally:
        posix.close(inner_source)
        posix.close(inner_target)


def copy_file(source: int, target: int, name: str) -> None:
    """Copy one regular file."""
    reading = posix.open(name, posix.O_RDONLY | O_NOFOLLOW | O_CLOEXEC, dir_fd=source)
    writing = posix.open(
        name, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | O_CLOEXEC, 0o600, dir_fd=target
    )
    try:
        while posix.sendfile(writing, reading, None, CHUNK):
            pass
        copy_attributes(reading, writing)
    finally:
        posix.close(reading)
        posix.close(writing)


def copy_attributes(source: int, target: int) -> None:
    """Copy owner, mode, extended attributes and times, in the order in which none undoes another."""
    status = posix.fstat(source)
    fchown(target, status.st_uid, status.st_gid)
    fchmod(target, status.st_mode & 0o7777)
    for name in posix.listxattr(source):
        fsetxattr(target, name, posix.getxattr(source, name))
    posix.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
