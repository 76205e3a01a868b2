"""Tar files as other readers understand them."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.image.layer.limits import Limits
from minicontainer.image.layer.tar_header import Member, number
from minicontainer.image.layer.tar_reader import TarReader
from minicontainer.image.layer.tar_writer import TarEntry, TarWriter, record

KINDS = {b"0": "file", b"1": "link", b"2": "symlink", b"3": "character", b"5": "directory", b"6": "fifo"}
PARTS = st.binary(min_size=1, max_size=110).filter(
    lambda part: not set(part) & set(b"\0/") and part[:1] != b"."
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(b"/".join)
NUMBERS = st.one_of(st.integers(0, 2**32 - 2), st.sampled_from([0, 8**7 - 1, 8**7]))
TIMES = st.one_of(
    st.integers(-(10**18), 10**20), st.integers(-(10**9), 10**11).map(lambda second: second * 10**9)
)
XATTRS = st.dictionaries(
    st.from_regex(rb"user\.[a-z%]{1,10}", fullmatch=True), st.binary(max_size=1000), max_size=3
)


@st.composite
def entries(draw: st.DrawFn) -> tuple[TarEntry, bytes]:
    kind = draw(st.sampled_from(sorted(KINDS)))
    content = draw(st.binary(max_size=1500)) if kind == b"0" else b""
    name = draw(NAMES)
    return TarEntry(
        name=name + b"/" if kind == b"5" else name,
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(NUMBERS),
        gid=draw(NUMBERS),
        size=len(content),
        mtime=draw(TIMES),
        link=draw(NAMES) if kind in (b"1", b"2") else b"",
        device=draw(st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1))) if kind == b"3" else (0, 0),
        xattrs=tuple(sorted(draw(XATTRS).items())) if kind != b"1" else (),
    ), content


def written(members: Sequence[tuple[TarEntry, bytes]]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out)
    for entry, content in members:
        writer.add(entry, [content[:100], content[100:]])
    writer.finish()
    assert writer.entries == len(members)
    return out.getvalue()


@given(st.lists(entries(), max_size=5))
def test_python_reads_what_we_write(members: Sequence[tuple[TarEntry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(members)), encoding="utf-8") as file:
        for (entry, content), told in zip(members, file, strict=True):
            assert as_told_by_python(told) == entry
            if entry.kind == b"0":
                stream = file.extractfile(told)
                assert stream is not None
                assert stream.read() == content


def as_told_by_python(told: tarfile.TarInfo) -> TarEntry:
    records = {raw(name): raw(value) for name, value in told.pax_headers.items()}
    prefix = b"SCHILY.xattr."
    return TarEntry(
        name=raw(told.name) + b"/" * told.isdir(),
        kind=told.type,
        mode=told.mode,
        uid=told.uid,
        gid=told.gid,
        size=told.size,
        mtime=int(Decimal(records.get(b"mtime", b"%d" % told.mtime).decode()) * 10**9),
        link=raw(told.linkname),
        device=(told.devmajor, told.devminor) if told.ischr() else (0, 0),
        xattrs=tuple(sorted((k.removeprefix(prefix), v) for k, v in records.items() if k.startswith(prefix))),
    )


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class Kept:
    """A sink that keeps what our own reader tells."""

    def __init__(self) -> None:
        self.entries: list[tuple[TarEntry, bytes]] = []

    def begin(self, member: Member) -> None:
        told = {
            name: getattr(member, name)
            for name in ("name", "kind", "mode", "uid", "gid", "size", "mtime", "link")
        }
        major, minor = map(number, member.device)
        self.entries.append(
            (TarEntry(**told, device=(major, minor), xattrs=tuple(sorted(member.xattrs))), b"")
        )

    def data(self, piece: memoryview) -> None:
        entry, content = self.entries[-1]
        self.entries[-1] = entry, content + piece

    def end(self) -> None:
        entry, content = self.entries[-1]
        assert len(content) == entry.size


@given(st.lists(entries(), max_size=5))
def test_we_read_what_we_write(members: Sequence[tuple[TarEntry, bytes]]) -> None:
    kept = Kept()
    reader = TarReader(kept, Limits())
    reader.feed(written(members))
    reader.finish()
    assert kept.entries == list(members)


@pytest.mark.requires("tool:tar")
@given(st.lists(entries(), max_size=20))
def test_gnu_tar_finds_nothing_to_complain_of(members: Sequence[tuple[TarEntry, bytes]]) -> None:
    told = subprocess.run(
        ["tar", "-t", "--quoting-style=literal", "--null", "-f", "-"],
        input=written(members),
        capture_output=True,
        check=True,
    )
    assert told.stderr == b""


@given(st.binary(min_size=1, max_size=10), st.integers(0, 1100))
def test_a_record_begins_with_its_own_length(key: bytes, size: int) -> None:
    line = record(key, b"x" * size)
    assert int(line.partition(b" ")[0]) == len(line)


def test_nothing_is_extended_that_fits_into_the_header() -> None:
    long = b"d" * 90 + b"/" + b"f" * 100
    largest = TarEntry(name=long, kind=b"0", uid=8**7 - 1, gid=8**7 - 1, mtime=(8**11 - 1) * 10**9)
    assert len(written([(largest, b"")])) == 3 * 512
    for change in (
        {"uid": 8**7},
        {"mtime": 1},
        {"mtime": -(10**9)},
        {"mtime": 8**11 * 10**9},
        {"name": b"f" * 101},
    ):
        assert len(written([(TarEntry(**{"name": b"f", "kind": b"0", **change}), b"")])) == 5 * 512  # type: ignore[arg-type]
