"""The layer that an overlay's upper directory holds: what was written over the layers below.

The overlay file system notes a removed file as a character device 0:0 and a directory that hides those below
by an extended attribute; the layer says the same by names that begin with .wh. The same upper directory
always gives the same bytes.

See Documentation/filesystems/overlayfs.rst of the kernel; implements image-spec layer.md.
"""

from __future__ import annotations

import stat
from typing import BinaryIO

from minicontainer.errors import Unsupported
from minicontainer.image.layer.errors import shown
from minicontainer.image.layer.layer_writer import LayerWriter
from minicontainer.image.layer.tree import Node, Tree

# What an upper directory can hold when the overlay was mounted with these features: parts of files that lie
# elsewhere. A layer has no word for it.
FEATURES = {
    b"redirect": "redirect_dir",
    b"metacopy": "metacopy",
    b"whiteout": "whiteouts as attributes",
}


def diff(upper: int, out: BinaryIO, *, userxattr: bool = False, clamp: int | None = None) -> int:
    """Write the tar file of the upper directory `upper` to `out`; returns how many entries it has.

    The first is the directory itself. `userxattr`: the overlay is mounted with that option. `clamp`: times
    after this one, in seconds (SOURCE_DATE_EPOCH), become it. Raises Conflict when a file changes meanwhile,
    Unsupported for what a layer cannot say.
    """
    prefix = b"user.overlay." if userxattr else b"trusted.overlay."
    layer = LayerWriter(out, clamp)
    with Tree(upper) as tree:
        for node in tree.walk():
            if is_whiteout(node):
                layer.hide(node.path)
                continue
            xattrs = node.xattrs()
            refuse_features(node, xattrs, prefix)
            layer.add(node, xattrs)
            if xattrs.get(prefix + b"opaque") == b"y":
                layer.hide_all(node.path)
    return layer.finish()


def is_whiteout(node: Node) -> bool:
    """Tell whether an entry of an upper directory stands for a removed file."""
    return stat.S_ISCHR(node.status.st_mode) and node.status.st_rdev == 0


def refuse_features(node: Node, xattrs: dict[bytes, bytes], prefix: bytes) -> None:
    """Refuse an entry that only its own overlay mount can read."""
    for word, feature in FEATURES.items():
        if prefix + word in xattrs:
            raise Unsupported(
                f"{shown(node.path)} was written by an overlay mount with {feature}, which no layer can tell",
                hint="mount with redirect_dir=nofollow,metacopy=off, as minicontainer does",
            )
