"""Leases: what a living container uses, so that no collection takes it away.

    leases/ID   {"manifest": digest, "layers": [diff ids, lowest first]}, with a shared lock on the file

The lock belongs to the open file: it lasts as long as the last process that inherited the descriptor, and the
kernel ends it even after kill -9. A lease without a lock is stale, and the next collection removes it.

This is on the hot lane. See flock(2); minicontainer/image/store/gc.py.
"""

from __future__ import annotations

import fcntl
import posix

from minicontainer.errors import Error, NotFound, SpecError
from minicontainer.image.store.place import layer_path
from minicontainer.oci.json_text import loads
from minicontainer.trace.json_lines import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 1 << 20  # bytes of a lease


class Lease:
    """A container's claim, for as long as the descriptor is open somewhere."""

    __slots__ = ("fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    def end(self) -> None:
        """Give the claim up."""
        remove(self.path)
        posix.close(self.fd)


def lease(root: str, container: str, manifest: str, layers: Sequence[str]) -> Lease:
    """Claim an image's unpacked layers. Raises NotFound when one has been taken away meanwhile; Error."""
    lock = open_shared(f"{root}/lock")  # no collection is at work until we have claimed
    try:
        for layer in layers:
            require(layer_path(root, layer))
        return write_lease(f"{root}/leases/{container}", dumps({"manifest": manifest, "layers": [*layers]}))
    finally:
        posix.close(lock)


def require(directory: str) -> None:
    """Refuse to lease what is not there. Raises NotFound."""
    try:
        posix.stat(directory)
    except OSError:
        raise NotFound(f"{directory} is not there any more", hint="pull the image again") from None


def write_lease(path: str, text: str) -> Lease:
    """Write and lock the file. Raises Error."""
    made = Lease(path, open_shared(path))
    try:
        posix.ftruncate(made.fd, 0)
        posix.write(made.fd, text.encode())
    except OSError as problem:
        made.end()
        raise cannot_write(path, problem) from problem
    return made


def open_shared(path: str) -> int:
    """Open a file, made if need be, and share its lock. Raises Error."""
    try:
        fd = posix.open(path, posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o600)
    except OSError as problem:
        raise cannot_write(path, problem) from problem
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def cannot_write(path: str, problem: OSError) -> Error:
    """Word an error."""
    return Error(f"cannot write {path}: {problem.strerror}")


def remove(path: str) -> None:
    """Remove a file, which may be gone."""
    try:  # noqa: SIM105 - contextlib costs more than the rest of this module
        posix.unlink(path)
    except FileNotFoundError:
        pass


def active(root: str) -> dict[str, tuple[str, list[str]]]:
    """Read the leases that somebody holds: container, (manifest, layers). Raises SpecError."""
    held = {}
    for name in names_in(f"{root}/leases"):
        text = held_text(f"{root}/leases/{name}")
        if text:  # or it is only just being written, and what it claims was there a moment ago
            held[name] = read_lease(text)
    return held


def names_in(directory: str) -> list[str]:
    """List a directory that may not be there yet."""
    try:
        return sorted(posix.listdir(directory))
    except FileNotFoundError:
        return []


def held_text(path: str) -> bytes:
    """Read a lease that somebody holds; nothing if nobody does."""
    try:
        fd = posix.open(path, posix.O_RDWR | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except FileNotFoundError:
        return b""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return posix.read(fd, LONGEST)
    else:
        return b""
    finally:
        posix.close(fd)


def read_lease(text: bytes) -> tuple[str, list[str]]:
    """Read what a lease claims. Raises SpecError."""
    try:
        document = loads(text, LONGEST, ours=True)
        return document["manifest"], [*document["layers"]]  # type: ignore[index] # the errors are caught
    except (KeyError, TypeError):
        raise SpecError("lease", f"{text[:200]!r} is none") from None
