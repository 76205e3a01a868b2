"""/dev: the device nodes that every container has, and those that its configuration lists.

Nodes are made with mknod, whatever the umask; where that is refused (a user namespace) the host's node is
bound onto an empty file. The directory is opened inside the root, so a /dev that is a link to the host's
stays harmless (CVE-2026-41579).

Implements runtime-spec, config-linux.md "Devices" and "Default Devices"; see mknod(2).
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import KernelError, Refused
from minicontainer.linux.cgroups import unlinkat
from minicontainer.linux.paths import (
    AT_SYMLINK_NOFOLLOW,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    S_IFBLK,
    S_IFCHR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    fchownat,
    make_directories,
    make_file,
    mknodat,
    open_in_root,
    openat2,
    symlinkat,
)
from minicontainer.runtime.mounting import attach, copy_of_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_DEVICES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
KINDS = {"c": S_IFCHR, "u": S_IFCHR, "b": S_IFBLK, "p": S_IFIFO}


def make_default_devices(root: int, listed: list[dict[str, Any]], bind: bool) -> None:
    """Make the default nodes that the configuration does not list, and the links that programs expect."""
    own = [device["path"] for device in listed]
    folder = make_directories(root, "/dev")
    try:
        for name, major, minor in DEFAULT_DEVICES:
            if "/dev/" + name not in own:
                make_node(folder, name, S_IFCHR | 0o666, posix.makedev(major, minor), "/dev/" + name, bind)
        for name, target in LINKS:
            link(target, folder, name)
        if posix.access("/proc/kcore", posix.F_OK):
            link("/proc/kcore", folder, "core")
        make_ptmx(folder)
    finally:
        posix.close(folder)


def make_ptmx(folder: int) -> None:
    """Let /dev/ptmx lead to the container's own terminals, never to the host's."""
    try:
        if posix.readlink("ptmx", dir_fd=folder) == "pts/ptmx":
            return
    except OSError as problem:
        if problem.errno not in (errno.ENOENT, errno.EINVAL):
            raise
        if problem.errno == errno.ENOENT:
            symlinkat("pts/ptmx", folder, "ptmx")
            return
    unlinkat(folder, "ptmx", 0)
    symlinkat("pts/ptmx", folder, "ptmx")


def make_listed_devices(root: int, devices: list[dict[str, Any]], bind: bool) -> None:
    """Make the nodes of `linux.devices`."""
    for device in devices:
        path: str = device["path"]
        folder_path, _, name = path.rpartition("/")
        permissions = device.get("fileMode")
        mode = KINDS[device["type"]] | (0o666 if permissions is None else permissions & 0o7777)
        number = posix.makedev(device.get("major") or 0, device.get("minor") or 0)
        folder = make_directories(root, folder_path)
        try:
            if make_node(folder, name, mode, number, path, bind):
                owner = (device.get("uid") or 0, device.get("gid") or 0)
                fchownat(folder, name, *owner, AT_SYMLINK_NOFOLLOW)
        finally:
            posix.close(folder)


def make_node(folder: int, name: str, mode: int, number: int, host: str, bind: bool) -> bool:
    """Make one node, or bind the host's one at `host` where that must be; tells whether it was made.

    An equal node that is there already is kept; anything else of that name is covered.
    """
    try:
        if not bind:
            mknodat(folder, name, mode, number)
            return True
    except KernelError as problem:
        if problem.errno == errno.EEXIST and same_node(folder, name, mode, number):
            return False
        if problem.errno not in (errno.EPERM, errno.EEXIST):
            raise
    bind_node(folder, name, mode, number, host)
    return False


def same_node(folder: int, name: str, mode: int, number: int) -> bool:
    """Tell whether this very device is there already."""
    there = posix.stat(name, dir_fd=folder, follow_symlinks=False)
    return there.st_mode & S_IFMT == mode & S_IFMT and there.st_rdev == number


def bind_node(folder: int, name: str, mode: int, number: int, host: str) -> None:
    """Bind the host's node onto an empty file."""
    source = copy_of_tree(host, False)
    status = posix.fstat(source)
    if status.st_mode & S_IFMT != mode & S_IFMT or status.st_rdev != number:
        raise Refused(f"{host} on this host is not the device that was asked for")
    target = make_file(folder, name)
    attach(source, target)
    posix.close(source)
    posix.close(target)


def link(target: str, folder: int, name: str) -> None:
    """Make a link unless something has that name."""
    try:
        symlinkat(target, folder, name)
    except KernelError as problem:
        if problem.errno != errno.EEXIST:
            raise


def open_dev(root: int) -> int:
    """Open the container's /dev directory."""
    return open_in_root(root, "/dev", O_PATH | O_DIRECTORY)


def console_target(root: int) -> int:
    """Open the file onto which the terminal is bound, /dev/console: made if missing, never through a link."""
    posix.close(make_directories(root, "/dev"))
    folder = open_dev(root)
    try:
        try:
            mknodat(folder, "console", 0o100600, 0)
        except KernelError as problem:
            if problem.errno != errno.EEXIST:
                raise
        target = openat2(folder, "console", O_PATH | O_NOFOLLOW)
    finally:
        posix.close(folder)
    if posix.fstat(target).st_mode & S_IFMT not in (S_IFREG, S_IFCHR):
        posix.close(target)
        raise Refused("/dev/console must be a file, it is not an ordinary one")
    return target
