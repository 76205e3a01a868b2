"""Where `minicontainer run` keeps what ends with the boot: one directory below /run.

    /run/minicontainer/bundles/ID/config.json    while the container ID runs: an ordinary OCI bundle
    /run/minicontainer/scratch                   an empty directory; each command mounts its own file systems
                                                 on it, in a mount namespace where nobody else sees them
    /run/minicontainer/cache                     Docker's seccomp profile, already cut down to this machine

An ordinary user has $XDG_RUNTIME_DIR/minicontainer instead. The runtime's own state is elsewhere, and its own
affair.

See hier(7), "/run"; flock(2).
"""

from __future__ import annotations

import fcntl
import posix

from minicontainer.errors import Conflict, Error
from minicontainer.linux.namespaces import in_user_namespace
from minicontainer.runtime.container import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def home() -> str:
    """Say which directory this is for the user who calls."""
    if posix.geteuid() == 0 and not in_user_namespace():
        return "/run/minicontainer"
    directory = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    # No tmpfs of one's own (no login session): a directory in /tmp, which `make` takes only if it is this
    # user's.
    return f"{directory}/minicontainer" if directory else f"/tmp/minicontainer-{posix.getuid()}"  # noqa: S108


def make(path: str) -> str:
    """Make a directory, and those above it, for us alone. Raises Error."""
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        if posix.stat(path, follow_symlinks=False).st_uid != posix.geteuid():
            raise Error(f"{path} belongs to somebody else") from None
    except FileNotFoundError:
        make(path.rpartition("/")[0])
        return make(path)
    except OSError as problem:
        raise Error(f"cannot make {path}: {problem.strerror}") from problem
    return path


def write(path: str, text: str) -> None:
    """Write a file that nobody sees before it is whole."""
    beside = f"{path}.{posix.getpid()}"
    fd = posix.open(beside, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o600)
    try:
        posix.write(fd, text.encode("utf-8", "surrogateescape"))
    finally:
        posix.close(fd)
    posix.rename(beside, path)


def cached(name: str, source: str, make_text: Callable[[], str]) -> str:
    """Read a text from the cache, or make and keep it; it belongs to the version of the file `source`."""
    version = posix.stat(source)
    folder = f"{home()}/cache"
    path = f"{folder}/{name}-{version.st_size:x}-{version.st_mtime_ns:x}"
    try:
        return read_file(path).decode()
    except FileNotFoundError:
        text = make_text()
        make(folder)
        write(path, text)
        return text


class Bundle:
    """A bundle on the disk, locked for as long as its command lives; the kernel gives the lock up with us."""

    __slots__ = ("container_id", "lock", "path")

    def __init__(self, container_id: str) -> None:
        """Make the directory and lock it. Raises Conflict when a living command has it."""
        everything = open_locked(make(f"{home()}/bundles"), fcntl.LOCK_EX)
        try:
            self.container_id = container_id
            self.path = make(f"{home()}/bundles/{container_id}")
            self.lock = open_locked(self.path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"container {container_id} exists already", "choose another --name") from None
        finally:
            posix.close(everything)

    def write_config(self, text: str) -> None:
        """Write config.json."""
        write(f"{self.path}/config.json", text)

    def remove(self) -> None:
        """Take the bundle away, while nobody looks through the bundles."""
        everything = open_locked(f"{home()}/bundles", fcntl.LOCK_EX)
        try:
            remove_bundle(self.path)
        finally:
            posix.close(self.lock)
            posix.close(everything)


def open_locked(path: str, operation: int) -> int:
    """Open a directory and lock it. Raises BlockingIOError with LOCK_NB."""
    lock = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        fcntl.flock(lock, operation)
    except OSError:
        posix.close(lock)
        raise
    return lock


def remove_bundle(path: str) -> None:
    """Remove a bundle's directory with what is in it."""
    for name in posix.listdir(path):
        posix.unlink(f"{path}/{name}")
    posix.rmdir(path)


def remove_stale(known: Callable[[str], bool]) -> list[str]:
    """Remove the bundles whose command was killed; names the living and those that the runtime knows."""
    everything = open_locked(make(f"{home()}/bundles"), fcntl.LOCK_EX)
    left = []
    try:
        for name in posix.listdir(f"{home()}/bundles"):
            path = f"{home()}/bundles/{name}"
            try:
                lock = open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                left.append(name)
                continue
            if known(name):
                left.append(name)
            else:
                remove_bundle(path)
            posix.close(lock)
    finally:
        posix.close(everything)
    return left
