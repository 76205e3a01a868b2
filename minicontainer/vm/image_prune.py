"""Giving room back: images that nothing needs any more.

An image is needed while it is what the recipe of today makes, or while a node exists whose disk was written
on top of it. A node says so itself, by a note in `image-KEY/used-by/` with the path of its directory; a note
whose path is gone counts no more, so that a node which was deleted by hand keeps nothing.

See minicontainer/vm/image.py for what lies where; <kernel>/filesystems/overlayfs.rst, "Changes to underlying
filesystems".
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minicontainer.errors import Error
from minicontainer.vm.image import Image, Tell, cache, current_initramfs_name, locked, say, sweep
from minicontainer.vm.qemu_newer import tree

NOTES = "used-by"


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed, and the bytes that it had."""

    name: str
    size: int


def note_use(image: Image, node: Path) -> None:
    """Note that the disk in a node's directory goes with this image. Raises Error."""
    try:
        notes = image.place / NOTES
        notes.mkdir(exist_ok=True)
        path = str(node.absolute())
        (notes / hashlib.sha256(path.encode()).hexdigest()[:16]).write_text(path)
    except OSError as problem:
        raise Error(f"cannot write to {image.place}: {problem.strerror}") from problem


def is_used(place: Path) -> bool:
    """Tell whether a node's disk goes with the image; notes of nodes that are gone are removed."""
    used = False
    for note in place.glob(f"{NOTES}/*"):
        if Path(note.read_text()).exists():
            used = True
        else:
            note.unlink()
    return used


def prune(current: str, tell: Tell = say) -> list[Removed]:
    """Remove all images but the one with the key `current` and those in use. Raises Error."""
    home = cache()
    if not home.is_dir():
        return []
    try:
        with locked(home, tell):
            sweep(home)
            return [remove(path) for path in sorted(superfluous(home, current))]
    except OSError as problem:
        raise Error(f"cannot remove images in {home}: {problem.strerror}") from problem


def superfluous(home: Path, current: str) -> Iterator[Path]:
    """Find images and unpacked QEMUs of other recipes, and the initramfs of other scripts."""
    for place in home.glob("image-*"):
        if place.name == f"image-{current}" or is_used(place):
            yield from (path for path in place.glob("initramfs*") if path.name != current_initramfs_name())
        else:
            yield place
    yield from (path for path in home.glob("qemu-*") if path != tree())


def remove(path: Path) -> Removed:
    """Remove a file, or a directory with what is in it."""
    if path.is_file():
        size = path.stat().st_size
        path.unlink()
        return Removed(f"{path.parent.name}/{path.name}", size)
    size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file() and not each.is_symlink())
    gone = path.with_name(f"unfinished-{path.name}")  # from now on nobody finds it, and any build sweeps it
    path.rename(gone)
    shutil.rmtree(gone)
    return Removed(path.name, size)
