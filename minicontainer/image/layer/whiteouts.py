"""Whiteouts: how a layer says that something of the layers below is gone.

    .wh.NAME          NAME is gone             overlayfs: a character device 0:0 called NAME
    .wh..wh..opq      all from below is gone   overlayfs: the directory has the attribute overlay.opaque=y

They speak of the layers below alone, wherever in the archive they stand: what the layer itself adds stays.
A layer that is kept for itself gets overlayfs's form; in a tree of all layers, things are removed.

Implements image-spec layer.md, "Representing Changes"; overlayfs (kernel documentation). See mknod(2).
"""

from __future__ import annotations

import os
import stat
from typing import Protocol

from minicontainer.errors import Refused
from minicontainer.image.store.removal import ENTER

WHITEOUT, RESERVED, OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"
DEEPEST = 256  # directories in each other, where layers are merged: each is open while we are below it


class Whiteouts(Protocol):
    """How what is gone is made to be gone."""

    def hide(self, parent: int, name: bytes) -> None:
        """Let `name` of the layers below be gone."""

    def hide_all(self, folder: int) -> None:
        """Let everything in the directory be gone that is of the layers below."""

    def make_directory(self, parent: int, name: bytes) -> int:
        """Make a directory where none is, and open it. Raises FileExistsError."""

    def added(self, inode: int) -> None:
        """Hear of an open file or directory that is the layer's own."""


def hidden_name(name: bytes) -> bytes:
    """Give the name that a whiteout hides. Raises Refused."""
    hidden = name.removeprefix(WHITEOUT)
    if hidden in (b"", b".", b".."):
        raise Refused("a whiteout must name what it hides")
    return hidden


def is_directory(parent: int, name: bytes) -> bool:
    """Tell whether a name is that of a directory."""
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def is_whiteout(found: os.stat_result) -> bool:
    """Tell whether an inode is what overlayfs takes for a whiteout."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


class OverlayWhiteouts:
    """Writes whiteouts as overlayfs reads them."""

    def __init__(self, *, userxattr: bool) -> None:
        """Choose the attributes of a mount with the option `userxattr`, or those of one by root."""
        space = "user" if userxattr else "trusted"
        self._opaque, self._origin = f"{space}.overlay.opaque", f"{space}.overlay.origin"

    def hide(self, parent: int, name: bytes) -> None:
        """Make a whiteout; the layer's own directory of that name hides what is below as an opaque one."""
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            if is_directory(parent, name):
                self._open_and_hide_all(parent, name)
        # An unmerged directory is listed as it is, whiteouts too, unless it seems to be a copy from below.
        os.setxattr(parent, self._origin, b"")

    def hide_all(self, folder: int) -> None:
        """Make a directory opaque."""
        os.setxattr(folder, self._opaque, b"y")

    def make_directory(self, parent: int, name: bytes) -> int:
        """Make a directory, an opaque one in the place of a whiteout."""
        hiding = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            hiding = is_whiteout(os.stat(name, dir_fd=parent, follow_symlinks=False))
            if not hiding:
                raise
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
        folder = os.open(name, ENTER, dir_fd=parent)
        if hiding:
            self.hide_all(folder)
        return folder

    def added(self, inode: int) -> None:
        """Nothing to remember: overlayfs prefers what the layer adds."""

    def _open_and_hide_all(self, parent: int, name: bytes) -> None:
        folder = os.open(name, ENTER, dir_fd=parent)
        try:
            self.hide_all(folder)
        finally:
            os.close(folder)


class Deletions:
    """Removes from a tree what is gone, but not what the same layer has added: known by its inodes."""

    def __init__(self) -> None:
        self._own: set[int] = set()

    def hide(self, parent: int, name: bytes) -> None:
        """Remove a name, and of a directory what is not the layer's own."""
        try:
            self._remove(parent, name, 0)
        except FileNotFoundError:
            return

    def hide_all(self, folder: int) -> None:
        """Empty a directory but for what is the layer's own."""
        self._empty(folder, 0)

    def make_directory(self, parent: int, name: bytes) -> int:
        """Make a directory, in the place of what is not one and of the layers below."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) or found.st_ino in self._own:
                raise
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
        return os.open(name, ENTER, dir_fd=parent)

    def added(self, inode: int) -> None:
        """Remember an inode as the layer's own."""
        self._own.add(os.fstat(inode).st_ino)

    def _empty(self, folder: int, depth: int) -> None:
        if depth > DEEPEST:
            raise Refused(f"it removes from directories that are more than {DEEPEST} deep")
        for name in os.listdir(folder):
            self._remove(folder, os.fsencode(name), depth)

    def _remove(self, parent: int, name: bytes, depth: int) -> None:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            if found.st_ino not in self._own:
                os.unlink(name, dir_fd=parent)
            return
        folder = os.open(name, ENTER, dir_fd=parent)
        try:
            self._empty(folder, depth + 1)
            if found.st_ino not in self._own and not os.listdir(folder):
                os.rmdir(name, dir_fd=parent)
        finally:
            os.close(folder)
