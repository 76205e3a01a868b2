"""Unpacking a layer into a directory, while it streams in.

    feed(bytes) --> TarReader --entries--> TreeWriter --> files below the root
                                              `--> Whiteouts, Metadata

The directory is opened by the caller; everything is made through descriptors below it, so that nothing in
the archive, and nobody who renames things meanwhile, makes us write elsewhere.

Implements image-spec layer.md, "Applying Changesets". See openat2(2).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from minicontainer.errors import Error
from minicontainer.image.layer.errors import LayerError, reason
from minicontainer.image.layer.limits import Limits
from minicontainer.image.layer.metadata import Metadata
from minicontainer.image.layer.tar_reader import TarReader
from minicontainer.image.layer.tree_writer import TreeWriter
from minicontainer.image.layer.whiteouts import Deletions, OverlayWhiteouts

__all__ = ["Extractor", "LayerError", "Unpacked"]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a layer was."""

    size: int  # bytes of the tar
    entries: int
    implied: tuple[bytes, ...]  # directories that had to be made without an entry of their own
    skipped: int  # device nodes and attributes that only root of the machine may make


class Extractor:
    """Takes a layer's tar in pieces and makes its tree. A context manager: closes what it has opened."""

    def __init__(
        self, root_fd: int, layer: str, *, limits: Limits, userxattr: bool = False, overlay: bool = True
    ) -> None:
        """Unpack below `root_fd`, for an overlay mount (by a user: `userxattr`) or onto the layers below.

        `layer` is what errors call the layer, its digest.
        """
        self._layer = layer
        metadata = Metadata(confined=userxattr)
        whiteouts = OverlayWhiteouts(userxattr=userxattr) if overlay else Deletions()
        self._metadata = metadata
        self._tree = TreeWriter(root_fd, whiteouts, metadata, limits)
        self._reader = TarReader(self._tree, limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def feed(self, data: bytes) -> None:
        """Unpack what the next bytes of the tar say. Raises LayerError; the tree is worthless then."""
        try:
            self._reader.feed(data)
        except (Error, OSError) as problem:
            raise self._blame(problem) from problem

    def finish(self) -> Unpacked:
        """Hear that the tar is complete, and give directories their times. Raises LayerError."""
        try:
            self._reader.finish()
            self._tree.finish()
        except (Error, OSError) as problem:
            raise self._blame(problem) from problem
        self.close()
        reader = self._reader
        return Unpacked(reader.size, reader.entries, tuple(self._tree.implied), self._metadata.skipped)

    def close(self) -> None:
        """Close what is open."""
        self._tree.close()

    def _blame(self, problem: Exception) -> LayerError:
        self.close()
        return LayerError(f"layer {self._layer}: {self._reader.place}: {reason(problem)}")
