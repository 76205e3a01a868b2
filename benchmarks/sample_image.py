"""The image that is measured: six layers with the sizes and the mixture of a language's image.

About 193 MB as gzip, 559 MB unpacked and 19 000 entries: directories, files of very different sizes, symbolic
and hard links, whiteouts. Most of the content are words, the rest looks like machine code, so
that it compresses, and is decompressed, as real layers are. The seed is fixed: every run measures the same.

See image-spec, image-layout.md, layer.md.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import random
import shutil
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "sample"
MB = 1_000_000
LAYERS = ((189, 5000), (130, 6500), (105, 4000), (75, 2200), (45, 1200), (15, 270))  # MB, entries
IN_A_DIRECTORY = 14  # entries, itself included
SYMLINK_EVERY, HARD_LINK_EVERY, WHITEOUT_EVERY = 25, 101, 199
FILE = tarfile.REGTYPE
WORDS = 0.87  # of the files' content, which is put together from pieces of one kind
PIECE = 1 << 17
YEAR_2020, A_YEAR = 1_577_836_800, 31_536_000
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MEDIA = "application/vnd.oci.image."


@dataclass(frozen=True, slots=True)
class Sample:
    """An image layout, and the layers' tar files before they were compressed."""

    layout: Path
    tars: tuple[Path, ...]
    compressed: int
    unpacked: int


class Content:
    """What files are cut out of; deflate looks back 32 KiB and finds no piece again."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        words = [
            "".join(chance.choices(LETTERS, range(26, 0, -1), k=chance.randint(2, 9))) for _ in range(3000)
        ]
        often = [1 / (rank + 3) ** 1.2 for rank in range(3000)]
        self._text = " ".join(chance.choices(words, often, k=1_500_000)).encode()
        commands = [chance.randbytes(chance.randint(2, 6)) for _ in range(600)]
        often = [1 / (rank + 2) for rank in range(600)]
        self._code = b"".join(
            command + chance.randbytes(chance.choice((0, 0, 1, 2)))
            for command in chance.choices(commands, often, k=1_000_000)
        )

    def sizes(self, count: int, total: int) -> list[int]:
        """Share out a total among files: most are small, a few are large."""
        shares = [self._chance.lognormvariate(0, 1.8) for _ in range(count)]
        return [int(share / sum(shares) * total) for share in shares]

    def file(self, size: int) -> bytes:
        """Give a file's content."""
        return b"".join(self._piece(min(PIECE, size - start)) for start in range(0, size, PIECE))

    def _piece(self, size: int) -> bytes:
        source = self._text if self._chance.random() < WORDS else self._code
        start = self._chance.randrange(len(source) - PIECE)
        return source[start : start + size]


def write_sample(folder: Path, share: float = 1.0) -> Sample:
    """Write the image, or one with a share of its content, as the layout `folder`/layout."""
    chance = random.Random(559)
    content = Content(chance)
    layout = folder / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)
    tars = tuple(folder / f"layer-{number}.tar" for number in range(len(LAYERS)))
    for number, (megabytes, entries) in enumerate(LAYERS):
        write_tar(tars[number], number, int(entries * share), int(megabytes * MB * share), content)
    with ThreadPoolExecutor() as threads:  # zlib does not hold the interpreter's lock
        layers = list(threads.map(lambda path: compress(layout, path), tars))
    write_documents(layout, layers, tars)
    unpacked = sum(path.stat().st_size for path in tars)
    return Sample(layout, tars, sum(layer["size"] for layer in layers), unpacked)


def write_tar(path: Path, number: int, entries: int, size: int, content: Content) -> None:
    """Write the tar of one layer; from the second on each hides some files of the one before."""
    kinds = [kind_of(serial) for serial in range(entries)]
    sizes = iter(content.sizes(kinds.count(FILE), size - entries * tarfile.BLOCKSIZE))
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for serial, kind in enumerate(kinds):
            entry = tarfile.TarInfo(place(number, serial))
            entry.type, entry.mtime = kind, YEAR_2020 + serial
            data = content.file(next(sizes)) if kind == FILE else b""
            entry.size = len(data)
            if kind == tarfile.DIRTYPE:
                entry.name, entry.mode = str(Path(entry.name).parent), 0o755
            elif kind == tarfile.SYMTYPE:
                entry.linkname = f"f{serial - 1}"
            elif kind == tarfile.LNKTYPE:
                entry.linkname = place(number, serial - 1)
            tar.addfile(entry, io.BytesIO(data))
            if number and serial % WHITEOUT_EVERY == 1:
                hidden = Path(place(number - 1, serial))
                tar.addfile(tarfile.TarInfo(str(hidden.with_name(f".wh.{hidden.name}"))))


def kind_of(serial: int) -> bytes:
    """Say what an entry is: each directory is followed by what is in it, a link by no other link."""
    if serial % IN_A_DIRECTORY == 0:
        return tarfile.DIRTYPE
    if serial % IN_A_DIRECTORY == 2 and serial % SYMLINK_EVERY < IN_A_DIRECTORY:
        return tarfile.SYMTYPE
    if serial % IN_A_DIRECTORY == 4 and serial % HARD_LINK_EVERY < IN_A_DIRECTORY:
        return tarfile.LNKTYPE
    return FILE


def place(number: int, serial: int) -> str:
    """Name the entries of a layer so that each directory comes before what is in it."""
    return f"opt/part-{number}/{serial // 700}/{serial // IN_A_DIRECTORY}/f{serial}"


def compress(layout: Path, path: Path) -> dict[str, Any]:
    """Store a tar as a gzip layer and give its descriptor."""
    beside = layout / path.name
    with path.open("rb") as tar, beside.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, 0) as packed:
        shutil.copyfileobj(tar, packed, 1 << 20)
    digest, size = digest_of(beside), beside.stat().st_size
    beside.rename(layout / "blobs" / digest.replace(":", "/"))
    return {"mediaType": f"{MEDIA}layer.v1.tar+gzip", "digest": digest, "size": size}


def write_documents(layout: Path, layers: list[dict[str, Any]], tars: Sequence[Path]) -> None:
    """Write the configuration, the manifest and what makes a folder an image layout."""
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(path) for path in tars]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}manifest.v1+json",
        "config": add_blob(layout, "config.v1+json", config),
        "layers": layers,
    }
    named = add_blob(layout, "manifest.v1+json", manifest)
    named["annotations"] = {"org.opencontainers.image.ref.name": NAME}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def add_blob(layout: Path, kind: str, document: dict[str, Any]) -> dict[str, Any]:
    """Store a document and give its descriptor."""
    data = json.dumps(document).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    (layout / "blobs" / digest.replace(":", "/")).write_bytes(data)
    return {"mediaType": MEDIA + kind, "digest": digest, "size": len(data)}


def digest_of(path: Path) -> str:
    """Name a file's content."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
