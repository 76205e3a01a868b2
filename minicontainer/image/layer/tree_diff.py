"""The layer that leads from one whole tree to another: what is new, changed or gone.

An entry is as before when its kind, owner, mode, time, attributes, target, content and further names are the
same. Contents are compared and not only sizes and times: where all times are clamped, those say nothing. The
directories above a change are written too, so that the layer tells their metadata.

Implements image-spec layer.md, "Change Types".
"""

from __future__ import annotations

import itertools
import stat
from collections import defaultdict
from typing import BinaryIO

from minicontainer.image.layer.layer_writer import LayerWriter
from minicontainer.image.layer.tree import Node, Tree

Nodes = dict[bytes, Node]
Names = dict[bytes, list[bytes]]  # of each file with several names: all of them


def diff_trees(old: int, new: int, out: BinaryIO, *, clamp: int | None = None) -> int:
    """Write the tar file that makes the tree `new` of the tree `old`; returns how many entries it has.

    Both are directory descriptors. `clamp`: times after this one, in seconds, become it. Raises Conflict when
    a file changes meanwhile, Unsupported for what a layer cannot say.
    """
    layer = LayerWriter(out, clamp)
    with Tree(old) as old_tree, Tree(new) as new_tree:
        before = {node.path: node for node in old_tree.walk()}
        after = {node.path: node for node in new_tree.walk()}
        gone = {path for path in before.keys() - after.keys() if shows_through(path, after)}
        for path in in_order(changed(before, after) | gone | {b""}):
            if path in after:
                layer.add(after[path], after[path].xattrs())
            else:
                layer.hide(path)
    return layer.finish()


def shows_through(path: bytes, after: Nodes) -> bool:
    """Tell whether something below would show at a path unless it is hidden: its directory is still one."""
    parent = after.get(path.rpartition(b"/")[0])
    return parent is not None and parent.is_directory


def in_order(paths: set[bytes]) -> list[bytes]:
    """Add the directories above the paths and sort all as a walk does."""
    above = {path[:at] for path in paths for at, byte in enumerate(path) if byte == ord("/")}
    return sorted(paths | above, key=lambda path: path.replace(b"/", b"\0"))


def changed(before: Nodes, after: Nodes) -> set[bytes]:
    """Find the paths of what is new or not as it was."""
    old_names, new_names = names_of_files(before), names_of_files(after)
    return {
        path
        for path, node in after.items()
        if path not in before or old_names.get(path) != new_names.get(path) or not same(before[path], node)
    }


def names_of_files(nodes: Nodes) -> Names:
    """Find the files that have several names in a tree."""
    files: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    for path, node in nodes.items():
        if not node.is_directory and node.status.st_nlink > 1:
            files[node.status.st_dev, node.status.st_ino].append(path)
    return {path: names for names in files.values() if len(names) > 1 for path in names}


def same(old: Node, new: Node) -> bool:
    """Tell whether two entries are the same in all that a layer can say of them."""
    return (
        description(old) == description(new)
        and old.target() == new.target()
        and old.xattrs() == new.xattrs()
        and (not new.is_file or same_content(old, new))
    )


def description(node: Node) -> tuple[int, ...]:
    """Say of an entry what stat(2) says that matters."""
    status = node.status
    size = status.st_size if node.is_file else 0
    device = status.st_rdev if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode) else 0
    return status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, size, device


def same_content(old: Node, new: Node) -> bool:
    """Compare two files of the same size."""
    if (old.status.st_dev, old.status.st_ino) == (new.status.st_dev, new.status.st_ino):
        return True
    pairs = itertools.zip_longest(old.content(), new.content())
    return all(one == other for one, other in pairs)
