"""The parser alone: every form of tar, cut anywhere, and what it refuses."""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.errors import Error
from minicontainer.image.layer.limits import MIB, Limits
from minicontainer.image.layer.sparse import Placing
from minicontainer.image.layer.tar_header import Member
from minicontainer.image.layer.tar_reader import TarReader
from tests.image.layer.unpacking import pieces
from tests.image.layouts import (
    GNU,
    Entry,
    directory,
    file,
    gnu_long,
    hardlink,
    padded,
    pax_header,
    symlink,
    tar,
)

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@dataclass(slots=True)
class Seen:
    """An entry as it came out of the parser."""

    member: Member
    content: bytes = b""
    whole: bool = False


@dataclass
class Recorder:
    """A sink that keeps everything."""

    entries: list[Seen] = field(default_factory=list)

    def begin(self, member: Member) -> None:
        self.entries.append(Seen(member))

    def data(self, piece: memoryview) -> None:
        assert len(piece) > 0
        assert not self.entries[-1].whole
        self.entries[-1].content += piece

    def end(self) -> None:
        self.entries[-1].whole = True


def read(data: bytes, piece: int = 1 << 20, limits: Limits | None = None) -> list[Seen]:
    """Parse a whole archive that comes in pieces."""
    recorder = Recorder()
    reader = TarReader(recorder, limits or Limits())
    for each in pieces(data, piece):
        reader.feed(each)
    reader.finish()
    assert all(seen.whole for seen in recorder.entries)
    assert (reader.size, reader.entries) == (len(data), len(recorder.entries))
    return recorder.entries


def only(*entries: Entry | bytes, limits: Limits | None = None) -> Seen:
    """Parse an archive of one entry."""
    (seen,) = read(tar(entries), limits=limits)
    return seen


# --- against Python's tarfile ----------------------------------------------------------------------

NAMES = st.binary(min_size=1, max_size=230).filter(lambda name: not set(name) & {0, ord("\n")})
PATHS = st.lists(
    NAMES.filter(lambda name: b"/" not in name and name not in (b".", b"..")), min_size=1, max_size=3
)


@st.composite
def infos(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    """Draw an entry that tarfile can write in each of its formats."""
    info = tarfile.TarInfo(b"/".join(draw(PATHS)).decode("utf-8", "surrogateescape"))
    info.type = draw(st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, 2**21 - 1)), draw(st.integers(0, 2**21 - 1))
    info.mtime = draw(st.integers(0, 2**33 - 1))
    content = draw(st.binary(max_size=1100)) if info.type == tarfile.REGTYPE else b""
    info.size = len(content)
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = b"/".join(draw(PATHS)).decode("utf-8", "surrogateescape")
    return info, content


def written(entries: list[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    """Let tarfile write an archive."""
    stream = io.BytesIO()
    with tarfile.open(
        fileobj=stream, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("form", FORMATS, ids=["ustar", "gnu", "pax"])
@given(data=st.data())
def test_what_tarfile_has_written_is_read(form: int, data: st.DataObject) -> None:
    entries = data.draw(st.lists(infos(), max_size=4))
    try:
        archive = written(entries, form)
    except ValueError:  # ustar has no room for it
        assert form == tarfile.USTAR_FORMAT
        return
    found = read(archive, data.draw(st.integers(1, 2000)))
    assert [seen.content for seen in found] == [content for _, content in entries]
    for (info, _), seen in zip(entries, found, strict=True):
        member = seen.member
        assert member.name == info.name.encode("utf-8", "surrogateescape")
        assert member.link == info.linkname.encode("utf-8", "surrogateescape")
        assert (member.kind, member.mode, member.uid, member.gid) == (
            info.type,
            info.mode,
            info.uid,
            info.gid,
        )
        assert member.mtime == info.mtime * 10**9


# --- cut anywhere ----------------------------------------------------------------------------------

LONG = "d" * 90 + "/" + "n" * 120


def everything() -> bytes:
    """Write an archive in which each state of the parser occurs."""
    return tar([
        directory("./"),
        file("short", b"x" * 700),
        file(LONG, b"pax", xattrs={"user.a": b"\n=\0"}, nanoseconds=123456789),
        gnu_long(symlink(LONG, "t" * 150)),
        pax_header({"comment": b"global"}, kind=b"g"),
        file("empty"),
        file("exact", b"e" * 512),
        old_sparse("sparse", [(0, b"a" * 600), (10_000, b"b")], 20_000),
        *sparse_1_0("new", [(512, b"c" * 100), (4096, b"d" * 600)], 9000),
        hardlink("hard", "short"),
    ])  # fmt: skip


def old_sparse(name: str, parts: list[tuple[int, bytes]], size: int, per_block: int = 1) -> bytes:
    """Write a sparse file in GNU's old way, with `per_block` parts in the header, the others after it."""
    content = b"".join(data for _, data in parts)
    head = bytearray(Entry(kind=b"S", name=name.encode(), content=content, magic=GNU).header())
    fields = [b"%011o\0%011o\0" % (offset, len(data)) for offset, data in parts]
    head[386:482] = b"".join(fields[:per_block]).ljust(96, b"\0")
    head[482] = len(fields) > per_block
    head[483:495] = b"%011o\0" % size
    head[148:156] = b"%06o\0 " % (sum(head) - sum(head[148:156]) + 256)
    rest = fields[per_block:]
    blocks = [rest[start : start + 21] for start in range(0, len(rest), 21)]
    more = b"".join(
        (b"".join(each).ljust(504, b"\0") + bytes((index < len(blocks) - 1,))).ljust(512, b"\0")
        for index, each in enumerate(blocks)
    )
    return bytes(head) + more + padded(content)


def sparse_1_0(name: str, parts: list[tuple[int, bytes]], size: int) -> list[Entry | bytes]:
    """Write a sparse file with its map before its content."""
    numbers = [len(parts), *(number for offset, data in parts for number in (offset, len(data)))]
    content = padded(b"".join(b"%d\n" % number for number in numbers)) + b"".join(data for _, data in parts)
    records = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.name": name.encode()}
    return [file("stand-in", content, pax={**records, "GNU.sparse.realsize": b"%d" % size})]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 511, 512, 513, 1000])
def test_where_the_pieces_are_cut_makes_no_difference(size: int) -> None:
    whole = read(everything())
    assert read(everything(), size) == whole
    assert [seen.member.name.decode() for seen in whole] == [
        "./", "short", LONG, LONG, "empty", "exact", "sparse", "new", "hard"
    ]  # fmt: skip


def test_an_archive_that_is_cut_off_is_refused_unless_no_entry_is_incomplete() -> None:
    data = everything()
    whole, complete = read(data), []
    for kept in range(len(data) - 1024):
        try:
            found = read(data[:kept])
        except Error as problem:
            assert str(problem) == "the archive is cut off"
        else:
            assert found == whole[: len(found)]
            complete.append(len(found))
    assert sorted(set(complete)) == list(range(len(whole)))


def test_an_archive_without_the_two_blocks_at_the_end_is_whole() -> None:
    assert read(tar([file("a", b"b")], end=b"")) == read(tar([file("a", b"b")]))


def test_nothing_at_all_is_an_archive_without_entries() -> None:
    assert read(b"") == read(bytes(1024)) == []


def test_what_follows_the_end_is_not_read() -> None:
    assert read(tar([file("a")]) + b"what POSIX calls undefined" * 99) == read(tar([file("a")]))


def test_a_single_block_of_zeros_between_entries_is_refused() -> None:
    with pytest.raises(Error, match="single block of zeros"):
        read(tar([file("a"), bytes(512), file("b")]))


# --- numbers and names -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 2**21, 2**31, 2**32 - 2])
def test_owners_are_octal_or_binary(value: int) -> None:
    member = only(file("a", uid=value, gid=value)).member
    assert (member.uid, member.gid) == (value, value)


@pytest.mark.parametrize("value", [-(2**33), -1, 0, 2**33, 2**62])
def test_times_may_be_before_1970_and_far_away(value: int) -> None:
    assert only(file("a", mtime=value)).member.mtime == value * 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"-1.5", -1_500_000_000),
        (b"-0.25", -250_000_000),
        (b"7.1234567899999", 7_123_456_789),
        (b"7.", 7_000_000_000),
    ],
)
def test_pax_times_have_fractions(text: bytes, nanoseconds: int) -> None:
    assert only(file("a", pax={"mtime": text})).member.mtime == nanoseconds


@pytest.mark.parametrize(
    "field",
    [{"uid": 2**32 - 1}, {"gid": 2**40}, {"uid": -1}, {"size": -1}, {"mtime": 2**63}, {"mtime": -(2**80)}],
    ids=lambda field: str(next(iter(field.items()))),
)
def test_numbers_that_cannot_be_are_refused(field: dict[str, int]) -> None:
    with pytest.raises(Error, match=r"no user or group|has the size|no time"):
        read(tar([replace(file("a"), **field)]))


@pytest.mark.parametrize(
    "digits", [b"-0000001", b"+0000001", b"0o00001 ", b"1_0     ", b"0000008\0", b"12\x003456\0"]
)
def test_a_number_must_be_octal(digits: bytes) -> None:
    header = bytearray(file("a").header())
    header[100:108] = digits.ljust(8, b"\0")[:8]
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    with pytest.raises(Error, match="not an octal number"):
        read(bytes(header))


def test_numbers_may_have_spaces_around_them_and_may_be_missing() -> None:
    header = bytearray(file("a", mode=0o644).header())
    header[100:108], header[108:116] = b"  644 \0\0", bytes(8)
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    (seen,) = read(bytes(header))
    assert (seen.member.mode, seen.member.uid) == (0o644, 0)


@pytest.mark.parametrize("place", [0, 99, 120, 156, 300, 511])
def test_each_byte_counts_for_the_checksum(place: int) -> None:
    header = bytearray(file("a" * 100).header())
    header[place] ^= 1
    with pytest.raises(Error, match="checksum"):
        read(bytes(header))


@given(st.binary(min_size=512, max_size=512))
def test_any_block_is_a_header_or_is_refused(block: bytes) -> None:
    try:
        read(block)
    except Error:
        return
    assert block == bytes(512)


def test_a_prefix_of_the_name_is_read_in_ustar_alone() -> None:
    entry = file("name", prefix=b"prefix")
    assert only(entry).member.name == b"prefix/name"
    assert only(replace(entry, magic=GNU)).member.name == b"name"


def test_user_and_group_names_are_not_looked_at() -> None:
    member = only(file("a", uid=7, gid=8, uname=b"root", gname=b"root")).member
    assert (member.uid, member.gid) == (7, 8)


def test_pax_outweighs_a_long_name_and_that_the_header() -> None:
    long = Entry(kind=b"L", name=b"././@LongLink", content=b"long\0rest").encoded()
    assert only(long, file("short")).member.name == b"long"
    assert only(long, file("short", pax={"path": b"pax"})).member.name == b"pax"


def test_an_announcement_is_for_one_entry() -> None:
    first, second = read(tar([gnu_long(file("l" * 120)), file("a", pax={"uid": b"7"}), file("b")]))[::2]
    assert (first.member.name, second.member.name, second.member.uid) == (b"l" * 120, b"b", 0)


def test_a_global_header_is_for_all_that_follow_and_outweighed_by_their_own() -> None:
    records = pax_header({"uid": b"7", "gid": b"7"}, kind=b"g")
    taken_back = pax_header({"gid": b""}, kind=b"g")
    entries = [file("a"), records, file("b"), file("c", pax={"uid": b"8"}), taken_back, file("d", gid=3)]
    owners = [(seen.member.uid, seen.member.gid) for seen in read(tar(entries))]
    assert owners == [(0, 0), (7, 7), (8, 7), (7, 3)]


def test_the_character_set_of_names_does_not_matter() -> None:
    member = only(file("a", pax={"hdrcharset": b"BINARY", "path": b"\xff\xfe"})).member
    assert member.name == b"\xff\xfe"


def test_attributes_may_hold_anything() -> None:
    value = bytes(range(256)) + b"\n12 a=b\n"
    assert only(file("a", xattrs={"user.a=": value})).member.xattrs == ((b"user.a", b"=" + value),)
    assert only(file("a", xattrs={"user.a": value, "security.capability": b""})).member.xattrs == (
        (b"user.a", value),
        (b"security.capability", b""),
    )


@pytest.mark.parametrize(
    "records",
    [
        b"12 path=a\n",
        b"10 path=abc",
        b"x path=a\n",
        b" path=a\n",
        b"-9 path=a\n",
        b"7 path\n",
        b"5 =a\n",
        b"99999999999999999999999 a=b\n",
        b"3 a=b\n",
        b"path=a\n",
    ],
)
def test_malformed_pax_records_are_refused(records: bytes) -> None:
    with pytest.raises(Error, match="malformed record at byte 0"):
        read(tar([Entry(kind=b"x", name=b"pax", content=records), file("a")]))


@pytest.mark.parametrize(
    "records",
    [
        {"path": b"a\0b"},
        {"SCHILY.xattr.user.a\0": b"b"},
        {"linkpath": b"\0"},
        {"uid": b"0x1"},
        {"mtime": b"1,5"},
        {"mtime": b"1.-5"},
        {"size": b"-1"},
    ],
    ids=str,
)
def test_wrong_pax_values_are_refused(records: dict[str, bytes]) -> None:
    with pytest.raises(Error, match=r"PAX header|has the size"):
        read(tar([file("a", pax=records)]))


# --- kinds and sizes -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [b"\0", b"0", b"7"])
def test_old_and_contiguous_files_are_regular_ones(kind: bytes) -> None:
    seen = only(Entry(kind=kind, name=b"a", content=b"b"))
    assert (seen.member.kind, seen.content) == (b"0", b"b")


def test_a_file_with_a_slash_at_its_end_is_a_directory() -> None:
    assert only(file("a/")).member.kind == b"5"


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_only_files_have_content_whatever_the_header_says(kind: bytes) -> None:
    first, second = read(tar([Entry(kind=kind, name=b"a", link=b"b", size=10**9), file("b", b"c")]))
    assert (first.member.size, first.content, second.content) == (0, b"", b"c")


@pytest.mark.parametrize("kind", [b"M", b"V", b"D", b"N", b"Q", b"8", b"\xff"])
def test_kinds_that_layers_do_not_have_are_refused(kind: bytes) -> None:
    with pytest.raises(Error, match="its type is"):
        read(tar([Entry(kind=kind, name=b"a")]))


def test_a_pax_size_outweighs_that_of_the_header() -> None:
    assert only(file("a", b"12345", size=0, pax={"size": b"5"})).content == b"12345"


# --- sparse files ----------------------------------------------------------------------------------


def laid_out(seen: Seen) -> bytes:
    """Put the content of a sparse file where it belongs."""
    assert seen.member.sparse
    whole = bytearray(seen.member.sparse.size)
    for offset, piece in Placing(seen.member.sparse.parts).place(memoryview(seen.content)):
        whole[offset : offset + len(piece)] = piece
    return bytes(whole)


PARTS = [(number * 10_000, bytes((number + 1,)) * 700) for number in range(30)]
SIZE = 400_000
WHOLE = b"".join(data.ljust(10_000, b"\0") for _, data in PARTS).ljust(SIZE, b"\0")


@pytest.mark.parametrize("per_block", [1, 4])
def test_gnu_sparse_files_are_read(per_block: int) -> None:
    (seen,) = read(tar([old_sparse("a", PARTS, SIZE, per_block)]))
    assert laid_out(seen) == WHOLE


def test_sparse_files_with_the_map_before_the_content_are_read() -> None:
    seen = only(*sparse_1_0("right/name", PARTS, SIZE))
    assert (seen.member.name, laid_out(seen)) == (b"right/name", WHOLE)


def test_sparse_files_with_the_map_in_one_keyword_are_read() -> None:
    numbers = ",".join(f"{offset},{len(data)}" for offset, data in PARTS).encode()
    records = {"GNU.sparse.map": numbers, "GNU.sparse.size": b"%d" % SIZE, "GNU.sparse.name": b"right"}
    seen = only(file("wrong", b"".join(data for _, data in PARTS), pax=records))
    assert (seen.member.name, laid_out(seen)) == (b"right", WHOLE)


@pytest.mark.requires("tool:tar")
@pytest.mark.parametrize(
    "form", ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"]
)
def test_sparse_files_of_gnu_tar_are_read(form: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as holes:
        for offset in range(0, 30):
            holes.seek(offset * 128 * 1024)
            holes.write(b"%d" % offset * 1000)
        holes.truncate(5 << 20)
    command = [
        "tar",
        "-C",
        tmp_path,
        "-S",
        *(["--format=pax"] if "version" in form else []),
        form,
        "-cf",
        "-",
        "file",
    ]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    (seen,) = read(archive, 1000)
    assert seen.member.name == b"file"
    assert laid_out(seen) == path.read_bytes()
    assert len(archive) < 1 << 20


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        ([(10, b"aa"), (11, b"b")], 100),
        ([(10, b"aa"), (0, b"b")], 100),
        ([(99, b"aa")], 100),
        ([(2**33, b"a")], 2**32),
    ],
)
def test_a_sparse_map_that_cannot_be_is_refused(parts: list[tuple[int, bytes]], size: int) -> None:
    with pytest.raises(Error, match="its sparse map"):
        read(tar(sparse_1_0("a", parts, size)))


@pytest.mark.parametrize("text", [b"1\n2\n", b"-1\n", b"x\n", b"9" * 300, b"1\n\n\n"])
def test_a_sparse_map_that_is_no_text_of_numbers_is_refused(text: bytes) -> None:
    (entry,) = sparse_1_0("a", [], 100)
    with pytest.raises(Error):
        read(tar([replace(entry, content=padded(text) + bytes(512))]))  # type: ignore[type-var]


# --- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_of_100_megabytes_is_refused_before_it_is_read(kind: bytes) -> None:
    with pytest.raises(Error, match="a header is larger than 1048576 bytes"):
        read(Entry(kind=kind, name=b"a", size=100 * MIB).header())


def test_a_global_header_gives_no_attributes_and_is_not_kept() -> None:
    records = pax_header({"SCHILY.xattr.user.a": b"v", "comment": b"c", "mtime": b"7"}, kind=b"g")
    member = only(records, file("a", xattrs={"user.b": b"v"})).member
    assert (member.xattrs, member.mtime) == (((b"user.b", b"v"),), 7 * 10**9)


def test_a_sparse_map_may_not_go_on_without_end() -> None:
    header = old_sparse("a", [(0, b"")], 0, per_block=0)[:512]
    with pytest.raises(Error, match="empty block"):
        read(header + (bytes(504) + b"\x01" + bytes(7)) * 3)


def test_a_sparse_map_has_the_size_of_a_header() -> None:
    parts = [(2 * number, b"a") for number in range(60_000)]
    with pytest.raises(Error, match="a header is larger"):
        read(tar([old_sparse("a", parts, 10**6)]))
    with pytest.raises(Error, match="a header is larger"):
        read(tar(sparse_1_0("a", [(10**12 + 2 * number, b"a") for number in range(70_000)], 10**13)))


def test_a_file_may_have_a_certain_size_holes_included() -> None:
    assert only(file("a", b"12345"), limits=Limits(file=5))
    with pytest.raises(Error, match="larger than 5 bytes"):
        only(file("a", b"123456"), limits=Limits(file=5))
    with pytest.raises(Error, match="larger than"):
        only(*sparse_1_0("a", [(0, b"b")], 8 << 60))


def test_an_archive_may_have_a_certain_size_and_number_of_entries() -> None:
    data = tar([file("a"), file("b")])
    assert len(read(data, limits=Limits(entries=2, unpacked=len(data)))) == 2
    with pytest.raises(Error, match="more than 1 entries"):
        read(data, limits=Limits(entries=1))
    with pytest.raises(Error, match="larger than 2047 bytes"):
        read(data, limits=Limits(unpacked=len(data) - 1))
