"""The cgroup v2 file system: groups are directories, limits are files, and every call is on a descriptor.

    /sys/fs/cgroup                       the root, found in mountinfo: a hybrid host has it elsewhere
    +- cgroup.controllers                what may be given to the groups below
    +- cgroup.subtree_control            what is given to them
    +- minicontainer/ID                  one container: cgroup.procs, cgroup.kill, memory.max ...

The kernel refuses a value by the errno of write(2), and an `open(...).write()` that is buffered loses it:
every change goes through `write_control`, which keeps it.

See cgroups(7), <Documentation/admin-guide/cgroup-v2.rst>, proc(5) "/proc/PID/mountinfo".
"""

from __future__ import annotations

import errno
import posix
import select
import time

from minicontainer.linux.kernel import kernel_call
from minicontainer.linux.paths import CGROUP2_SUPER_MAGIC, filesystem_magic, mkdirat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

O_PATH, O_DIRECTORY = posix.O_PATH, posix.O_DIRECTORY  # some differ between machines
O_NOFOLLOW, O_CLOEXEC = posix.O_NOFOLLOW, posix.O_CLOEXEC
AT_REMOVEDIR = 0x200
POLLPRI = 2
LINKS_OF_A_LEAF = 2  # a directory of cgroupfs counts those below in st_nlink: their listing can be saved
ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def read_whole(fd: int) -> str:
    """Read a file of /proc or of a cgroup from its beginning, however often it was read before."""
    parts = []
    offset = 0
    while part := posix.pread(fd, 65536, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _read_file(path: str) -> str:
    fd = posix.open(path, posix.O_RDONLY | O_CLOEXEC)
    try:
        return read_whole(fd)
    finally:
        posix.close(fd)


def is_cgroup2(path: str) -> bool:
    """Tell whether a directory lies in a cgroup v2 tree."""
    try:
        fd = open_group(path)
    except OSError:
        return False
    try:
        return filesystem_magic(fd) == CGROUP2_SUPER_MAGIC
    finally:
        posix.close(fd)


def find_cgroup2() -> str | None:
    """Find where the cgroup v2 tree can be seen; None where it is not mounted.

    A mount may be covered by a later one: it counts only if its path still leads to a cgroup v2 file system.
    Of several, the last below /sys wins, where tools expect it.
    """
    found: str | None = None
    for line in _read_file("/proc/self/mountinfo").splitlines():
        if " - cgroup2 " not in line:
            continue
        fields = line.split(" ", 5)
        point = unescape(fields[4])
        if _device_at(point) == fields[2] and (found is None or point.startswith("/sys/")):
            found = point
    return found


def unescape(path: str) -> str:
    """Read a path as mountinfo writes it: blanks and the like by their octal numbers. See proc(5)."""
    for written, meant in ESCAPES if "\\" in path else ():
        path = path.replace(written, meant)
    return path


def _device_at(path: str) -> str:
    try:
        number = posix.stat(path).st_dev
    except OSError:
        return ""
    return f"{posix.major(number)}:{posix.minor(number)}"


def own_cgroup(pid: int | str = "self") -> str:
    """Say in which cgroup v2 group a process is: a path from the root that we see. Raises OSError."""
    for line in _read_file(f"/proc/{pid}/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:].removesuffix(" (deleted)")
    return "/"


def open_group(path: str, dirfd: int | None = None) -> int:
    """Open the directory of a group, for the calls below. Raises OSError."""
    return posix.open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, dir_fd=dirfd)


@kernel_call
def write_control(directory: int, name: str, value: str) -> None:
    """Write a value to a group's file with one write(2), so that the kernel's answer is about this value.

    `name` may lie in a group below (`sub/cgroup.procs`), never above. See cgroups(7).
    """
    if name.startswith("/") or ".." in name.split("/"):
        raise OSError(errno.EXDEV, "")
    fd = posix.open(name, posix.O_WRONLY | O_NOFOLLOW | O_CLOEXEC, dir_fd=directory)
    try:
        data = value.encode()
        if posix.write(fd, data) != len(data):
            raise OSError(errno.EIO, "")
    finally:
        posix.close(fd)


@kernel_call
def unlinkat(dirfd: int, pathname: str, flags: int) -> None:
    """Remove a directory (flags AT_REMOVEDIR) or another name. See unlinkat(2)."""
    if flags & AT_REMOVEDIR:
        posix.rmdir(pathname, dir_fd=dirfd)
    else:
        posix.unlink(pathname, dir_fd=dirfd)


def read_control(directory: int, name: str) -> str:
    """Read a group's file. Raises OSError: ENOENT without its controller, ENODEV when the group has gone."""
    fd = posix.open(name, posix.O_RDONLY | O_NOFOLLOW | O_CLOEXEC, dir_fd=directory)
    try:
        return read_whole(fd)
    finally:
        posix.close(fd)


def has_control(directory: int, name: str) -> bool:
    """Tell whether a group has this file."""
    try:
        posix.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def make_group(directory: int, name: str) -> int:
    """Make a group below another and open it. Raises KernelError: ENOENT when the parent has just gone."""
    mkdirat(directory, name, 0o755)
    return open_group(name, directory)


def remove_group(directory: int, name: str) -> None:
    """Remove a group that has neither processes nor groups below. Raises KernelError: EBUSY, ENOENT."""
    unlinkat(directory, name, AT_REMOVEDIR)


def groups_below(directory: int) -> Iterator[str]:
    """Name the groups directly below one."""
    if posix.fstat(directory).st_nlink == LINKS_OF_A_LEAF:
        return
    listing = posix.open(".", posix.O_RDONLY | O_DIRECTORY | O_CLOEXEC, dir_fd=directory)
    try:
        entries = list(posix.scandir(listing))
    finally:
        posix.close(listing)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield entry.name


def wait_for_event(directory: int, line: str, seconds: float) -> bool:
    """Wait until the group's `cgroup.events` holds `line` ("frozen 1"); False when that takes too long.

    The kernel wakes a poll(2) on the file at each change. A group that is gone has every event.
    """
    try:
        fd = posix.open("cgroup.events", posix.O_RDONLY | O_NOFOLLOW | O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return True
    try:
        watch = select.poll()
        watch.register(fd, POLLPRI)
        deadline = time.monotonic() + seconds
        while line not in read_whole(fd).splitlines():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            watch.poll(left * 1000)
    except OSError as problem:
        if problem.errno != errno.ENODEV:
            raise
    finally:
        posix.close(fd)
    return True
