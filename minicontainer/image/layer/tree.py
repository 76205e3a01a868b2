"""A directory tree, read in an order that depends on nothing but its names.

    Tree --walk--> Node, Node, ...     parents before children, brothers sorted as bytes

The tree may be hostile, and somebody may change it meanwhile. So directories are opened beneath the root
without following links, and a file that is not what it was when it was looked at is an error.

See openat2(2), xattr(7).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from types import TracebackType

from minicontainer.errors import Conflict, Error
from minicontainer.image.layer.errors import reason, shown
from minicontainer.linux.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

PIECE = 1 << 20
# Labels of this machine's policy and signatures of its inodes: both would be wrong anywhere else.
OF_THIS_MACHINE = (b"security.selinux", b"security.ima", b"security.evm", b"system.nfs4_acl")
OVERLAY = (b"trusted.overlay.", b"user.overlay.")


class Tree:
    """The tree below a directory descriptor, which stays the caller's."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._path, self._folder = b"", os.dup(root)

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _problem: BaseException | None, _trace: TracebackType | None
    ) -> None:
        os.close(self._folder)

    def folder(self, path: bytes) -> int:
        """Open a directory of the tree; the descriptor is good until the next call."""
        if path != self._path:
            name, flags = path.decode("utf-8", "surrogateescape") or ".", os.O_RDONLY | os.O_DIRECTORY
            folder = openat2(self._root, name, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
            os.close(self._folder)
            self._path, self._folder = path, folder
        return self._folder

    def find(self, path: bytes) -> Node | None:
        """Look at what a directory of the tree has under a name, if anything; the root's path is empty."""
        parent, _, name = path.rpartition(b"/")
        with reading(path):
            folder = self.folder(parent)
            try:
                return Node(self, path, os.stat(name or b".", dir_fd=folder, follow_symlinks=False))
            except FileNotFoundError:
                return None

    def node(self, path: bytes) -> Node:
        """Look at what must be there. Raises Conflict when it is not."""
        node = self.find(path)
        if node is None:
            raise Conflict(f"{shown(path)} vanished while its directory was read")
        return node

    def walk(self) -> Iterator[Node]:
        """Give the root and everything below it."""
        waiting = [b""]
        while waiting:
            node = self.node(waiting.pop())
            yield node
            if node.is_directory:
                waiting += reversed(node.children())


class Node:
    """One entry of a tree: its path, and what stat(2) said of it."""

    __slots__ = ("path", "status", "tree")

    def __init__(self, tree: Tree, path: bytes, status: os.stat_result) -> None:
        self.tree, self.path, self.status = tree, path, status

    @property
    def is_directory(self) -> bool:
        """Tell whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Tell whether it is a regular file."""
        return stat.S_ISREG(self.status.st_mode)

    @property
    def name(self) -> bytes:
        """Give the last part of the path."""
        return self.path.rpartition(b"/")[2]

    def children(self) -> list[bytes]:
        """List the paths of a directory's entries, sorted."""
        with reading(self.path):
            names = sorted(os.fsencode(name) for name in os.listdir(self.tree.folder(self.path)))
        return [self.path + b"/" + name if self.path else name for name in names]

    def target(self) -> bytes:
        """Read where a symbolic link leads; nothing for anything else."""
        if not stat.S_ISLNK(self.status.st_mode):
            return b""
        with reading(self.path):
            return os.readlink(self.name, dir_fd=self._parent())

    def xattrs(self) -> dict[bytes, bytes]:
        """Read the extended attributes that mean something on another machine too, and overlay's own."""
        # No call takes a descriptor and a name, and through a link's own descriptor none can be read.
        place = b"/proc/self/fd/%d/%s" % (self._parent(), self.name or b".")
        with reading(self.path):
            names = sorted(os.fsencode(name) for name in os.listxattr(place, follow_symlinks=False))
            return {
                name: os.getxattr(place, name, follow_symlinks=False)
                for name in names
                if name not in OF_THIS_MACHINE
            }

    def content(self) -> Iterator[bytes]:
        """Read a file. Raises Conflict when it changes meanwhile, or has changed."""
        with reading(self.path):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
            file = os.open(self.name, flags, dir_fd=self._parent())
        try:
            left = self.status.st_size
            while left and (piece := self._piece(file, left)):
                yield piece
                left -= len(piece)
            if left or identity(os.fstat(file)) != identity(self.status):
                raise Conflict(f"{shown(self.path)} changed while it was read")
        finally:
            os.close(file)

    def _piece(self, file: int, left: int) -> bytes:
        """Read on, but not in a file that has become another."""
        with reading(self.path):
            return (
                os.read(file, min(left, PIECE)) if identity(os.fstat(file)) == identity(self.status) else b""
            )

    def _parent(self) -> int:
        return self.tree.folder(self.path.rpartition(b"/")[0])


def identity(status: os.stat_result) -> tuple[int, ...]:
    """Say which file it is, and in which state."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@contextlib.contextmanager
def reading(path: bytes) -> Iterator[None]:
    """Name the path in the error when the kernel refuses to read it."""
    try:
        yield
    except OSError as problem:
        raise Error(f"cannot read {shown(path or b'/')}: {reason(problem)}") from problem
