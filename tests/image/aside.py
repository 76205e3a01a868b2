"""Scenes that nobody else sees: their mounts and their files are gone with the process that plays them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from minicontainer.linux.mounts import mount
from tests.linux.children import in_child, own_mounts

T = TypeVar("T")


def aside(place: Path, scene: Callable[[], T]) -> T:
    """Play a scene in a child with its own mounts, and with a new file system in memory at `place`."""

    def play() -> T:
        own_mounts()
        mount("tmpfs", str(place), "tmpfs", 0, None)
        return scene()

    return in_child(play)
