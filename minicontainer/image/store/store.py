"""The store of blobs: an OCI image layout whose files appear whole or not at all.

    write to ingest/ -> digest and size right? -> fsync -> rename into blobs/sha256/ -> fsync the directory

So whoever sees a blob sees what its name promises, even after a power cut. Locks are flocks: the kernel gives
them up with the process that held them.

    hold()  shared, for as long as blobs are in the store that no name reaches yet
    alone() exclusive, to take away what nothing reaches; in one process never within the other

Implements image-spec image-layout.md. See flock(2), fsync(2), rename(2).
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from minicontainer.errors import NotFound, Refused
from minicontainer.image.documents import MAX
from minicontainer.image.store import place
from minicontainer.image.store.ingest import Ingest, begin_ingest, check_size
from minicontainer.image.store.writing import failing, locked, sync_directory, write_beside
from minicontainer.oci.digest import digest_of, hasher, is_digest, split_digest
from minicontainer.oci.image import Descriptor

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
EMPTY_INDEX = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'


class Store:
    """All that one root directory holds. Making a Store touches nothing; `create` makes what is missing."""

    def __init__(self, root: str | Path = "") -> None:
        self.root = Path(root or place.default_root())
        self.images = self.root / "images"
        self.ingests = self.root / "ingest"
        self.layers = self.root / "layers"
        self.leases = self.root / "leases"
        self.index = self.images / "index.json"

    def create(self) -> Store:
        """Make the directories and an empty layout where there is none. Raises Error."""
        blobs, layout = self.images / "blobs" / "sha256", self.images / "oci-layout"
        with failing(f"make the image store in {self.root}"):
            if layout.exists() and self.leases.exists():
                return self
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            for directory in (blobs, self.ingests, self.layers, self.leases):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.changing_index():
                if not self.index.exists():
                    write_beside(self.ingests, self.index, EMPTY_INDEX)
                if not layout.exists():
                    write_beside(self.ingests, layout, LAYOUT)
            sync_directory(self.root)
        return self

    def path(self, digest: str) -> Path:
        """Name the file in which a blob is, or would be. Raises SpecError for what is no digest."""
        return self.images.joinpath("blobs", *split_digest(digest))

    def has(self, digest: str, size: int | None = None) -> bool:
        """Tell whether a blob is here; then it is whole. Raises WrongContent if `size` is not its own."""
        path = self.path(digest)
        if not path.is_file():
            return False
        if size is not None:
            check_size(path, digest, size)
        return True

    def blobs(self) -> Iterator[tuple[str, Path]]:
        """Give the digest and the file of every blob; files with other names than digests are none."""
        for path in sorted((self.images / "blobs").glob("*/*")):
            digest = f"{path.parent.name}:{path.name}"
            if is_digest(digest):
                yield digest, path

    def require(self, descriptor: Descriptor) -> None:
        """Refuse a blob that is not here or is of another size. Raises NotFound, WrongContent."""
        if not self.has(descriptor.digest, descriptor.size):
            raise NotFound(f"{descriptor.digest} is not in the image store")

    def layer(self, diff_id: str) -> Path:
        """Name the directory in which a layer is unpacked, or would be."""
        return self.layers / split_digest(diff_id)[1]

    def read(self, descriptor: Descriptor, limit: int = MAX) -> bytes:
        """Read a document, at most `limit` bytes, and verify it. Raises NotFound, Refused."""
        if descriptor.size > limit:
            raise Refused(f"{descriptor.digest}: {descriptor.size} bytes are too many to be read at once")
        self.require(descriptor)
        with failing(f"read {descriptor.digest}"):
            data = self.path(descriptor.digest).read_bytes()
        verified = hasher(descriptor.digest)
        verified.update(data)
        if verified.hexdigest() != split_digest(descriptor.digest)[1]:
            raise Refused(
                f"{descriptor.digest} is damaged in the image store",
                hint="minicontainer image gc --check looks at all of it",
            )
        return data

    def add(self, data: bytes, media_type: str) -> Descriptor:
        """Put a document into the store. Raises Error."""
        digest = digest_of(data)
        path = self.path(digest)
        if not path.is_file():
            with failing(f"write {digest} to {self.images}"):
                write_beside(self.ingests, path, data)
        return Descriptor(media_type=media_type, digest=digest, size=len(data))

    def ingest(self, digest: str, size: int) -> contextlib.AbstractContextManager[Ingest]:
        """Begin to bring in a blob, or go on where it was cut off; waits for whoever brings in the same."""
        return begin_ingest(self.partial(digest), self.path(digest), digest, size)

    def partial(self, digest: str) -> Path:
        """Name the file of a blob that is not whole yet."""
        return self.ingests / "-".join(split_digest(digest))

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep others from taking anything away, while blobs are here that no name reaches yet."""
        self.create()
        with locked(self.root / "lock", fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def alone(self, wait: bool = True) -> Iterator[None]:
        """Keep everybody else from adding. Raises BlockingIOError when somebody adds and we don't `wait`."""
        self.create()
        with locked(self.root / "lock", fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)):
            yield

    @contextlib.contextmanager
    def changing_index(self) -> Iterator[None]:
        """Be the only one who changes index.json; readers need no lock, for it is replaced whole."""
        with locked(self.root / "index.lock", fcntl.LOCK_EX):
            yield

    def write_index(self, data: bytes) -> None:
        """Replace index.json; all blobs that are here now are on the disk before it. Raises Error."""
        with failing(f"write {self.index}"):
            sync_directory(self.images / "blobs" / "sha256")
            write_beside(self.ingests, self.index, data)
