"""What is looked up inside the container before the user's program starts: the program itself, and HOME.

Nothing here trusts the image: files are opened without following magic links, a FIFO cannot block, sizes are
bounded, and no name service of the image is ever consulted (CVE-2019-14271).

See execvp(3) for the search, passwd(5).
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import Error, KernelError
from minicontainer.linux.paths import O_CLOEXEC, S_IFDIR, S_IFMT, S_IFREG, openat2

LONGEST_PASSWD = 10 << 20
LEAST_FIELDS = 6  # the shell may be missing: passwd(5)


def environment(entries: list[str], uid: int, root: int) -> dict[str, str]:
    """Build the environment: the last of several equal names wins, and HOME is always there."""
    variables: dict[str, str] = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        variables[name] = value
    if not variables.get("HOME"):
        variables["HOME"] = home_of(uid, root)
    return variables


def home_of(uid: int, root: int) -> str:
    """Read a user's home directory from the container's /etc/passwd; `/` when it is not there."""
    for line in read_regular_file(root, "/etc/passwd").split("\n"):
        fields = line.split(":")
        if len(fields) >= LEAST_FIELDS and fields[2] == str(uid) and fields[5][:1] == "/":
            return fields[5]
    return "/"


def read_regular_file(root: int, path: str) -> str:
    """Read a file of the container; empty when it is missing, no regular file, or too long."""
    try:
        fd = openat2(root, path, posix.O_RDONLY | posix.O_NONBLOCK)
    except KernelError:
        return ""
    try:
        status = posix.fstat(fd)
        if status.st_mode & S_IFMT != S_IFREG or status.st_size > LONGEST_PASSWD:
            return ""
        return posix.read(fd, LONGEST_PASSWD).decode("utf-8", "replace")
    finally:
        posix.close(fd)


def find_program(name: str, path: str) -> str:
    """Find the program as execvp(3) would, or say in the words that callers match why it cannot start."""
    if "/" in name:
        problem = why_not_executable(name)
        if problem:
            raise Error(f'exec: "{name}": {problem}')
        return name
    for folder in path.split(":"):
        place = f"{folder}/{name}"
        if folder[:1] == "/" and posix.access(place, posix.X_OK) and not why_not_executable(place):
            return place
    raise Error(f'exec: "{name}": executable file not found in $PATH')


def why_not_executable(path: str) -> str:
    """Say why this user cannot execute a file; nothing when it can be tried."""
    try:
        status = posix.stat(path)
    except OSError as problem:
        if problem.errno == errno.EACCES:
            return "permission denied"
        return "no such file or directory" if problem.errno == errno.ENOENT else "cannot be opened"
    if status.st_mode & S_IFMT == S_IFDIR or not posix.access(path, posix.X_OK):
        return "permission denied"
    return ""


def open_root() -> int:
    """Open the directory that is `/` for this process now."""
    return posix.open("/", posix.O_RDONLY | posix.O_DIRECTORY | O_CLOEXEC)
