"""A container as disk and kernel know it: one directory of files, and what the kernel says of its process.

    <state root>/<id>/state.json    written before the first side effect, then again when the process is known
                      config.json   the configuration as it was at `create`; later changes do not count
                      start         a FIFO: the first process reads it while it waits to be started
                      result        a FIFO: what goes wrong between `start` and execve

The status is never stored: a process that reads `start` is `created`; one that lives and does not, is
`running`. Whatever dies half-way leaves enough here for `delete --force` to clear all of it.

Implements runtime-spec, runtime.md "State"; see fifo(7), flock(2), pidfd_open(2).
"""

from __future__ import annotations

import errno
import fcntl
import posix

from minicontainer.errors import Conflict, Error, KernelError, NotFound, SpecError
from minicontainer.linux.process import pidfd_open, start_time
from minicontainer.oci.identifier import check_id
from minicontainer.oci.json_text import loads
from minicontainer.trace.json_lines import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHAPE = (("id", str), ("bundle", str), ("cgroup", str), ("pid", int))  # of what is read back, at the least
CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"
SPEC_VERSION = "1.2.1"
RESERVED = ("interpreter", ".empty", ".seccomp")  # what else lies beside the containers' directories


class Container:
    """One container's directory, and its record in state.json."""

    __slots__ = ("identifier", "lock", "path", "record", "root")

    def __init__(self, root: str, identifier: str) -> None:
        check_id(identifier)
        if identifier in RESERVED:
            raise SpecError("", f'invalid container ID format: "{identifier}" is reserved')
        self.root = root
        self.identifier = identifier
        self.path = f"{root}/{identifier}"
        self.record: dict[str, Any] = {}
        self.lock = -1

    @property
    def pid(self) -> int:
        """The first process, 0 before there is one."""
        return int(self.record.get("pid") or 0)

    def reserve(self) -> None:
        """Take the id: exactly one caller can make its directory. Raises Conflict."""
        make_private_directories(self.root)
        try:
            posix.mkdir(self.path, 0o711)
        except FileExistsError:
            raise Conflict(f"container with given ID already exists: {self.identifier}") from None
        self.take_lock()

    def take_lock(self) -> None:
        """Keep other commands off this container until this process ends. Raises NotFound."""
        while True:
            try:
                self.lock = posix.open(self.path, posix.O_RDONLY | posix.O_CLOEXEC)
            except OSError:
                raise NotFound(f"container does not exist: {self.identifier}") from None
            if self.lock_again():
                return
            # Deleted while we waited: the name may by now be that of another container.
            posix.close(self.lock)
            self.lock = -1

    def unlock(self) -> None:
        """Let other commands at this container again."""
        fcntl.flock(self.lock, fcntl.LOCK_UN)

    def lock_again(self) -> bool:
        """Wait for the lock of this very directory; tells whether it has not been deleted meanwhile."""
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        return posix.fstat(self.lock).st_nlink > 0

    def save(self, **changes: object) -> None:
        """Write state.json beside the old one, then rename it, so that a reader sees one or the other."""
        self.record.update(changes)
        write_file(f"{self.path}/state.json.new", dumps(self.record).encode())
        posix.rename(f"{self.path}/state.json.new", f"{self.path}/state.json")

    def load(self) -> None:
        """Read state.json. Raises NotFound, or Error when it is damaged."""
        try:
            raw = read_file(f"{self.path}/state.json")
        except FileNotFoundError:
            raise NotFound(f"container does not exist: {self.identifier}") from None
        record = loads(raw, ours=True)
        if not isinstance(record, dict) or any(type(record.get(key)) is not kind for key, kind in SHAPE):
            raise Error(f"the state of container {self.identifier} is damaged")
        self.record = record

    def config(self) -> dict[str, Any]:
        """Read the configuration that the container was created with."""
        config = loads(read_file(f"{self.path}/config.json"))
        if not isinstance(config, dict):
            raise Error(f"the configuration of container {self.identifier} is damaged")
        return config

    def config_mentions(self, word: bytes) -> bool:
        """Tell whether the configuration can have a key: without parsing it, so True may be a mistake."""
        raw = read_file(f"{self.path}/config.json")
        return word in raw or b"\\u" in raw  # a letter may be written as its number

    def is_alive(self) -> bool:
        """Tell whether the first process still lives, and is the one that was recorded: pids come again."""
        if not self.pid:
            return False
        try:
            fd = posix.open(f"/proc/{self.pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError:
            return False
        try:
            stat = posix.read(fd, 4096)
        except OSError:
            return False
        finally:
            posix.close(fd)
        fields = stat[stat.rindex(b")") + 2 :].split()
        return fields[0] not in (b"Z", b"X") and int(fields[19]) == self.record.get("startTime")

    def is_waiting(self) -> bool:
        """Tell whether the first process waits to be started: whether anybody reads the FIFO `start`."""
        try:
            fd = posix.open(f"{self.path}/start", posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
        except OSError as problem:
            if problem.errno in (errno.ENXIO, errno.ENOENT):
                return False
            raise
        posix.close(fd)
        return True

    def status(self) -> str:
        """Say the status, from the kernel."""
        if not self.pid:
            return CREATING if self.record.get("creator") and creator_lives(self.record) else STOPPED
        if not self.is_alive():
            return STOPPED
        # First of all: who is frozen before it was started could not answer to `start` either.
        if self.record.get("cgroup"):
            from minicontainer.runtime.cgroup_processes import is_frozen

            if is_frozen(self.record["cgroup"]):
                return PAUSED
        return CREATED if self.is_waiting() else RUNNING

    def open_process(self) -> int:
        """Open a handle to the first process, proven to be the recorded one. Conflict when it is gone."""
        try:
            handle = pidfd_open(self.pid, 0)
        except KernelError:
            raise Conflict("container not running") from None
        if not self.is_alive():
            posix.close(handle)
            raise Conflict("container not running")
        return handle


def open_container(root: str, identifier: str, lock: bool = False) -> Container:
    """Find a container by its id. Raises NotFound, SpecError for what cannot be one."""
    container = Container(root, identifier)
    if lock:
        container.take_lock()
    container.load()
    return container


def creator_lives(record: dict[str, Any]) -> bool:
    """Tell whether the process that is creating a container is still at it."""
    try:
        return start_time(record["creator"]) == record.get("creatorStartTime")
    except (OSError, ValueError):
        return False


def make_private_directories(path: str) -> None:
    """Make a directory and its parents, which other users may pass through but not list."""
    try:
        posix.mkdir(path, 0o711)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_private_directories(path.rpartition("/")[0] or "/")
        make_private_directories(path)


def write_file(path: str, content: bytes) -> None:
    """Write a file that only its owner may read."""
    fd = posix.open(
        path, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o600
    )
    try:
        write_all(fd, content)
    finally:
        posix.close(fd)


def write_at_once(path: str, content: bytes, mode: int = 0o600) -> None:
    """Write a file that gets its name when it is whole: killed before, we leave nothing that nobody knows of.

    open(2) "O_TMPFILE"
    """
    folder, _, name = path.rpartition("/")
    try:
        fd = posix.open(folder or ".", posix.O_WRONLY | posix.O_TMPFILE | posix.O_CLOEXEC, mode)
    except OSError as problem:
        if problem.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
        write_file(f"{folder or '.'}/.{name}", content)  # a file system without files that have no name
        posix.rename(f"{folder or '.'}/.{name}", path)
        return
    try:
        write_all(fd, content)
        give_name(fd, path)
    finally:
        posix.close(fd)


def give_name(fd: int, path: str) -> None:
    """Link a file that has no name into its place; what had the name before loses it."""
    while True:
        try:
            # With a descriptor given, though the path needs none: without one Python calls link(2).
            posix.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
        except FileExistsError:
            remove_file(path)
        else:
            return


def write_all(fd: int, content: bytes) -> None:
    """Write until all of it is written."""
    while content:
        content = content[posix.write(fd, content) :]


def remove_file(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return


def read_file(path: str) -> bytes:
    """Read a whole file."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        parts = []
        while part := posix.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    finally:
        posix.close(fd)
