"""OCI image layouts made from descriptions, right ones and deliberately wrong ones.

    layout = image([layer([directory("etc"), file("etc/motd", b"hello\\n"), symlink("l", "/etc")])])
    layout.write(folder)  or  layout.archive(folder / "image.tar")

An `Entry` is written to the tar byte by byte as it says, however wrong. A document is built right, then
`edit`ed: the function changes its members in place, or returns bytes to write instead. Blobs can be
changed afterwards in `layout.blobs`, where no digest is checked.
See tar(5), pax(1), image-spec image-layout.md, manifest.md, layer.md.
"""

from __future__ import annotations

import gzip as gzip_format
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import zstandard

from minicontainer.oci.image import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

Document = dict[str, Any]
Edit = Callable[[Document], object]
Text = str | bytes
NAME = "org.opencontainers.image.ref.name"
BLOCK = 512
USTAR, GNU = b"ustar\x0000", b"ustar  \x00"
END = b"\0" * BLOCK * 2
YEAR_2020 = 1_577_836_800


# --- tar entries -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One header with its content; `size` is what the header claims, None for the truth.

    `pax` are records that are written before it; a name or link of more than 100 bytes and times with
    nanoseconds get theirs by themselves.
    """

    kind: bytes
    name: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int | None = None
    mtime: int = YEAR_2020
    nanoseconds: int = 0
    content: bytes = b""
    link: bytes = b""
    uname: bytes = b""
    gname: bytes = b""
    device: tuple[int, int] = (0, 0)
    magic: bytes = USTAR
    prefix: bytes = b""
    checksum: int | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    pax: Mapping[str, bytes] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Write the entry, with the extended header that it needs."""
        records = {**self.own_records(), **self.pax}
        extended = pax_header(records) if records else b""
        return extended + self.header() + padded(self.content)

    def own_records(self) -> dict[str, bytes]:
        """Say what the header has no room for."""
        records = {f"SCHILY.xattr.{name}": value for name, value in self.xattrs.items()}
        if len(self.name) > 100 and not self.prefix:
            records["path"] = self.name
        if len(self.link) > 100:
            records["linkpath"] = self.link
        if self.nanoseconds:
            records["mtime"] = b"%d.%09d" % (self.mtime, self.nanoseconds)
        return records

    def header(self) -> bytes:
        """Write the 512 bytes alone."""
        size = len(self.content) if self.size is None else self.size
        start = self.name[:100].ljust(100, b"\0") + number(self.mode, 8) + number(self.uid, 8)
        start += number(self.gid, 8) + number(size, 12) + number(self.mtime, 12)
        rest = self.kind + self.link[:100].ljust(100, b"\0") + self.magic
        rest += self.uname.ljust(32, b"\0") + self.gname.ljust(32, b"\0")
        rest += number(self.device[0], 8) + number(self.device[1], 8) + self.prefix.ljust(155, b"\0")
        rest = rest.ljust(BLOCK - 156, b"\0")
        total = sum(start) + 8 * 32 + sum(rest) if self.checksum is None else self.checksum
        return start + b"%06o\0 " % total + rest


def number(value: int, width: int) -> bytes:
    """Write a number in octal, or in base 256 where that has no room for it."""
    octal = b"%0*o" % (width - 1, value) if value >= 0 else b""
    if 0 < len(octal) < width:
        return octal + b"\0"
    return (value + (1 << 8 * width) if value < 0 else value | 1 << 8 * width - 1).to_bytes(width, "big")


def padded(content: bytes) -> bytes:
    """Fill the last block."""
    return content + b"\0" * (-len(content) % BLOCK)


def raw(text: Text) -> bytes:
    """Take names as text or as bytes."""
    return text.encode() if isinstance(text, str) else text


def file(name: Text, content: bytes = b"", **fields: Any) -> Entry:
    """Describe a regular file."""
    return Entry(kind=b"0", name=raw(name), content=content, **fields)


def directory(name: Text, mode: int = 0o755, **fields: Any) -> Entry:
    """Describe a directory."""
    return Entry(kind=b"5", name=raw(name), mode=mode, **fields)


def symlink(name: Text, target: Text, **fields: Any) -> Entry:
    """Describe a symbolic link."""
    return Entry(kind=b"2", name=raw(name), link=raw(target), **{"mode": 0o777, **fields})


def hardlink(name: Text, target: Text, **fields: Any) -> Entry:
    """Describe a further name of an entry that comes before it."""
    return Entry(kind=b"1", name=raw(name), link=raw(target), **fields)


def fifo(name: Text, **fields: Any) -> Entry:
    """Describe a named pipe."""
    return Entry(kind=b"6", name=raw(name), **fields)


def character(name: Text, major: int, minor: int, **fields: Any) -> Entry:
    """Describe a character device."""
    return Entry(kind=b"3", name=raw(name), device=(major, minor), **fields)


def block(name: Text, major: int, minor: int, **fields: Any) -> Entry:
    """Describe a block device."""
    return Entry(kind=b"4", name=raw(name), device=(major, minor), **fields)


def whiteout(path: str, **fields: Any) -> Entry:
    """Describe the deletion of `path` of the layers below."""
    folder, slash, name = path.rpartition("/")
    return file(f"{folder}{slash}.wh.{name}", **fields)


def opaque(folder: str, **fields: Any) -> Entry:
    """Describe that nothing of the layers below is to be seen in a directory."""
    return file(f"{folder}/.wh..wh..opq", **fields)


def pax_header(records: Mapping[str, bytes], kind: bytes = b"x") -> bytes:
    """Write an extended header: of the next entry, or with kind `g` of all that follow."""
    content = b"".join(pax_record(key, value) for key, value in records.items())
    return Entry(kind=kind, name=b"pax", content=content).encoded()


def pax_record(key: str, value: bytes) -> bytes:
    """Write `LENGTH key=value`, where the length counts itself."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    if len(str(length)) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def gnu_long(entry: Entry) -> bytes:
    """Write an entry in GNU tar's way: what has no room stands in entries of kind L and K before it."""
    before = b""
    for kind, text in ((b"K", entry.link), (b"L", entry.name)):
        if len(text) > 99:
            before += Entry(kind=kind, name=b"././@LongLink", content=text + b"\0", magic=GNU).encoded()
    return before + replace(entry, magic=GNU).header() + padded(entry.content)


def tar(entries: Iterable[Entry | bytes], end: bytes = END) -> bytes:
    """Write a whole tar file; bytes among the entries are taken as they are."""
    return b"".join(each if isinstance(each, bytes) else each.encoded() for each in entries) + end


# --- layers ----------------------------------------------------------------------------------------


def gzip(data: bytes) -> bytes:
    """Compress, giving the same bytes for the same data."""
    return gzip_format.compress(data, 1, mtime=0)


def zstd(data: bytes) -> bytes:
    """Compress, with the size in the frame's header."""
    return zstandard.ZstdCompressor(1).compress(data)


def plain(data: bytes) -> bytes:
    """Do not compress."""
    return data


Compress = Callable[[bytes], bytes]
SUFFIXES = {b"\x1f\x8b": "+gzip", b"\x28\xb5\x2f\xfd": "+zstd"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as it is stored (`blob`), and the digest of its tar."""

    blob: bytes
    diff_id: str
    media_type: str


def layer(entries: Iterable[Entry | bytes], compress: Compress = gzip) -> Layer:
    """Make a layer of entries."""
    return tar_layer(tar(entries), compress)


def tar_layer(data: bytes, compress: Compress = gzip) -> Layer:
    """Make a layer of a tar file, or of what is said to be one."""
    blob = compress(data)
    suffix = next((suffix for magic, suffix in SUFFIXES.items() if blob.startswith(magic)), "")
    return Layer(blob, digest_of(data), OCI_LAYER + suffix)


# --- images ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Layout:
    """The files of an image layout: blobs by digest, right or not, and the documents at its top.

    `types` are the media types of the blobs, for who serves them.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    index: bytes = b""
    oci_layout: bytes = b'{"imageLayoutVersion":"1.0.0"}'

    def add(self, data: bytes, media_type: str) -> Document:
        """Store a blob and give its descriptor."""
        digest = digest_of(data)
        self.blobs[digest], self.types[digest] = data, media_type
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def add_image(
        self, layers: Sequence[Layer], *, config: Edit | None = None, manifest: Edit | None = None
    ) -> Document:
        """Store an image of these layers and give its manifest's descriptor."""
        settings: Document = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        }
        document: Document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.add(edited(settings, config), OCI_CONFIG),
            "layers": [self.add(each.blob, each.media_type) for each in layers],
        }
        return self.add(edited(document, manifest), OCI_MANIFEST)

    def name(self, descriptor: Document, name: str, index: Edit | None = None) -> None:
        """Write index.json with this one image."""
        named = {**descriptor, "annotations": {NAME: name}}
        self.index = edited({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [named]}, index)

    def files(self) -> dict[str, bytes]:
        """Give each file of the layout by its path."""
        blobs = {f"blobs/{digest.replace(':', '/', 1)}": data for digest, data in self.blobs.items()}
        return {"oci-layout": self.oci_layout, "index.json": self.index, **blobs}

    def write(self, folder: Path) -> Path:
        """Write the layout as a directory."""
        for path, data in self.files().items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return folder

    def archive(self, path: Path) -> Path:
        """Write the layout as an oci-archive, as `skopeo copy ... oci-archive:PATH` does."""
        path.write_bytes(tar(file(name, data) for name, data in self.files().items()))
        return path


def image(
    layers: Sequence[Layer],
    *,
    name: str = "sample:latest",
    config: Edit | None = None,
    manifest: Edit | None = None,
    index: Edit | None = None,
) -> Layout:
    """Make a layout of one image."""
    layout = Layout()
    layout.name(layout.add_image(layers, config=config, manifest=manifest), name, index)
    return layout


def edited(document: Document, edit: Edit | None) -> bytes:
    """Write a document as its edit leaves it."""
    instead = edit(document) if edit else None
    return instead if isinstance(instead, bytes) else json.dumps(document).encode()


def digest_of(data: bytes) -> str:
    """Name content by its SHA-256."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
