"""A registry on a shelf: it serves a layout's blobs to `Pull` and takes what `Push` brings, by no network.

It counts what it is asked, and can break a blob off in the middle. What it is asked by worker processes is
written to a file, which they share.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from minicontainer.errors import NotFound
from minicontainer.image.reference import Reference
from minicontainer.image.registry.errors import RegistryError
from minicontainer.oci.image import Descriptor
from tests.image.layouts import Layout

PIECE = 1000


class Shelf:
    """Stands in for a RegistryClient; `served` is the descriptor that every name stands for."""

    def __init__(self, layout: Layout, served: dict[str, Any], notes: Path) -> None:
        self.layout, self.notes = layout, notes
        self.served = Descriptor(media_type=served["mediaType"], digest=served["digest"], size=served["size"])
        self.breaks_after: int | None = None
        self.mounts: set[str] = set()
        notes.touch()

    def _note(self, what: str) -> None:
        fd = os.open(self.notes, os.O_WRONLY | os.O_APPEND)
        os.write(fd, f"{what}\n".encode())
        os.close(fd)

    def asked(self) -> list[str]:
        """Give what was asked since the last time."""
        lines = self.notes.read_text().splitlines()
        self.notes.write_text("")
        return lines

    def reopen(self) -> None:
        """There are no connections."""

    def resolve(self, reference: Reference) -> Descriptor:
        self._note("resolve")
        return self.served

    def manifest(self, reference: Reference, digest: str = "") -> tuple[Descriptor, bytes]:
        self._note(f"manifest {digest}")
        data = self.layout.blobs[digest]
        return Descriptor(media_type=self.layout.types[digest], digest=digest, size=len(data)), data

    def blob(self, reference: Reference, wanted: Descriptor, offset: int = 0) -> Iterator[bytes]:
        self._note(f"blob {wanted.digest} from {offset}")
        data = self.layout.blobs[wanted.digest]
        for at in range(offset, len(data), PIECE):
            if self.breaks_after is not None and at >= self.breaks_after:
                raise RegistryError("the line broke")
            yield data[at : at + PIECE]

    def has_blob(self, reference: Reference, digest: str) -> bool:
        return digest in self.layout.blobs

    def mount_blob(self, reference: Reference, digest: str, source_path: str) -> bool:
        self._note(f"mount {digest} from {source_path}")
        return source_path in self.mounts

    def push_blob(
        self,
        reference: Reference,
        blob: Descriptor,
        open_at: Callable[[int], BinaryIO],
        sent: Callable[[int], None],
    ) -> None:
        with open_at(1) as file:
            self._note(f"push {blob.digest} {len(file.read()) + 1} bytes")
        sent(blob.size)

    def push_manifest(self, reference: Reference, media_type: str, data: bytes, tag_or_digest: str) -> str:
        if not data:
            raise NotFound("nothing was pushed")
        self._note(f"manifest {media_type} as {tag_or_digest}")
        self.layout.types[tag_or_digest], self.layout.blobs[tag_or_digest] = media_type, data
        return tag_or_digest
