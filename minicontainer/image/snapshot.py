"""Snapshots: the merged tree of an image's layers, without a copy.

See minicontainer/image/chain.py, which says what is stacked; the kernel's overlayfs.rst; umount2(2).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from minicontainer.image.chain import directories
from minicontainer.image.overlay import mount_overlay
from minicontainer.image.store.images import Image
from minicontainer.image.store.store import Store
from minicontainer.linux import mounts as m
from minicontainer.linux.namespaces import in_user_namespace


def lowers(store: Store, diff_ids: Sequence[str]) -> list[str]:
    """List the directories to stack for unpacked layers (given lowest first), topmost first. Raises Error."""
    return directories(str(store.root), diff_ids)


@contextlib.contextmanager
def view(store: Store, image: Image) -> Iterator[Path]:
    """Give the tree of an unpacked image, read-only, at a path that this process and its children can use.

    The mount hangs on a descriptor of this process alone: it ends with it, however that ends.
    """
    # The place stays for as long as the mount: under a single layer, it is the second one.
    with tempfile.TemporaryDirectory(prefix="minicontainer-") as place:
        tree = _detached(place, lowers(store, image.diff_ids))
        try:
            yield Path(f"/proc/{os.getpid()}/fd/{tree}")
        finally:
            os.close(tree)


def _detached(place: str, directories: Sequence[str]) -> int:
    """Stack directories, and take the mount from its place at once; returns a descriptor of its root."""
    options = ("userxattr",) if in_user_namespace() else ()
    mount_overlay(place, directories, options=options, attributes=m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV)
    try:
        return os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    finally:
        m.umount2(place, m.MNT_DETACH)
