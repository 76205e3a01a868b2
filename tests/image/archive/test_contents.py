"""What an archive holds is found by name, and nothing else: no link leads out, all is bounded."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minicontainer.errors import Error, Refused
from minicontainer.image.archive.contents import Content, Contents, open_contents, read_whole
from minicontainer.image.layer.limits import Limits
from tests.image.layouts import (
    BLOCK,
    directory,
    fifo,
    file,
    gnu_long,
    gzip,
    hardlink,
    pax_header,
    plain,
    symlink,
    tar,
    zstd,
)

SMALL = Limits(unpacked=1 << 20, header=1 << 16, file=1 << 19)
BIG = bytes(range(256)) * 3000  # more than is read at once
TREE = [
    directory("a"),
    file("a/big", BIG),
    symlink("a/link", "../b"),
    file("./b", b"text"),
    file("empty", b""),
]

Opener = Callable[..., Contents]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Open an archive that consists of these bytes."""
    with contextlib.ExitStack() as undo:

        def opener(data: bytes, limits: Limits | None = None) -> Contents:
            path = tmp_path / "archive"
            path.write_bytes(data)
            return undo.enter_context(open_contents(str(path), tmp_path, limits or Limits()))

        yield opener


def text(content: Content | None, offset: int = 0) -> bytes | None:
    return None if content is None else b"".join(content.pieces(offset))


def check_tree(contents: Contents) -> None:
    assert text(contents.find("a/big")) == BIG
    assert text(contents.find("a/big"), 300_000) == BIG[300_000:]
    assert text(contents.find("a/link")) == text(contents.find("b")) == text(contents.find("./b")) == b"text"
    assert text(contents.find("empty")) == b""
    assert contents.find("a") is None
    assert contents.find("nothing") is None


@pytest.mark.parametrize("compress", [plain, gzip, zstd])
def test_files_are_found_in_a_tar_file_however_it_is_compressed(
    compress: Callable[[bytes], bytes], opened: Opener
) -> None:
    check_tree(opened(compress(tar(TREE))))


@pytest.mark.parametrize("compress", [plain, gzip])
def test_files_are_found_in_what_comes_through_a_pipe(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = compress(tar(TREE) + bytes(100_000))
    sender = threading.Thread(target=pipe.write_bytes, args=[data], daemon=True)
    sender.start()
    with open_contents(str(pipe), tmp_path, Limits()) as contents:
        sender.join(30)
        assert not sender.is_alive(), "the sender could not send all of it"
        check_tree(contents)
    assert [*tmp_path.iterdir()] == [pipe]


def test_files_are_found_in_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/big").write_bytes(BIG)
    (tmp_path / "a/link").symlink_to("../b")
    (tmp_path / "b").write_bytes(b"text")
    (tmp_path / "empty").touch()
    with open_contents(str(tmp_path), tmp_path, Limits()) as contents:
        check_tree(contents)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "out", "up", "pipe", "a/../../secret", "loop"])
def test_a_directory_gives_nothing_from_outside_and_nothing_that_is_no_file(
    name: str, tmp_path: Path
) -> None:
    inside = tmp_path / "layout"
    inside.mkdir()
    (tmp_path / "secret").write_text("secret")
    (inside / "out").symlink_to("/etc/passwd")
    (inside / "up").symlink_to("../secret")
    (inside / "loop").symlink_to("loop")
    os.mkfifo(inside / "pipe")
    with open_contents(str(inside), tmp_path, Limits()) as contents:
        assert contents.find(name) is None


@pytest.mark.parametrize(
    "entry",
    [
        symlink("x", "/etc/passwd"),
        symlink("x", "../../../../etc/passwd"),
        symlink("x", "x"),
        symlink("x", "nothing"),
        hardlink("x", "/etc/passwd"),
        hardlink("x", "nothing"),
        fifo("x"),
        directory("x"),
    ],
)
def test_a_link_leads_to_files_of_the_archive_alone(entry: object, opened: Opener) -> None:
    assert opened(tar([entry])).find("x") is None  # type: ignore[list-item]


def test_links_are_followed_as_far_as_it_makes_sense(opened: Opener) -> None:
    chain = [symlink(f"l{number}", f"l{number + 1}") for number in range(20)]
    contents = opened(tar([*chain, file("l20", b"end"), hardlink("d/h", "l20"), symlink("d/s", "../l19")]))
    assert text(contents.find("d/h")) == text(contents.find("d/s")) == text(contents.find("l13")) == b"end"
    assert contents.find("l0") is None


def test_of_two_entries_with_one_name_the_later_counts(opened: Opener) -> None:
    contents = opened(tar([file("x", b"1"), symlink("y", "x"), file("x", b"22"), file("y", b"333")]))
    assert (text(contents.find("x")), text(contents.find("y"))) == (b"22", b"333")
    assert opened(tar([file("x", b"1"), directory("x")])).find("x") is None


def test_long_names_are_read(opened: Opener) -> None:
    names = [f"{sign * 60}/{sign * 90}" for sign in "ab"]
    contents = opened(tar([file(names[0], b"0"), gnu_long(file(names[1], b"1"))]))
    assert [text(contents.find(name)) for name in names] == [b"0", b"1"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"root:x:0:0:root:/root:/bin/bash\n" * 40, "is no archive of images: "),
        (tar(TREE)[:1000], "is no archive of images: the archive is cut off"),
        (tar(TREE)[: BLOCK * 10], "is no archive of images: the archive is cut off"),
        (gzip(tar(TREE))[:-100], "its gzip data is cut off"),
        (gzip(tar(TREE)) + b"garbage!", "gzip"),
        (b"\xfd7zXZ\0" + bytes(600), "it is compressed with xz, which images do not use"),
        (tar([file("x" * 5000, b"")]), "a name in it has more than 4096 bytes"),
    ],
)
def test_what_is_no_whole_archive_is_refused(data: bytes, problem: str, opened: Opener) -> None:
    with pytest.raises(Error) as caught:
        opened(data)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (pax_header({"comment": b"x" * 100_000}), "a header is larger than 65536 bytes"),
        (tar([file("x", b"x" * (1 << 20))]), "it is larger than 524288 bytes"),
        (gzip(tar([file(str(n), bytes(1 << 18)) for n in range(5)])), "it is larger than 1048576 bytes"),
    ],
)
def test_limits_are_kept(data: bytes, problem: str, opened: Opener) -> None:
    with pytest.raises(Error) as caught:
        opened(data, SMALL)
    assert problem in str(caught.value)


def test_an_archive_has_a_bounded_number_of_entries(opened: Opener) -> None:
    with pytest.raises(Refused) as caught:
        opened(gzip(tar([file(str(number), b"") for number in range(10_001)])))
    assert str(caught.value).endswith("archive: it has more than 10000 entries")


def test_a_large_document_costs_no_memory(opened: Opener, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    huge.write_bytes(file("manifest.json", b"", size=1 << 28).encoded())
    os.truncate(huge, BLOCK + (1 << 28) + 2 * BLOCK)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_contents(str(huge), tmp_path, Limits()) as contents, pytest.raises(Refused) as caught:
        found = contents.find("manifest.json")
        assert found
        read_whole(found, "manifest.json", 4 << 20)
    assert str(caught.value) == ("manifest.json in the archive has 268435456 bytes; at most 4194304 are read")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Error) as caught, open_contents(str(tmp_path / "no"), tmp_path, Limits()):
        pass
    assert str(caught.value) == f"cannot read {tmp_path}/no: No such file or directory"
