"""A file tree as a value that can be compared: two trees are equal, or their differences are said.

    before = read_tree(path)            {b"etc/passwd": Node(kind="file", mode=0o644, ...), ...}
    differences(before, read_tree(path))     ["etc/passwd: mode is 0644 here, 0600 there"]

The root itself is b".". Everything is read through directory descriptors and nothing is followed, so that a
hostile tree, or one whose paths are longer than PATH_MAX, is read as it is.
See inode(7), xattr(7), path_resolution(7).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFSOCK: "socket",
}
Xattrs = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One name in a tree; `links` are all its names when it has several, `mtime` is in nanoseconds."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    content: str = ""
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Xattrs = ()
    links: tuple[bytes, ...] = ()


Tree = Mapping[bytes, Node]
FIELDS = frozenset(field.name for field in fields(Node))


def read_tree(root: Path | str) -> dict[bytes, Node]:
    """Read everything below a directory, and the directory itself as b"."."""
    names: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    inodes: dict[bytes, tuple[int, int]] = {}
    tree: dict[bytes, Node] = {}
    for path, folder, name in walk(root):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        tree[path] = node_of(found, folder, name)
        if not stat.S_ISDIR(found.st_mode):
            inodes[path] = found.st_dev, found.st_ino
            names[inodes[path]].append(path)
    for path, inode in inodes.items():
        if len(names[inode]) > 1:
            tree[path] = replace(tree[path], links=tuple(sorted(names[inode])))
    return tree


def walk(root: Path | str) -> Iterator[tuple[bytes, int, bytes]]:
    """Give each path with the directory (an open descriptor) and the name that reach it; parents first."""
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    yield b".", top, b"."
    yield from walk_below(top, b"")


def walk_below(folder: int, path: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Go down one directory and close its descriptor."""
    try:
        for name in sorted(map(os.fsencode, os.listdir(folder))):
            yield path + name, folder, name
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                yield from walk_below(below, path + name + b"/")
    finally:
        os.close(folder)


def node_of(found: os.stat_result, folder: int, name: bytes) -> Node:
    """Take down what one inode is."""
    kind = KINDS[stat.S_IFMT(found.st_mode)]
    is_device = stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)
    return Node(
        kind=kind,
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        mtime=found.st_mtime_ns,
        size=found.st_size if kind in {"file", "symlink"} else 0,
        content=content_digest(folder, name) if kind == "file" else "",
        target=os.readlink(name, dir_fd=folder) if kind == "symlink" else b"",
        device=(os.major(found.st_rdev), os.minor(found.st_rdev)) if is_device else (0, 0),
        xattrs=xattrs_of(folder, name),
    )


def content_digest(folder: int, name: bytes) -> str:
    """Compute a file's SHA-256."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
        return hashlib.file_digest(file, "sha256").hexdigest()


def xattrs_of(folder: int, name: bytes) -> Xattrs:
    """Read the extended attributes of an inode of any kind, links unfollowed, sorted by name."""
    path = b"/proc/self/fd/%d/%s" % (folder, name)
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return tuple((each, os.getxattr(path, each, follow_symlinks=False)) for each in names)


def differences(here: Tree, there: Tree, ignore: frozenset[str] = frozenset()) -> list[str]:
    """Say in words where two trees differ, but for the named fields of their nodes (of FIELDS)."""
    if unknown := ignore - FIELDS:
        raise ValueError(f"not a field of a node: {unknown}")
    found = []
    for path in sorted(here.keys() | there.keys()):
        one, other = here.get(path), there.get(path)
        if one is None or other is None:
            found.append(f"{show(path)}: only {'there' if one is None else 'here'}")
            continue
        for name in sorted(FIELDS - ignore):
            mine, its = getattr(one, name), getattr(other, name)
            if mine != its:
                say = "{:04o}".format if name == "mode" else repr
                found.append(f"{show(path)}: {name} is {say(mine)} here, {say(its)} there")
    return found


def show(path: bytes) -> str:
    """Write a path of any bytes so that a terminal stays whole."""
    return repr(path)[2:-1]


def changed(tree: Tree, change: Callable[[bytes, Node], Node | None]) -> dict[bytes, Node]:
    """Give the tree with each node changed, or left out where the change is None."""
    return {path: new for path, node in tree.items() if (new := change(path, node)) is not None}


def without_xattrs(tree: Tree, *prefixes: str) -> dict[bytes, Node]:
    """Give the tree without the attributes whose names begin so."""

    def cut(_path: bytes, node: Node) -> Node:
        kept = tuple((name, value) for name, value in node.xattrs if not name.startswith(prefixes))
        return replace(node, xattrs=kept)

    return changed(tree, cut)
