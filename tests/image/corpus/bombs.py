"""Layers that are small to send and large to take, and layers that end too early or too late.

Most have wrong diff ids: nobody gets as far as to compare them. `LIMITS` are the bounds that are configured
for these tests where the true ones would take long to reach.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import zlib
from collections.abc import Callable
from dataclasses import replace

import zstandard

from minicontainer.oci.image import OCI_LAYER
from tests.image.corpus.attack import HARMLESS, Attack, Entries, refused, refused_layers, unpacked
from tests.image.layouts import (
    BLOCK,
    END,
    GNU,
    Entry,
    Layer,
    digest_of,
    directory,
    file,
    gzip,
    image,
    layer,
    plain,
    tar,
    tar_layer,
    zstd,
)

MIB = 1 << 20
ZEROS = bytes(MIB)
LIMITS = {"entries": 2000, "unpacked": 64 * MIB, "file": 16 * MIB}


def stored(blob: bytes, media_type: str = f"{OCI_LAYER}+gzip") -> list[Layer]:
    """Take a blob as the image's one layer, whatever is in it."""
    return [Layer(blob, digest_of(b""), media_type)]


def of_zeros(size: int) -> bytes:
    """Write the beginning of a tar file with one file of this size."""
    return file("zeros", size=size).encoded()


def gzip_of_one_member(size: int) -> bytes:
    """Compress a file of zeros: the same flushed block again and again, each of it 1 MiB."""
    compressor = zlib.compressobj(9, wbits=31)
    start = compressor.compress(of_zeros(size)) + compressor.flush(zlib.Z_FULL_FLUSH)
    piece = compressor.compress(ZEROS) + compressor.flush(zlib.Z_FULL_FLUSH)
    return start + piece * (size // MIB)


def zstd_of_repetitions(size: int) -> bytes:
    """Write a frame by hand whose blocks each say `128 KiB of zeros`."""
    run = 128 << 10
    block = (run << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    head = of_zeros(size)
    first = (len(head) << 3).to_bytes(3, "little") + head
    window_of_1_mib = b"\x50"
    return b"\x28\xb5\x2f\xfd" + b"\0" + window_of_1_mib + first + block * (size // run)


def zstd_of_a_large_window() -> bytes:
    """Write a frame that asks for 2 GiB to look back on."""
    window_of_2_gib = bytes([(31 - 10) << 3])
    data = tar(HARMLESS)
    return b"\x28\xb5\x2f\xfd" + b"\0" + window_of_2_gib + (len(data) << 3 | 1).to_bytes(3, "little") + data


def long_header(kind: bytes) -> list[Layer]:
    """Write an extended header, or a GNU long name, of 100 MiB."""
    size = 100 * MIB
    start = Entry(kind=kind, name=b"././@LongLink", magic=GNU, size=size).header()
    return stored(gzip(start) + gzip(b"x" * MIB) * 100 + gzip(tar(HARMLESS)))


BOMBS = (
    refused_layers(
        "bomb-gzip",
        "4 GiB of zeros in 4 MB of gzip (CVE-2017-14992).",
        lambda: stored(gzip_of_one_member(4096 * MIB)),
    ),
    refused_layers(
        "bomb-gzip-members",
        "The same in 4096 members.",
        lambda: stored(gzip(of_zeros(4096 * MIB)) + gzip(ZEROS) * 4096),
    ),
    refused_layers(
        "bomb-zstd",
        "4 GiB of zeros in 128 KB of zstd.",
        lambda: stored(zstd_of_repetitions(4096 * MIB), f"{OCI_LAYER}+zstd"),
    ),
    refused_layers(
        "bomb-zstd-window",
        "A zstd frame that needs 2 GiB of memory to be read.",
        lambda: stored(zstd_of_a_large_window(), f"{OCI_LAYER}+zstd"),
    ),
    refused_layers(
        "bomb-header-after-header",
        "Extended headers without end, and never an entry.",
        lambda: stored(gzip(Entry(kind=b"x", name=b"x", content=b"").encoded() * 100_000)),
    ),
    refused_layers("bomb-pax-header", "An extended header of 100 MB.", lambda: long_header(b"x")),
    refused_layers("bomb-pax-global", "A global extended header of 100 MB.", lambda: long_header(b"g")),
    refused_layers("bomb-gnu-name", "A GNU long name of 100 MB.", lambda: long_header(b"L")),
    refused_layers("bomb-gnu-link", "A GNU long link of 100 MB.", lambda: long_header(b"K")),
    replace(
        refused_layers(
            "bomb-entries",
            "More entries than allowed, each an empty file.",
            lambda: [layer([file(f"{number}") for number in range(LIMITS["entries"] + 1)])],
        ),
        limits=LIMITS,
    ),
    replace(
        refused_layers(
            "bomb-file",
            "One file that is larger than allowed, and honestly so.",
            lambda: stored(zstd(of_zeros(LIMITS["file"] + MIB) + ZEROS * 17)),
            'entry "zeros"',
        ),
        limits=LIMITS,
    ),
    replace(
        refused_layers(
            "bomb-many-files",
            "Files that are larger together than allowed.",
            lambda: stored(zstd(b"".join(file(f"{n}", ZEROS * 4).encoded() for n in range(20)))),
        ),
        limits=LIMITS,
    ),
    refused_layers(
        "bomb-directories",
        "Directories in directories, 5000 deep.",
        lambda: [layer([file("d/" * 5000 + "x")])],
    ),
    refused(
        "bomb-attributes",
        "A file with 2000 attributes, more than the file system has room for.",
        [file("a", xattrs={f"user.{number}": b"x" * 100 for number in range(2000)})],
        "a",
    ),
)


def true_bomb() -> list[Layer]:
    """Compress 300 MiB of zeros, and tell their diff id as it is."""
    pieces = [of_zeros(300 * MIB), *[ZEROS] * 300, END]
    computed = hashlib.sha256()
    for piece in pieces:
        computed.update(piece)
    packed = gzip(pieces[0]) + gzip(ZEROS) * 300 + gzip(END)
    return [Layer(packed, f"sha256:{computed.hexdigest()}", f"{OCI_LAYER}+gzip")]


TRUE_BOMB = refused_layers(
    "bomb-true", "300 MiB of zeros in 0.3 MB of gzip, and nothing else wrong.", true_bomb
)

CONTENT: Entries = [directory("d"), file("d/a", b"a" * 3000), file("d/b", b"b" * 3000)]
TAR = tar(CONTENT)
NO_END = TAR[: -2 * BLOCK]


def cut(name: str, sentence: str, data: bytes, compress: Callable[[bytes], bytes] = plain) -> Attack:
    """Describe a layer that ends too early; its diff id is right for what there is."""
    return refused_layers(name, sentence, lambda: [tar_layer(data, compress)])


def whole(name: str, sentence: str, data: bytes, compress: Callable[[bytes], bytes] = plain) -> Attack:
    """Describe a layer that looks wrong, and is right."""
    return Attack(name=name, sentence=sentence, make=lambda: image([tar_layer(data, compress)]), as_if=TAR)


def zstd_with_checksum(data: bytes) -> bytes:
    """Compress, with a checksum at the end."""
    return zstandard.ZstdCompressor(1, write_checksum=True).compress(data)


def gzip_with_fields(data: bytes) -> bytes:
    """Compress, with all optional fields of the header (RFC 1952)."""
    packed = gzip(data)
    flags = bytes([1 << 2 | 1 << 3 | 1 << 4])
    return packed[:3] + flags + packed[4:10] + b"\4\0abcd" + b"name\0" + b"comment\0" + packed[10:]


def gzip_in_pieces(data: bytes) -> bytes:
    """Compress, with a flush after each 100 bytes."""
    compressor = zlib.compressobj(9, wbits=31)
    pieces = (data[start : start + 100] for start in range(0, len(data), 100))
    packed = b"".join(compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH) for piece in pieces)
    return packed + compressor.flush()


SKIPPABLE = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"
ENDS = (
    cut("cut-in-header", "A tar file ends within a header.", TAR[: 2 * BLOCK + 100]),
    cut("cut-in-content", "A tar file ends within a file.", TAR[: 3 * BLOCK + 100]),
    cut("cut-in-padding", "A tar file ends before a block is full.", NO_END[:-10]),
    cut("cut-in-long-name", "A tar file ends within a long name.", tar([file("n" * 300)])[: BLOCK + 50]),
    cut(
        "cut-after-long-name",
        "A tar file ends between a long name and its entry.",
        tar([file("n" * 300)])[: 2 * BLOCK],
    ),
    cut("cut-gzip", "A gzip file ends early.", TAR, lambda data: gzip(data)[:-30]),
    cut("cut-gzip-trailer", "A gzip file ends before its checksum.", TAR, lambda data: gzip(data)[:-8]),
    cut("cut-zstd", "A zstd file ends early.", TAR, lambda data: zstd(data)[:-3]),
    cut("cut-zstd-header", "A zstd file ends in its header.", TAR, lambda data: zstd(data)[:5]),
    cut(
        "gzip-checksum",
        "A gzip file's checksum is wrong.",
        TAR,
        lambda data: gzip(data)[:-8] + bytes(4) + gzip(data)[-4:],
    ),
    cut(
        "gzip-garbage-after",
        "After a gzip file comes something else.",
        TAR,
        lambda data: gzip(data) + b"garbage",
    ),
    cut(
        "gzip-flipped",
        "A gzip file has a bit flipped.",
        TAR,
        lambda data: gzip(data)[:40] + b"\xff\xff" + gzip(data)[42:],
    ),
    cut(
        "zstd-checksum",
        "A zstd file's checksum is wrong.",
        TAR,
        lambda data: zstd_with_checksum(data)[:-4] + bytes(4),
    ),
    cut(
        "zstd-garbage-after",
        "After a zstd file comes something else.",
        TAR,
        lambda data: zstd(data) + b"garbage",
    ),
    cut("gzip-in-gzip", "A layer is compressed twice.", TAR, lambda data: gzip(gzip(data))),
    cut("bzip2", "A layer is compressed by bzip2, which the specification does not know.", TAR, bz2.compress),
    cut("xz", "A layer is compressed by xz, which the specification does not know.", TAR, lzma.compress),
    whole("no-end", "A tar file has no end marker.", NO_END),
    whole("half-an-end", "A tar file has half an end marker.", NO_END + bytes(BLOCK)),
    whole("long-end", "A tar file has a long end, as tar writes it by records.", TAR + bytes(20 * BLOCK)),
    whole("garbage-after-end", "After the end of a tar file comes something else.", TAR + b"garbage" * 200),
    whole(
        "zstd-frames",
        "A zstd file has several frames and notes between them.",
        TAR,
        lambda data: zstd(data[:900]) + SKIPPABLE + zstd(data[900:]),
    ),
    whole(
        "gzip-with-name",
        "A gzip header has a file name, a comment and extra fields.",
        TAR,
        gzip_with_fields,
    ),
    whole("zstd-with-checksum", "A zstd file has a checksum.", TAR, zstd_with_checksum),
    unpacked("empty-archive", "A layer is an end marker alone.", []),
    whole("many-blocks", "A gzip file has many flushed blocks.", TAR, gzip_in_pieces),
)


ATTACKS: tuple[Attack, ...] = (*BOMBS, TRUE_BOMB, *ENDS)
