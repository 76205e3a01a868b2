"""Directories that a layer has without saying anything of them.

Some tools write `etc/motd` into a layer and no entry for `etc/`. Unpacked by itself, such a layer gets an
`etc` with a mode, an owner and a time that nobody chose, and that would cover those of the layer below. So
for a chain of layers we look up what each such directory should be - as the topmost layer says that has an
entry for it and is not hidden in between - and put directories that are so on top of the whole chain.

umoci and containerd, which unpack layers on top of each other, give the same tree.

Implements image-spec layer.md, "Applying Changesets". See the kernel's overlayfs.rst, "whiteouts and opaque
directories".
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minicontainer.errors import Error
from minicontainer.image.claim import claimed
from minicontainer.image.layer.record import read_record
from minicontainer.image.layer.tree import OVERLAY, Node, Tree

OPAQUE = tuple(prefix + b"opaque" for prefix in OVERLAY)


@dataclass(frozen=True, slots=True)
class Layer:
    """An unpacked layer, and which of its directories its tar file did not mention."""

    tree: Tree
    implied: frozenset[bytes]


class Place:
    """A directory as one layer has it."""

    __slots__ = ("hides", "layer", "node", "says_nothing")

    def __init__(self, layer: Layer, node: Node) -> None:
        self.layer, self.node = layer, node
        self.hides = any(name in OPAQUE for name in node.xattrs())  # what the layers below have in it
        self.says_nothing = node.path in layer.implied


Places = Sequence[Place]  # one path in all layers in which it shows, topmost first
Way = Sequence[tuple[bytes, Places]]  # from the root down to a path


def examine(chain: str, directories: Sequence[str]) -> None:
    """Find out whether a chain of layers needs directories on top; leaves the answer, with them, at `chain`.

    `directories` are the layers' trees, topmost first. Raises Error.
    """
    try:
        with contextlib.ExitStack() as opened, claimed(Path(chain)) as new:
            if new is not None:
                layers = [opened.enter_context(open_layer(directory)) for directory in directories]
                if wrong := find_wrong(layers):
                    make(new / "diff", wrong)
    except OSError as problem:
        raise Error(f"cannot stack the layers of {chain}: {problem.strerror}") from problem


@contextlib.contextmanager
def open_layer(directory: str) -> Iterator[Layer]:
    """Open a layer's tree, and read what its unpacking has noted."""
    implied = frozenset(read_record(Path(directory).parent).implied)
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with Tree(root) as tree:
            yield Layer(tree, implied)
    finally:
        os.close(root)


def find_wrong(layers: Sequence[Layer]) -> dict[bytes, Node]:
    """Find the directories that show with other metadata than they should have, and those above them.

    Gives for each the one in some layer that is as it should be.
    """
    nodes: dict[bytes, Node] = {}
    for way in visits(layers, frozenset().union(*(layer.implied for layer in layers))):
        _, places = way[-1]
        if places and metadata(places[0].node) != metadata(rightful(places)):
            nodes |= {path: rightful(places) for path, places in way}
    return nodes


def visits(layers: Sequence[Layer], paths: Iterable[bytes]) -> Iterator[Way]:
    """Go to each path, as a walk does; gives the way there.

    Only the way is kept, and each step is taken from the one before: paths may be many, and deep.
    """
    way: list[tuple[bytes, Places]] = [(b"", [Place(layer, layer.tree.node(b"")) for layer in layers])]
    for path in sorted(paths, key=lambda path: path.replace(b"/", b"\0")):  # as a walk goes
        while not (path + b"/").startswith(way[-1][0] + b"/" * bool(way[-1][0])):
            way.pop()
        for part in parts_below(way[-1][0], path):
            way.append((part, places_below(way[-1][1], part)))
        yield way


def parts_below(start: bytes, path: bytes) -> Iterator[bytes]:
    """Give the paths that lead from a directory down to a path in it."""
    at = len(start)
    while at < len(path):
        slash = path.find(b"/", at + 1)
        at = slash if slash > 0 else len(path)
        yield path[:at]


def places_below(places: Places, path: bytes) -> list[Place]:
    """Find a directory in those layers in which the directory above shows, until something hides it."""
    found = []
    for place in places:
        node = place.layer.tree.find(path)
        if node is not None:
            if not node.is_directory:
                break
            found.append(Place(place.layer, node))
        if place.hides:
            break
    return found


def rightful(places: Places) -> Node:
    """Choose whose metadata a directory should have: those of the topmost layer that says some."""
    return next((place for place in places if not place.says_nothing), places[0]).node


def metadata(node: Node) -> tuple[object, ...]:
    """Say what is to be right about a directory."""
    status = node.status
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, attributes(node)


def attributes(node: Node) -> dict[bytes, bytes]:
    """Read the extended attributes that are not overlay's."""
    return {name: value for name, value in node.xattrs().items() if not name.startswith(OVERLAY)}


def make(top: Path, nodes: Mapping[bytes, Node]) -> None:
    """Make the directories as they should be; `top` is the first, with the empty path."""
    top.mkdir()
    root = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for path in sorted(nodes):
            if path:
                os.mkdir(path, dir_fd=root)
            settle(root, path, nodes[path])
        for path in sorted(nodes, reverse=True):  # what is made in a directory changes its time
            time = nodes[path].status.st_mtime_ns
            os.utime(path or b".", ns=(time, time), dir_fd=root)
    finally:
        os.close(root)


def settle(root: int, path: bytes, node: Node) -> None:
    """Give a new directory a node's owner, mode and attributes."""
    folder = os.open(path or b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    try:
        os.fchown(folder, node.status.st_uid, node.status.st_gid)
        os.fchmod(folder, stat.S_IMODE(node.status.st_mode))
        for name, value in attributes(node).items():
            os.setxattr(folder, name, value)
    finally:
        os.close(folder)
