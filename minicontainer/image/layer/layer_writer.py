"""A layer as a tar file: entries of a tree, and whiteouts for what is there no more.

    etc/             a directory
    etc/hosts        a file, with its content
    etc/.wh.motd     etc/motd is gone
    srv/.wh..wh..opq nothing of what lies below in srv shows

Further names of a file are links to the first. Sockets are left out, as docker does: a tar has no word for
them. Owners are numbers only.

Implements image-spec layer.md, "Representing Changes".
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from minicontainer.errors import Unsupported
from minicontainer.image.layer.errors import shown
from minicontainer.image.layer.tar_header import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
)
from minicontainer.image.layer.tar_writer import SECOND, TarEntry, TarWriter
from minicontainer.image.layer.tree import OVERLAY, Node

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
KINDS = {
    stat.S_IFREG: REGULAR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFIFO: FIFO,
}


class LayerWriter:
    """Writes the changes of one layer; `clamp` is the latest time that an entry may have, in seconds."""

    def __init__(self, out: BinaryIO, clamp: int | None = None) -> None:
        self._tar = TarWriter(out)
        self._clamp = clamp
        self._first_names: dict[tuple[int, int], bytes] = {}

    def add(self, node: Node, xattrs: dict[bytes, bytes]) -> None:
        """Write an entry as it is in the tree, with the extended attributes that are not overlay's."""
        kind = KINDS.get(stat.S_IFMT(node.status.st_mode))
        if kind is None:
            return
        if node.name.startswith(WHITEOUT):
            raise Unsupported(f"{shown(node.path)}: in a layer, a name that begins with .wh. is no file's")
        first = self._first_name(node)
        if first != node.path:
            self._tar.add(self._entry(node, HARD_LINK, link=first))
            return
        kept = tuple((name, value) for name, value in xattrs.items() if not name.startswith(OVERLAY))
        for name, _ in kept:
            if b"=" in name:
                raise Unsupported(f"{shown(node.path)}: no tar can hold the attribute {shown(name)}")
        if kind == REGULAR:
            self._tar.add(self._entry(node, kind, size=node.status.st_size, xattrs=kept), node.content())
        else:
            self._tar.add(self._entry(node, kind, link=node.target(), xattrs=kept))

    def hide(self, path: bytes) -> None:
        """Write that what the layers below have at a path is gone."""
        parent, slash, name = path.rpartition(b"/")
        self._tar.add(TarEntry(name=parent + slash + WHITEOUT + name, kind=REGULAR))

    def hide_all(self, path: bytes) -> None:
        """Write that nothing shows of what the layers below have in a directory."""
        self._tar.add(TarEntry(name=path + b"/" * bool(path) + OPAQUE, kind=REGULAR))

    def finish(self) -> int:
        """End the tar file; returns how many entries it has."""
        self._tar.finish()
        return self._tar.entries

    def _first_name(self, node: Node) -> bytes:
        """Give the name under which a file has been written already, or is now."""
        if node.is_directory or node.status.st_nlink == 1:
            return node.path
        return self._first_names.setdefault((node.status.st_dev, node.status.st_ino), node.path)

    def _entry(
        self,
        node: Node,
        kind: bytes,
        *,
        size: int = 0,
        link: bytes = b"",
        xattrs: tuple[tuple[bytes, bytes], ...] = (),
    ) -> TarEntry:
        status = node.status
        time = status.st_mtime_ns
        return TarEntry(
            name=(node.path or b".") + b"/" * node.is_directory,
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            size=size,
            mtime=time if self._clamp is None else min(time, self._clamp * SECOND),
            link=link,
            device=(os.major(status.st_rdev), os.minor(status.st_rdev))
            if kind in (CHARACTER, BLOCK_DEVICE)
            else (0, 0),
            xattrs=xattrs,
        )
