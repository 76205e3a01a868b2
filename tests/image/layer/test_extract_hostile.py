"""Unpacking for somebody who wants out, or wants everything: nothing outside changes, nothing runs full."""

from __future__ import annotations

import itertools
import os
import resource
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.image.layer.compression import compressor, decompressor
from minicontainer.image.layer.extract import Extractor, LayerError
from minicontainer.image.layer.limits import MIB, Limits
from minicontainer.image.store.removal import remove_tree
from minicontainer.linux.mounts import mount
from tests.image.layer.test_tar_reader import everything, sparse_1_0
from tests.image.layer.unpacking import names, open_descriptors, unpack, unpack_entries
from tests.image.layouts import Entry, directory, fifo, file, hardlink, symlink, tar
from tests.image.trees import read_tree
from tests.linux.children import in_child, own_mounts

ROOT = directory("./")
as_root = pytest.mark.requires("root")


# --- somebody renames meanwhile --------------------------------------------------------------------


@contextmanager
def swapping(tree: Path, name: str, target: Path) -> Iterator[None]:
    """Let another process swap a directory of the tree for a link to `target` and back, as fast as it can."""
    (tree / "aside").symlink_to(target)
    pid = os.fork()
    if pid == 0:
        os.chdir(tree)
        while True:  # until it is killed; RENAME_EXCHANGE has no wrapper, so there is a moment without either
            for one, other in ((name, "spare"), ("aside", name), (name, "aside"), ("spare", name)):
                with suppress(OSError):
                    Path(one).rename(other)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@as_root
def test_who_renames_meanwhile_does_not_lead_us_out(
    tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (victim / "target").write_text("precious")
    (victim / "target").chmod(0o600)
    before = read_tree(victim)
    entries = []
    for number in range(30):
        entries += [
            directory("d/", mode=0o755),
            file("d/target", b"overwritten", mode=0o4777, uid=7),
            symlink("d/link", "target"),
            hardlink("d/hard", "d/target"),
            file("d/.wh.target"),
            file(f"d/{number}/new", b"x"),
            fifo("d/fifo", mode=0o777),
        ]
    data = tar(entries)
    for number in range(rounds(20, 500)):
        tree = tmp_path / f"tree{number}"
        tree.mkdir()
        (tree / "d").mkdir()
        with swapping(tree, "d", victim):
            for overlay in (True, False):
                with suppress(LayerError):  # both outcomes are right
                    unpack(tree, data, overlay=overlay)
        assert read_tree(victim) == before


# --- links that lead out ---------------------------------------------------------------------------

LINKS = ["/", "{victim}", "../victim", "../../../../../../../..{victim}", "/proc/self/root", "/proc/self/cwd"]


@as_root
@pytest.mark.parametrize("overlay", [True, False], ids=["layer", "tree"])
@pytest.mark.parametrize("target", LINKS)
def test_links_lead_nowhere_but_inside(target: str, overlay: bool, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (victim / "hello").write_text("hello")
    before = read_tree(victim)
    target = target.format(victim=victim)
    attempts: list[list[Entry]] = [
        [symlink("l", target), file("l/hello", b"changed")],
        [symlink("l", f"{target}/hello"), file("l", b"changed", mode=0o777)],
        [symlink("l", f"{target}/hello"), hardlink("h", "l", mode=0o777, uid=5, xattrs={"user.a": b"b"})],
        [symlink("l", target), hardlink("h", "l/hello"), file("h", b"changed")],
        [symlink("l", target), directory("l/", mode=0o777, uid=5)],
        [symlink("l", target), directory("l/new/")],
        [symlink("l", target), file("l/.wh.hello"), file("l/.wh..wh..opq")],
        [symlink("a", target), symlink("a/l", "x"), symlink("b", "a/l"), file("b", b"x")],
    ]
    for number, entries in enumerate(attempts):
        try:
            unpack_entries(tmp_path / f"tree{number}", *entries, overlay=overlay)
        except LayerError as problem:
            assert "layer sha256:1234: entry" in str(problem)
        assert read_tree(victim) == before


# --- damage ----------------------------------------------------------------------------------------


@as_root
@given(st.data())
def test_a_damaged_archive_is_unpacked_or_refused_in_one_line(data: st.DataObject) -> None:
    """Some bytes of some headers are changed, and their checksums made right again."""
    damaged = bytearray(everything())
    for _ in range(data.draw(st.integers(1, 4))):
        start = 512 * data.draw(st.integers(0, len(damaged) // 512 - 1))
        place = start + data.draw(st.integers(0, 511))
        damaged[place] = data.draw(st.one_of(st.sampled_from(b"\0 ./7\x80\xff"), st.integers(0, 255)))
        header = damaged[start : start + 512]
        damaged[start + 148 : start + 156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
    limits, overlay = Limits(unpacked=MIB, file=MIB), data.draw(st.booleans())
    with TemporaryDirectory() as folder:
        try:
            unpack(Path(folder), bytes(damaged), limits=limits, overlay=overlay)
        except LayerError as problem:
            assert str(problem).isprintable()


# --- memory ----------------------------------------------------------------------------------------


def growth_of(scene: Callable[[], object]) -> int:
    """Play a scene in a process of its own; returns by how much memory it grew at most, in bytes."""

    def measured() -> int:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins now
        before = peak()
        scene()
        return peak() - before

    def peak() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    return in_child(measured)


def feed_until_refused(place: Path, pieces: Iterable[bytes], why: str, limits: Limits | None = None) -> None:
    """Unpack what comes, which is refused for a reason."""
    place.mkdir()
    root = os.open(place, os.O_RDONLY)
    decompress = decompressor(limits or Limits(), "layer sha256:1234")
    extractor = Extractor(root, "sha256:1234", limits=limits or Limits())
    with extractor, pytest.raises(LayerError, match=why):
        for piece in pieces:
            for each in decompress.feed(piece):
                extractor.feed(each)
    os.close(root)


def compressed(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Write an endless layer."""
    compress = compressor("gzip")
    for entry in entries:
        yield compress.feed(entry.encoded())


def test_a_million_empty_files_are_refused_and_not_remembered(
    tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    most = rounds(5000, Limits().entries)
    entries = (file(f"{number % 100}/{number}") for number in itertools.count())
    why = f"more than {most} entries"

    def scene() -> None:
        feed_until_refused(tmp_path / "tree", compressed(entries), why, Limits(entries=most))

    assert growth_of(scene) < 60 * MIB


@pytest.mark.parametrize(
    "make",
    [
        lambda number: directory(f"{number}/", xattrs={"user.a": b"v" * 60_000}),
        lambda number: directory(("n" * 250 + "/") * 15 + f"{number}/"),
        lambda number: file(f"{number}/" + "a/" * 1000 + "b"),
    ],
    ids=["attributes", "long names", "implied"],
)
def test_directories_take_a_bounded_memory(
    make: Callable[[int], Entry], tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    room = rounds(12, 48) * MIB
    limits = Limits(directories=room, entries=10**9, ratio=10**9)

    def scene() -> None:
        entries = map(make, itertools.count())
        feed_until_refused(tmp_path / "tree", compressed(entries), "too much memory", limits)

    assert growth_of(scene) < room * 3 // 2 + 18 * MIB


def test_attributes_of_files_are_not_kept(tmp_path: Path) -> None:
    entries = [file(f"{number}", pax={"comment": b"c" * 900_000}) for number in range(100)]
    assert growth_of(lambda: unpack_entries(tmp_path / "tree", *entries, piece=MIB)) < 250 * MIB


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_of_100_megabytes_takes_no_memory(kind: bytes, tmp_path: Path) -> None:
    entry = Entry(kind=kind, name=b"pax", content=bytes(100), size=100 * MIB)

    def scene() -> None:
        pieces = itertools.chain([entry.encoded()], itertools.repeat(bytes(MIB)))
        feed_until_refused(tmp_path / "tree", pieces, "a header is larger")

    assert growth_of(scene) < 20 * MIB


def test_eight_exbibytes_of_holes_are_refused(tmp_path: Path) -> None:
    (entry,) = sparse_1_0("a", [(0, b"x")], 8 << 60)
    with pytest.raises(LayerError, match='entry "a": it is larger than 17179869184 bytes'):
        unpack_entries(tmp_path / "tree", entry)
    with pytest.raises(LayerError, match='entry "a": its sparse map does not fit its size'):
        unpack_entries(tmp_path / "again", entry, limits=Limits(file=1 << 64))


def test_a_full_disk_is_an_error_of_one_line(tmp_path: Path) -> None:
    def scene() -> str:
        own_mounts()
        mount("tmpfs", str(tmp_path), "tmpfs", 0, "size=1M")
        with pytest.raises(LayerError) as caught:
            unpack_entries(tmp_path / "tree", file("a"), file("b", bytes(4 * MIB)))
        return str(caught.value)

    assert in_child(scene) == 'layer sha256:1234: entry "b": No space left on device'


# --- depth -----------------------------------------------------------------------------------------


def test_a_tree_deeper_than_the_stack_and_than_any_path_is_made_and_removed(tmp_path: Path) -> None:
    """Each link leads to the end of the part before, where the next part begins."""
    tree = tmp_path / "tree"
    parts = "d/" * 1000
    entries = [directory(parts)]
    for number in range(4):
        before = parts if number == 0 else f"l{number - 1}/{parts}"
        entries += [symlink(f"l{number}", before), directory(f"l{number}/{parts}", mtime=5)]
    entries += [file("l3/end", b"x"), file("l3/" + parts + "end", b"y")]
    unpack_entries(tree, *entries)
    assert (tree / "l3/end").read_text() == "x"
    remove_tree(tree)
    assert not tree.exists()


def test_what_is_replaced_may_be_as_deep(tmp_path: Path) -> None:
    entries = [directory("d/" * 1500), file("d", b"x")]
    unpack_entries(tmp_path / "tree", *entries)
    assert (tmp_path / "tree/d").read_text() == "x"


def test_removing_what_is_below_deep_directories_has_a_limit(tmp_path: Path) -> None:
    unpack_entries(tmp_path / "tree", directory("d/" * 1500), overlay=False)
    with pytest.raises(LayerError, match="more than 256 deep"):
        unpack_entries(tmp_path / "tree", file(".wh.d"), overlay=False)


def test_removing_a_tree_removes_links_and_not_what_they_lead_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").touch()
    entries = [
        symlink("d/l", str(victim)),
        symlink("d/e/l", str(victim)),
        fifo("d/e/f"),
        directory("d/e/f2/g/h/"),
    ]
    unpack_entries(tmp_path / "tree", *entries, file("d"))
    assert names(tmp_path / "tree") == ["d"]
    assert (victim / "file").exists()


def test_what_replaces_a_directory_closes_the_way_that_was_known(tmp_path: Path) -> None:
    """A directory is open in the cache, then a link takes its name: what follows goes where that leads."""
    entries = [directory("a/"), directory("b/"), file("a/1"), symlink("a", "b"), file("a/2")]
    unpack_entries(tmp_path / "tree", *entries)
    assert names(tmp_path / "tree/b") == ["2"]
    again = [symlink("c", "b"), file("c/3"), directory("c/"), file("c/4")]
    unpack_entries(tmp_path / "tree", *again)
    assert names(tmp_path / "tree/b") == ["2", "3"]
    assert names(tmp_path / "tree/c") == ["4"]


def test_few_descriptors_are_enough(tmp_path: Path) -> None:
    entries = [file(f"{number}/a/b", b"x") for number in range(200)]

    def scene() -> int:
        open_now = len(open_descriptors())
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 32, open_now + 32))
        return unpack_entries(tmp_path / "tree", ROOT, *entries).entries

    assert in_child(scene) == 201
