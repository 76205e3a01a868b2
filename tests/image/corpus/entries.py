"""Layers whose entries are odd in themselves: types, names, owners, attributes, sizes, headers."""

from __future__ import annotations

from dataclasses import replace

from tests.image.corpus.attack import Attack, Entries, refused, refused_layers, unpacked
from tests.image.layouts import (
    END,
    GNU,
    Entry,
    Layer,
    block,
    character,
    directory,
    fifo,
    file,
    gnu_long,
    hardlink,
    layer,
    pax_header,
    symlink,
    tar,
    tar_layer,
    whiteout,
)

OVERLAY = {
    "trusted.overlay.opaque": b"y",
    "trusted.overlay.redirect": b"/etc",
    "trusted.overlay.metacopy": b"",
}


def one_of_each(name: str) -> dict[str, Entry]:
    """Make an entry of each type with this name."""
    return {
        "file": file(name, b"content"),
        "directory": directory(name, 0o750),
        "symlink": symlink(name, "target"),
        "hardlink": hardlink(name, "target"),
        "fifo": fifo(name),
        "character": character(name, 1, 3),
        "block": block(name, 7, 200),
    }


TYPES = tuple(one_of_each(""))


def all_types_then(last: str) -> Entries:
    """Write every type, and over each the type `last`; a whiteout of the same name deletes neither."""
    pairs = [(one_of_each(f"{first}-{last}")[first], one_of_each(f"{first}-{last}")[last]) for first in TYPES]
    return [file("target", b"target"), *(entry for pair in pairs for entry in pair)]


DUPLICATES = (
    *(
        unpacked(
            f"all-types-then-{last}",
            f"The same name twice, first as anything, then as {last}: the last one counts.",
            all_types_then(last),
        )
        for last in TYPES
    ),
    unpacked(
        "full-directory-then-file",
        "A directory with something in it becomes a file.",
        [file("d/a/b", b"x"), directory("d/c"), file("d", b"file")],
        as_if=[file("d", b"file")],
    ),
    unpacked(
        "full-directory-then-symlink-then-more",
        "A directory with something in it becomes a link to another, and files follow.",
        [file("d/a", b"x"), directory("e"), symlink("d", "e"), file("d/b", b"y")],
        as_if=[directory("e"), symlink("d", "e"), file("e/b", b"y")],
    ),
    unpacked(
        "directory-twice",
        "A directory comes again with another mode: it keeps what is in it.",
        [directory("d", 0o700), file("d/a"), directory("d", 0o711, uid=5, mtime=1_600_000_000)],
    ),
    unpacked(
        "file-over-hardlink",
        "A file replaces one of two names of a file: the other keeps its content.",
        [file("a", b"first"), hardlink("b", "a"), file("a", b"second"), file("b", b"third", mode=0o600)],
    ),
    unpacked(
        "fifo-then-file",
        "A file replaces a FIFO: opening that would wait for ever.",
        [fifo("pipe"), file("pipe", b"content"), fifo("pipe2"), hardlink("pipe3", "pipe2")],
    ),
    unpacked(
        "whiteout-and-file",
        "A layer deletes a name and makes it, in both orders: it is there.",
        [whiteout("a"), file("a", b"new"), file("b", b"new"), whiteout("b"), directory("d"), whiteout("d")],
        below=[[file("a", b"old"), file("b", b"old"), file("d/old"), file("c", b"kept")]],
        as_if=[file("a", b"new"), file("b", b"new"), directory("d"), file("c", b"kept")],
    ),
)

LONGEST = b"n" * 255
TOO_LONG = b"n" * 256
TOO_LONG_PATH = b"/".join([b"d" * 200] * 21)
ODD = bytes(range(1, 47)) + bytes(range(48, 256))  # no NUL, no slash

NAMES = (
    unpacked(
        "name-not-utf8", "A name is not UTF-8.", [file(b"caf\xe9", b"x"), symlink(b"\xff", b"\xfe\xfd")]
    ),
    unpacked(
        "name-control-characters",
        "Names with newlines, escapes, bells, quotes, backslashes, all bytes.",
        [
            *(file(b"a\nb", b"x"), file(b"\x1b[31mred", b"x"), file(b"quote\"'\\", b"x"), file(ODD, b"x")),
            *(file(" ", b"x"), file("-rf", b"x"), file("*", b"x"), file("~", b"x")),
        ],
    ),
    refused(
        "error-control-characters",
        "A name that is refused has escapes in it, for the terminal that shows the error.",
        [file(b"../\x1b[2Jcleared\nminicontainer: all is well")],
        "../\\x1b[2Jcleared\\nminicontainer: all is well",
    ),
    unpacked(
        "name-255", "A name is as long as it may be.", [file(LONGEST, b"x"), file(b"d/" + LONGEST, b"x")]
    ),
    refused_layers(
        "name-256",
        "A name is longer than a file system has room for.",
        lambda: [layer([file(TOO_LONG, b"x")])],
        'entry "nnnn',
    ),
    refused_layers(
        "name-4097-directories",
        "A path is longer than PATH_MAX, and so are its implied directories.",
        lambda: [layer([file(TOO_LONG_PATH + b"/" + b"d" * 40, b"x")])],
        'entry "dddd',
    ),
    refused("symlink-4096", "A link's target is longer than PATH_MAX.", [symlink("l", "t" * 4096)], "l"),
    unpacked("symlink-4095", "A link's target is as long as it may be.", [symlink("l", "t" * 4095)]),
    refused("symlink-empty", "A link leads to nothing.", [symlink("l", "")], "l"),
    unpacked(
        "names-long-in-three-ways",
        "Long names by prefix, by extended header and in GNU's way.",
        [
            file("y" * 100, b"1", prefix=b"x" * 155),
            file("z" * 120 + "/" + "z" * 120, b"2"),
            gnu_long(file("g" * 200 + "/" + "g" * 200, b"3")),
            gnu_long(symlink("s" * 200, "t" * 300)),
        ],
    ),
    unpacked(
        "name-of-a-whiteouts-prefix",
        "Names that only look like whiteouts.",
        [file("wh.a"), file(".wh"), file(".whx"), directory("x.wh.y")],
    ),
    unpacked(
        "whiteout-metadata",
        "Names that are reserved for aufs are ignored.",
        [file(".wh..wh.aufs", b"x"), directory(".wh..wh.plnk", 0o700), directory(".wh..wh.orph"), file("a")],
        as_if=[file("a")],
    ),
)

OWNERS = (
    unpacked(
        "owner-names",
        "The names of the owner say root, or what a name service would look up; the numbers count.",
        [
            file("a", uid=1000, gid=1000, uname=b"root", gname=b"root"),
            file("b", uid=1, gid=2, uname=b"\n\x1b[2J", gname=b"%s%n"),
            file("c", pax={"uname": b"root", "gname": b"root"}, uid=7, gid=8),
        ],
    ),
    unpacked("owner-large", "Owners need 31 bits.", [file("a", uid=2**31 - 2, gid=2**31 - 3)]),
    refused(
        "owner-minus-one",
        "4294967295 is -1, `leave it`: the file would stay root's.",
        [file("a", uid=2**32 - 1)],
        "a",
    ),
    refused("owner-33-bits", "4294967296 is 0 in 32 bits.", [file("a", gid=2**32)], "a"),
    refused("owner-negative", "An owner is negative, in base 256.", [file("a", uid=-5)], "a"),
    refused(
        "owner-not-a-number",
        "An owner in an extended header is a word.",
        [file("a", pax={"uid": b"root"})],
        "a",
    ),
    unpacked(
        "mode-bits",
        "A mode has the bits of another file type.",
        [Entry(kind=b"0", name=b"a", mode=0o120755), Entry(kind=b"5", name=b"d", mode=0o100711)],
        as_if=[file("a", mode=0o755), directory("d", 0o711)],
    ),
    unpacked(
        "setuid-and-owner",
        "The setuid bit stays when the owner is set after it.",
        [file("a", b"x", mode=0o6755, uid=1000, gid=1000), directory("d", 0o3777, gid=50)],
    ),
)

SPECIAL = (
    unpacked(
        "devices",
        "Devices of the host are made as they are: what may open them is the runtime's to say.",
        [
            character("mem", 1, 1, mode=0o666),
            block("disk", 8, 0, mode=0o660, gid=6),
            character("big", 4095, 1048575),
        ],
    ),
    refused(
        "device-0-0",
        "A character device 0:0 deletes a name of another layer without a whiteout.",
        [character("etc/passwd", 0, 0)],
        "etc/passwd",
        below=[[file("etc/passwd", b"all users")]],
    ),
    refused(
        "device-too-large",
        "A device number has more bits than the kernel's.",
        [character("a", 2**20, 0)],
        "a",
    ),
    unpacked(
        "overlay-attributes",
        "A layer's attributes tell overlayfs to look elsewhere, to hide, to take content from below.",
        [directory("d", xattrs=OVERLAY), file("f", b"mine", xattrs=OVERLAY), file("d/x")],
        below=[[directory("d"), file("d/below", b"x"), file("f", b"below")]],
        as_if=[directory("d"), file("d/below", b"x"), file("d/x"), file("f", b"mine")],
    ),
    unpacked(
        "user-overlay-attributes",
        "The same in the form that a rootless overlay obeys.",
        [directory("d", xattrs={"user.overlay.opaque": b"y"}), file("d/x")],
        below=[[file("d/below", b"x")]],
        as_if=[directory("d"), file("d/below", b"x"), file("d/x")],
    ),
    unpacked(
        "capabilities",
        "A file capability stays, although the owner is set.",
        [
            file(
                "ping",
                b"x",
                uid=1,
                xattrs={"security.capability": bytes.fromhex("01000002002000000000000000000000") + bytes(4)},
            )
        ],
    ),
    unpacked(
        "xattr-no-namespace",
        "An attribute has no namespace, so that no file system has it.",
        [file("a", xattrs={"evil": b"1"})],
        as_if=[file("a")],
    ),
    refused(
        "xattr-too-large",
        "An attribute is larger than the kernel takes.",
        [file("a", xattrs={"user.a": b"x" * 70_000})],
        "a",
    ),
    refused("unknown-type", "An entry's type is not known.", [Entry(kind=b"Z", name=b"a")], "a"),
    refused(
        "multi-volume",
        "An entry is the rest of a file of another archive.",
        [Entry(kind=b"M", name=b"a", magic=GNU)],
        "a",
    ),
    unpacked(
        "old-types",
        "A file without a type, one that is contiguous, and a directory by its slash alone.",
        [
            Entry(kind=b"\0", name=b"a", content=b"x"),
            Entry(kind=b"7", name=b"b", content=b"y"),
            Entry(kind=b"\0", name=b"c/", mode=0o700),
        ],
    ),
    unpacked(
        "times",
        "Times before 1970, with nanoseconds and after 2038.",
        [
            file("a", mtime=-5),
            file("b", mtime=2**33, nanoseconds=999_999_999),
            file("c", pax={"mtime": b"-1.25"}),
        ],
    ),
    refused("time-not-a-number", "A time is not a number.", [file("a", pax={"mtime": b"nan"})], "a"),
    refused(
        "time-too-large",
        "A time is beyond what the kernel counts.",
        [file("a", pax={"mtime": b"1" + b"0" * 300})],
        "a",
    ),
)

HIDDEN = tar([file("hidden", b"hidden")], end=b"")
SIZES = (
    unpacked(
        "size-in-pax",
        "The size in the extended header counts, not the header's: what follows is content (CVE-2025-62518).",
        [Entry(kind=b"0", name=b"a", size=0, content=HIDDEN, pax={"size": b"%d" % len(HIDDEN)}), file("b")],
    ),
    unpacked(
        "size-in-header-larger",
        "The header's size is larger than the extended header's.",
        [Entry(kind=b"0", name=b"a", size=10**9, content=b"x", pax={"size": b"1"}), file("b")],
    ),
    refused("size-negative", "A size is negative, in base 256.", [file("a", size=-1)], "a"),
    refused("size-too-large", "A size has more than 63 bits.", [file("a", size=2**63)], "a"),
    refused(
        "size-pax-negative",
        "A size in an extended header is negative.",
        [file("a", pax={"size": b"-1"})],
        "a",
    ),
    refused(
        "size-pax-hexadecimal",
        "A size in an extended header is hexadecimal.",
        [file("a", pax={"size": b"0x10"})],
        "a",
    ),
    refused_layers(
        "size-not-octal",
        "A size in a header is not octal.",
        lambda: [tar_layer(tar([broken_size(file("a", b"x" * 9))]))],
    ),
    refused_layers(
        "checksum",
        "A header's checksum is wrong: it is not a header.",
        lambda: [layer([file("a"), replace(file("b"), checksum=1)])],
    ),
    refused_layers(
        "pax-record-length",
        "A record's length reaches beyond its header.",
        lambda: [layer([Entry(kind=b"x", name=b"pax", content=b"999 path=x\n"), file("a")])],
    ),
    refused_layers(
        "pax-record-zero",
        "A record's length is 0: a reader that goes on by it stands still.",
        lambda: [layer([Entry(kind=b"x", name=b"pax", content=b"0 path=x\n"), file("a")])],
    ),
    refused_layers(
        "pax-record-no-equals",
        "A record has no `=`.",
        lambda: [layer([Entry(kind=b"x", name=b"pax", content=b"8 path\n\n"), file("a")])],
    ),
    refused_layers(
        "pax-record-huge-number",
        "A record's length has 5000 digits: reading it as a number takes long.",
        lambda: [layer([Entry(kind=b"x", name=b"pax", content=b"9" * 5000 + b" path=x\n"), file("a")])],
    ),
    unpacked(
        "entries-after-the-end",
        "Entries after the end of the archive: one reader stops, another goes on.",
        [file("a", b"x"), END, file("hidden", b"x")],
    ),
    unpacked(
        "symlink-with-content",
        "A link and a directory have content: it is skipped, or it is the next header.",
        [
            Entry(kind=b"2", name=b"l", link=b"t", mode=0o777, content=HIDDEN),
            Entry(kind=b"5", name=b"d", mode=0o755, content=HIDDEN),
            file("b"),
        ],
    ),
)


def broken_size(entry: Entry) -> bytes:
    """Write a file whose size field is no number, with a right checksum."""
    header = bytearray(entry.header())
    header[124:136] = b"99999999999\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + entry.encoded()[512:]


def sparse(name: str, real: int, *parts: tuple[int, int], content: bytes = b"") -> bytes:
    """Write a sparse file in the old GNU format: a map of (offset, length), and what is stored."""
    entry = Entry(kind=b"S", name=name.encode(), content=content, magic=GNU)
    header = bytearray(entry.header())
    for number, (offset, length) in enumerate(parts):
        place = 386 + 24 * number
        header[place : place + 24] = (
            b"%011o\0%011o\0" % (offset, length) if offset < 8**11 else wide(offset) + wide(length)
        )
    header[483:495] = b"%011o\0" % real if real < 8**11 else wide(real)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + b"\0" * (-len(content) % 512)


def wide(value: int) -> bytes:
    """Write a number in base 256."""
    return (value | 1 << 95).to_bytes(12, "big")


def sparse_pax(name: str, real: int, text: bytes, content: bytes = b"") -> Entry:
    """Write a sparse file in the format GNU.sparse 1.0, whose map stands before the content."""
    records = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.name": name.encode()}
    records["GNU.sparse.realsize"] = b"%d" % real
    return file("GNUSparseFile.0/x", text.ljust(-(-len(text) // 512) * 512, b"\0") + content, pax=records)


SPARSE = (
    unpacked(
        "sparse-formats",
        "Sparse files in three formats.",
        [
            sparse("old", 1 << 20, (4096, 5), (1 << 20, 0), content=b"12345"),
            sparse_pax("one", 1 << 20, b"2\n8192\n5\n1048576\n0\n", b"12345"),
            file(
                "GNUSparseFile.0/y",
                b"12345",
                pax={
                    "GNU.sparse.size": b"1048576",
                    "GNU.sparse.numblocks": b"2",
                    "GNU.sparse.map": b"4096,5,1048576,0",
                    "GNU.sparse.name": b"zero",
                },
            ),
        ],
    ),
    refused(
        "sparse-8-exbibytes",
        "A sparse file of 8 EiB costs one header.",
        [sparse("a", 2**63 - 1, (2**63 - 1, 0))],
        "a",
    ),
    refused(
        "sparse-overlap",
        "The parts of a sparse file overlap.",
        [sparse("a", 100, (0, 10), (5, 10), content=b"x" * 20)],
        "a",
    ),
    refused(
        "sparse-backwards",
        "The parts of a sparse file go backwards.",
        [sparse("a", 100, (50, 10), (0, 10), content=b"x" * 20)],
        "a",
    ),
    refused(
        "sparse-beyond",
        "A part of a sparse file lies beyond its end.",
        [sparse("a", 5, (0, 10), content=b"x" * 10)],
        "a",
    ),
    refused(
        "sparse-more-than-stored",
        "The map of a sparse file says more than is stored.",
        [sparse("a", 1000, (0, 900), content=b"x" * 10)],
        "a",
    ),
    refused(
        "sparse-negative",
        "A part of a sparse file lies before its beginning.",
        [sparse_pax("a", 100, b"1\n-5\n10\n", b"x" * 10)],
        "a",
    ),
    refused(
        "sparse-map-huge",
        "The map of a sparse file says that it has 10^18 parts.",
        [sparse_pax("a", 100, b"1000000000000000000\n0\n1\n", b"x")],
        "a",
    ),
    refused(
        "sparse-map-not-numbers",
        "The map of a sparse file is no list of numbers.",
        [sparse_pax("a", 100, b"x\ny\nz\n", b"x")],
        "a",
    ),
)

GLOBAL = (
    unpacked(
        "global-header",
        "A global extended header gives owners and times to what has none of its own; git writes a comment.",
        [pax_header({"comment": b"0123"}, b"g"), file("a", uid=3), file("b", uid=4)],
    ),
)


def foreign(name: str) -> Layer:
    """Make a layer of something that is no tar at all."""
    return tar_layer(name.encode() * 300)


NO_TAR = (refused_layers("no-tar", "A layer is text.", lambda: [foreign("This is no tar file. ")]),)

ATTACKS: tuple[Attack, ...] = (*DUPLICATES, *NAMES, *OWNERS, *SPECIAL, *SIZES, *SPARSE, *GLOBAL, *NO_TAR)
