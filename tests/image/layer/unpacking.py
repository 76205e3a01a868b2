"""Unpacking tar files in tests."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minicontainer.image.layer.extract import Extractor, Unpacked
from minicontainer.image.layer.limits import Limits
from tests.image.layouts import Entry, tar


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    """Cut data into pieces of one size."""
    return (data[start : start + size] for start in range(0, len(data), size))


def names(folder: Path) -> list[str]:
    """List a directory."""
    return sorted(entry.name for entry in folder.iterdir())


def open_descriptors() -> list[str]:
    """List what this process has open."""
    return names(Path("/proc/self/fd"))


def unpack(
    place: Path, data: bytes, piece: int = 1 << 20, limits: Limits | None = None, **options: Any
) -> Unpacked:
    """Unpack a tar file into a directory, which is made if it is missing; what is in it stays."""
    place.mkdir(exist_ok=True)
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack_below(root, data, piece, limits, **options)
    finally:
        os.close(root)


def unpack_below(
    root: int, data: bytes, piece: int = 1 << 20, limits: Limits | None = None, **options: Any
) -> Unpacked:
    """Unpack a tar file into an open directory."""
    with Extractor(root, "sha256:1234", limits=limits or Limits(), **options) as extractor:
        for each in pieces(data, piece):
            extractor.feed(each)
        return extractor.finish()


def unpack_entries(place: Path, *entries: Entry | bytes, **options: Any) -> Unpacked:
    """Unpack entries that are described."""
    return unpack(place, tar(entries), **options)
