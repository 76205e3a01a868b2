"""The directories in which entries are made, kept open: most entries lie beside the one before.

The kernel resolves a path once, as if the layer's directory were `/`: links that the same layer has made lead
to where they would lead in a container, and never out of it. From then on the descriptor is used, which
nobody can redirect. The cache is dropped whenever a directory or a link is replaced.

See openat2(2), RESOLVE_IN_ROOT.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable

from minicontainer.errors import Refused
from minicontainer.linux.paths import O_DIRECTORY, try_openat2

MOST_OPEN = 1000
MISSING = (errno.ENOENT, errno.ENOTDIR)
MakeDirectory = Callable[[int, bytes, bytes], int]


def components(path: bytes) -> list[bytes]:
    """Take a name of the archive apart; it is relative to the root, however it begins. Raises Refused."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise Refused('the name of an entry must not lead upwards ("..")')
    return parts


class Parents:
    """Opens directories by the names that the archive has for them, and keeps them open."""

    def __init__(self, root: int, make: MakeDirectory) -> None:
        """Begin in `root`; `make(parent, name, path)` makes a directory that has no entry, and opens it."""
        self._root, self._make = root, make
        self._top = os.readlink(b"/proc/self/fd/%d" % root).rstrip(b"/") + b"/"
        self._open: dict[bytes, int] = {}
        self._stale = False
        self._most = max(8, min(MOST_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))

    def forget(self) -> None:
        """Note that a path may lead elsewhere now."""
        self._stale = True

    def trim(self) -> None:
        """Close descriptors that are stale or too many: to be called when none of them is in use."""
        if self._stale or len(self._open) > self._most:
            self.close()
            self._stale = False

    def close(self) -> None:
        """Close all."""
        for folder in self._open.values():
            os.close(folder)
        self._open.clear()

    def keep(self, name: bytes, folder: int) -> None:
        """Take over an open directory."""
        known = self._open.pop(name, None)
        if known is not None:
            os.close(known)
        self._open[name] = folder

    def find(self, name: bytes) -> int:
        """Open a directory, made with all above it if it is missing. Raises Refused."""
        folder = self._open.get(name)
        if folder is None:
            folder = self._open[name] = self._enter(components(name))
        return folder

    def find_existing(self, name: bytes) -> int | None:
        """Open a directory, None if there is none; `..` may be in the name, and leads to the root at most."""
        folder = self._open.get(name)
        if folder is None:
            folder = self._try(name, (*MISSING, errno.ELOOP))
            if folder < 0:
                return None
            self._open[name] = folder
        return folder

    def true_name(self, folder: int, name: bytes) -> bytes:
        """Name an open directory without the links on the way to it, which may be replaced yet."""
        try:
            place = os.readlink(b"/proc/self/fd/%d" % folder)
        except OSError:  # it is deeper than a path is long: then the archive's own name has to do
            return name
        return place.removeprefix(self._top) if place.startswith(self._top) else name

    def _try(self, name: bytes, usual: tuple[int, ...] = MISSING) -> int:
        path = name.decode("utf-8", "surrogateescape") or "/"
        folder = try_openat2(self._root, path, os.O_RDONLY | O_DIRECTORY)
        if folder < 0 and -folder not in usual:
            raise OSError(-folder, os.strerror(-folder))
        return folder

    def _enter(self, parts: list[bytes]) -> int:
        missing = 0
        while (folder := self._try(b"/".join(parts[: len(parts) - missing]))) < 0:
            missing += 1
        for depth in range(len(parts) - missing, len(parts)):
            above = folder
            try:
                folder = self._make(above, parts[depth], b"/".join(parts[: depth + 1]))
            finally:
                os.close(above)
        return folder
