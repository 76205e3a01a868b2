"""Unpacking: the tree is what GNU tar makes of the same archive, and the last of equal names counts."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.image.layer.extract import LayerError
from minicontainer.image.layer.limits import Limits
from minicontainer.linux.namespaces import CLONE_NEWUSER, unshare, write_id_map
from tests.image.corpus import gnu_tar
from tests.image.layer.test_tar_reader import old_sparse, sparse_1_0
from tests.image.layer.unpacking import names, open_descriptors, unpack, unpack_below, unpack_entries
from tests.image.layouts import (
    YEAR_2020,
    Entry,
    block,
    character,
    directory,
    fifo,
    file,
    gnu_long,
    hardlink,
    symlink,
    tar,
)
from tests.image.trees import differences, read_tree, without_xattrs
from tests.linux.children import in_child

as_root = pytest.mark.requires("root")
ROOT = directory("./", mtime=YEAR_2020)  # without it, the root would have the time of the test


def equals_gnu_tar(place: Path, data: bytes, **options: object) -> list[str]:
    """Unpack with both and compare everything."""
    unpack(place / "ours", data, **options)
    assert gnu_tar.unpack(data, place / "gnu").returncode == 0
    ours = without_xattrs(read_tree(place / "ours"), "trusted.overlay.")
    return differences(ours, read_tree(place / "gnu"))


def refusal(place: Path, *entries: Entry | bytes, **options: object) -> str:
    """Unpack what must be refused; returns the message."""
    with pytest.raises(LayerError) as caught:
        unpack_entries(place, *entries, **options)
    return str(caught.value).removeprefix("layer sha256:1234: ")


# --- equal to GNU tar ------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [b"a", b"b", b".hidden", b"sp ace", b"\xff\xfe", b"new\nline", b"\x1b[31m", b"l" * 255]
)
MODES = st.integers(0, 0o7777)
IDS = st.sampled_from([0, 1, 1000, 65534, 2**31])
XATTRS = st.dictionaries(
    st.sampled_from(["user.a", "user.b", "trusted.c"]), st.binary(max_size=40), max_size=2
)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """Draw entries that any extractor can make: no name twice, and directories before what is in them."""
    folders, files, entries = [b""], list[bytes](), [replace(ROOT, mode=draw(MODES))]
    for path in draw(st.lists(st.tuples(st.integers(0, 5), NAMES), max_size=12, unique=True)):
        name = folders[path[0] % len(folders)] + path[1]
        if name in files or name + b"/" in folders:
            continue
        fields = {
            "mode": draw(MODES),
            "uid": draw(IDS),
            "gid": draw(IDS),
            "mtime": draw(st.integers(-(2**31), 2**33)),
        }
        fields["nanoseconds"] = draw(st.sampled_from([0, 1, 999_999_999]))
        kind = draw(
            st.sampled_from(["file", "directory", "symlink", "hardlink", "fifo", "character", "block"])
        )
        if kind == "directory":
            entries.append(directory(name + b"/", xattrs=draw(XATTRS), **fields))
            folders.append(name + b"/")
        elif kind == "file" or (kind == "hardlink" and not files):
            entries.append(file(name, draw(st.binary(max_size=600)), xattrs=draw(XATTRS), **fields))
            files.append(name)
        elif kind == "hardlink":
            entries.append(hardlink(name, draw(st.sampled_from(files))))
            files.append(name)
        else:
            make = {
                "symlink": partial(symlink, target=draw(NAMES)),
                "fifo": fifo,
                "character": partial(character, major=1, minor=3),
                "block": partial(block, major=7, minor=300),
            }
            entries.append(make[kind](name, **fields))
            files.append(name)
    # Once more, deepest first: GNU tar gives each its time before the next, and does not come back to it.
    return entries + [each for each in reversed(entries) if each.kind == b"5"]


@pytest.mark.requires("root", "tool:tar")
@given(trees(), st.integers(1, 3000))
def test_a_tree_equals_that_of_gnu_tar(entries: list[Entry], piece: int) -> None:
    with TemporaryDirectory() as place:
        assert equals_gnu_tar(Path(place), tar(entries), piece=piece) == []


AGAIN = {
    "file, file": [file("a", b"1" * 600), file("a", b"2")],
    "symlink, file": [file("b", b"1"), symlink("a", "b"), file("a", b"2")],
    "dangling symlink, file": [symlink("a", "b"), file("a", b"2")],
    "file, directory": [file("a"), directory("a/", mtime=7)],
    "empty directory, file": [directory("a/"), file("a", b"2")],
    "symlink, directory": [directory("b/"), symlink("a", "b"), directory("a/"), file("a/c"), directory("a/")],
    "directory, directory": [directory("a/", mode=0o700), file("a/b", b"x"), directory("a/", mode=0o711)],
    "fifo, file": [fifo("a"), file("a", b"2")],
    "file, fifo": [file("a", b"1"), fifo("a")],
    "one of two links, file": [file("a", b"1"), hardlink("b", "a"), file("a", b"2")],
    "file, link": [file("a", b"1"), file("b", b"2"), hardlink("b", "a")],
    "link to itself": [file("a", b"1"), hardlink("a", "a")],
    "link to another name of its own": [file("a", b"1"), hardlink("b", "a"), hardlink("a", "b")],
    "symlink, link": [
        file("t", mode=0o600),
        symlink("a", "t", mtime=5),
        hardlink("b", "a", mode=0o777, mtime=9),
    ],
    "symlink, file through it": [
        directory("real/"),
        symlink("l", "real"),
        file("l/a", b"x"),
        directory("real/"),
    ],
    "symlink to /": [
        directory("x/"),
        symlink("l", "/x"),
        file("l/z", b"x"),
        directory("l/y/"),
        directory("x/"),
    ],
    "symlink upwards": [directory("x/"), symlink("x/l", "../../.."), file("x/l/z", b"x"), directory("x/")],
}


@pytest.mark.requires("root", "tool:tar")
@pytest.mark.parametrize("entries", AGAIN.values(), ids=AGAIN.keys())
def test_names_that_come_again_or_lead_on_end_as_with_gnu_tar(entries: list[Entry], tmp_path: Path) -> None:
    assert equals_gnu_tar(tmp_path, tar([*entries, ROOT])) == []


@pytest.mark.requires("root", "tool:tar")
def test_whatever_form_a_name_has_gnu_tar_reads_it_so_too(tmp_path: Path) -> None:
    entries = [
        directory("./"),
        directory("./a/"),
        file("/a/absolute"),
        file("./a/./dot"),
        file("a//slashes"),
        directory("///a/b"),
        file("a/b/" + "n" * 255),
        gnu_long(file("a/b/" + "l" * 200, b"gnu")),
        gnu_long(symlink("a/b/" + "s" * 200, "t" * 4000)),
        hardlink("hard", "/a/./dot"),
        hardlink("hard2", "./hard"),
        hardlink("hard3", "../../a/../a//dot"),
        directory("a/b/"),
        directory("a/"),
        ROOT,
    ]
    assert equals_gnu_tar(tmp_path, tar(entries)) == []


@pytest.mark.requires("root", "tool:tar")
def test_sparse_files_equal_those_of_gnu_tar_and_take_no_space(tmp_path: Path) -> None:
    parts = [(0, b"a" * 5120), (10 << 20, b"b" * 512), (20 << 20, b"c" * 700), (30 << 20, b"")]
    data = tar([old_sparse("old", parts, 30 << 20, 4), *sparse_1_0("new", parts, 30 << 20), ROOT])
    assert equals_gnu_tar(tmp_path, data, piece=999) == []
    assert (tmp_path / "ours/old").stat().st_blocks * 512 < 1 << 20


# --- what an inode has -----------------------------------------------------------------------------


@as_root
def test_special_bits_and_capabilities_survive_the_change_of_owner(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    entries = [
        file("su", b"x", mode=0o6755, uid=7, gid=8),
        file("ping", b"x", uid=7, xattrs={"security.capability": capability}),
        directory("d/", mode=0o3777, gid=9),
        file("d/in", gid=0),
    ]
    unpack_entries(tmp_path / "tree", *entries)
    tree = read_tree(tmp_path / "tree")
    assert (tree[b"su"].mode, tree[b"su"].uid, tree[b"su"].gid) == (0o6755, 7, 8)
    assert tree[b"ping"].xattrs == (("security.capability", capability),)
    assert (tree[b"d"].mode, tree[b"d/in"].gid) == (0o3777, 0)


@as_root
def test_links_and_nodes_have_attributes_of_their_own(tmp_path: Path) -> None:
    xattrs = {"trusted.a": b"b"}
    unpack_entries(tmp_path / "tree", *[
        symlink("s", "/etc/passwd", xattrs=xattrs, uid=5, mtime=1),
        fifo("f", xattrs=xattrs, mode=0o6644),
        character("c", 1, 3, xattrs=xattrs, mode=0o600),
        block("b", 8, 1, xattrs=xattrs),
    ])  # fmt: skip
    tree = read_tree(tmp_path / "tree")
    assert {name: tree[name].xattrs for name in (b"s", b"f", b"c", b"b")} == dict.fromkeys(
        (b"s", b"f", b"c", b"b"), (("trusted.a", b"b"),)
    )
    assert (tree[b"s"].uid, tree[b"s"].mtime, tree[b"f"].mode) == (5, 10**9, 0o6644)
    assert (tree[b"c"].device, tree[b"b"].device) == ((1, 3), (8, 1))


@as_root
def test_attributes_that_only_files_can_have_are_left_out_elsewhere(tmp_path: Path) -> None:
    made = unpack_entries(tmp_path / "tree", symlink("s", "t", xattrs={"user.a": b"b"}), fifo("f"))
    assert (made.skipped, read_tree(tmp_path / "tree")[b"s"].xattrs) == (1, ())


@as_root
def test_an_access_list_of_a_directory_is_not_inherited_by_what_is_in_it(tmp_path: Path) -> None:
    default = bytes.fromhex("02000000" "01000700ffffffff" "02000700e8030000" "04000500ffffffff"
                            "10000700ffffffff" "20000500ffffffff")  # fmt: skip
    acl = {"system.posix_acl_default": default}
    unpack_entries(tmp_path / "tree", directory("d/", xattrs=acl), file("d/a", mode=0o640), directory("d/b/"))
    tree = read_tree(tmp_path / "tree")
    assert tree[b"d"].xattrs == (("system.posix_acl_default", default),)
    assert (tree[b"d/a"].xattrs, tree[b"d/a"].mode, tree[b"d/b"].xattrs) == ((), 0o640, ())


def test_attributes_of_overlayfs_are_never_taken_from_the_archive(tmp_path: Path) -> None:
    xattrs = {
        f"{space}.overlay.{name}": b"y" for space in ("user", "trusted") for name in ("opaque", "redirect")
    }
    unpack_entries(tmp_path / "tree", directory("d/", xattrs=xattrs), file("f", xattrs=xattrs))
    tree = read_tree(tmp_path / "tree")
    assert tree[b"d"].xattrs == tree[b"f"].xattrs == ()


def test_the_umask_and_a_closed_directory_do_not_matter(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack_entries(tmp_path / "tree", directory("d/", mode=0o555), file("d/a", mode=0o666), file("i/j/k"))
    finally:
        os.umask(before)
    tree = read_tree(tmp_path / "tree")
    modes = {name: tree[name].mode for name in (b"d", b"d/a", b"i", b"i/j")}
    assert modes == {b"d": 0o555, b"d/a": 0o666, b"i": 0o755, b"i/j": 0o755}


@as_root
def test_an_ordinary_user_unpacks_what_closed_directories_hold(tmp_path: Path) -> None:
    place = tmp_path / "tree"
    place.mkdir()
    os.chown(place, 1000, 1000)
    root = os.open(place, os.O_RDONLY)
    entries = tar(
        [directory("d/", mode=0), directory("d/e/", mode=0, mtime=5), file("d/e/f", b"x", mode=0, uid=7)]
    )

    def scene() -> None:
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        unpack_below(root, entries, userxattr=True)

    in_child(scene)
    os.close(root)
    tree = read_tree(place)
    assert [tree[name].mode for name in (b"d", b"d/e", b"d/e/f")] == [0, 0, 0]
    assert (tree[b"d/e"].mtime, tree[b"d/e/f"].uid) == (5 * 10**9, 1000)


@pytest.mark.requires("root", "userns")
def test_what_only_root_of_the_machine_may_make_is_counted_in_a_user_namespace(tmp_path: Path) -> None:
    """Devices and attributes that are root's are left out; an owner that is not mapped is an error."""

    def scene() -> tuple[int, str]:
        unshare(CLONE_NEWUSER)
        write_id_map(0, "setgroups", "deny")
        write_id_map(0, "uid_map", "0 0 1\n")
        write_id_map(0, "gid_map", "0 0 1\n")
        entries = [
            character("null", 1, 3),
            block("disk", 8, 0),
            file("f", xattrs={"trusted.a": b"b"}),
            fifo("p"),
        ]
        made = unpack_entries(tmp_path / "tree", *entries, userxattr=True)
        return made.skipped, refusal(tmp_path / "again", file("f", uid=7), userxattr=True)

    assert in_child(scene) == (3, 'entry "f": Invalid argument')
    assert names(tmp_path / "tree") == ["f", "p"]


def test_directories_that_no_entry_describes_are_named(tmp_path: Path) -> None:
    entries = [file("a/b/c"), directory("a/"), file("./a/d/e"), hardlink("x/y", "a/b/c")]
    made = unpack_entries(tmp_path / "tree", *entries)
    assert made.implied == (b"", b"a/b", b"a/d", b"x")
    assert (made.entries, made.size, made.skipped) == (4, 1024 + 4 * 512, 0)
    assert unpack_entries(tmp_path / "tree", ROOT).implied == ()


def test_directory_times_are_those_of_their_entries_whatever_comes_later(tmp_path: Path) -> None:
    unpack_entries(tmp_path / "tree", ROOT, directory("d/", mtime=5, nanoseconds=7), file("d/a"), file("b"))
    tree = read_tree(tmp_path / "tree")
    assert (tree[b"d"].mtime, tree[b"."].mtime) == (5 * 10**9 + 7, YEAR_2020 * 10**9)


def test_a_directory_that_was_made_through_a_link_gets_what_it_should_when_the_link_is_gone(
    tmp_path: Path,
) -> None:
    through = directory("l/e/", mode=0o751, mtime=7)
    unpack_entries(tmp_path / "tree", directory("d/"), symlink("l", "d"), through, file("l"))
    made = (tmp_path / "tree" / "d" / "e").stat()
    assert (stat.S_IMODE(made.st_mode), made.st_mtime) == (0o751, 7)


def test_a_directory_that_was_removed_again_gets_nothing(tmp_path: Path) -> None:
    entries = [
        directory("b/", mtime=6),
        directory("d/", mtime=5, mode=0o700),
        symlink("d", "b"),
        directory("b/"),
    ]
    unpack_entries(tmp_path / "tree", *entries)
    tree = read_tree(tmp_path / "tree")
    assert (tree[b"b"].mode, tree[b"b"].mtime, tree[b"d"].kind) == (0o755, YEAR_2020 * 10**9, "symlink")


def test_a_directory_full_of_more_than_fits_among_the_descriptors(tmp_path: Path) -> None:
    pairs = [(directory(f"{number}/", mtime=5), file(f"{number}/a/b")) for number in range(1500)]
    entries = [ROOT, *(entry for pair in pairs for entry in pair)]
    before = open_descriptors()
    made = unpack_entries(tmp_path / "tree", *entries)
    assert len(made.implied) == 1500
    assert {folder.stat().st_mtime for folder in (tmp_path / "tree").iterdir()} == {5}
    assert open_descriptors() == before


# --- what is refused -------------------------------------------------------------------------------

UPWARDS = 'the name of an entry must not lead upwards ("..")'
NO_FILE = "which is no file of this layer"
REFUSED = {
    "up": ([file("../a")], f'entry "../a": {UPWARDS}'),
    "up in the middle": ([file("a/../b")], f'entry "a/../b": {UPWARDS}'),
    "up at the end": ([directory("a/..")], f'entry "a/..": {UPWARDS}'),
    "link to root from below": (
        [hardlink("b", "../..")],
        f'entry "b": it is a hard link to "../..", {NO_FILE}',
    ),
    "link to nothing": ([hardlink("b", "a")], f'entry "b": it is a hard link to "a", {NO_FILE}'),
    "link to nowhere": ([hardlink("b", "a/c")], f'entry "b": it is a hard link to "a/c", {NO_FILE}'),
    "link to directory": (
        [directory("a"), hardlink("b", "a")],
        f'entry "b": it is a hard link to "a", {NO_FILE}',
    ),
    "link to root": ([hardlink("b", "/")], f'entry "b": it is a hard link to "/", {NO_FILE}'),
    "below a file": ([file("a"), file("a/b")], 'entry "a/b": "a" is not a directory, or leads to none'),
    "through a dangling link": (
        [symlink("a", "/nowhere"), file("a/b")],
        'entry "a/b": "a" is not a directory, or leads to none',
    ),
    "through a loop": ([symlink("a", "a"), file("a/b")], 'entry "a/b": Too many levels of symbolic links'),
    "root as a file": ([file("/.")], 'entry "/.": only a directory can stand for the root'),
    "nameless": ([file("")], 'entry "": only a directory can stand for the root'),
    "long name": ([file("n" * 256)], f'entry "{"n" * 200}...": File name too long'),
    "long path": ([file("n/" * 2500 + "n")], f'entry "{"n/" * 100}...": File name too long'),
    "empty link": ([symlink("a", "")], 'entry "a": No such file or directory'),
    "whiteout device": (
        [character("a", 0, 0)],
        'entry "a": a character device 0:0 is how overlayfs hides files: layers have .wh. names for that',
    ),
    "device": ([block("a", 4096, 1)], 'entry "a": there is no device 4096:1'),
    "checksum": ([file("a"), file("b", checksum=1)], 'after entry "a": the checksum of its header is wrong'),
    "owner": ([file("a"), file("b", uid=-1)], 'entry "b": there is no user or group -1'),
    "first": ([file("b", checksum=1)], "at its beginning: the checksum of its header is wrong"),
    "terminal": ([file(b"../\x1b]0;\x07\n\xff\xe2\x80\xae")], None),
}  # fmt: skip


@as_root
@pytest.mark.parametrize(("entries", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_names_the_entry_and_closes_everything(
    entries: list[Entry], message: str | None, tmp_path: Path
) -> None:
    before = open_descriptors()
    said = refusal(tmp_path / "tree", *entries)
    assert open_descriptors() == before
    assert said.isprintable()
    assert message is None or said == message


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match='layer sha256:1234: entry "a": the archive is cut off'):
        unpack(tmp_path / "tree", tar([file("a", b"x" * 2000)])[:1024])


def test_directories_that_only_paths_imply_count_as_entries(tmp_path: Path) -> None:
    said = refusal(tmp_path / "tree", file("a/" * 20 + "b"), limits=Limits(entries=10))
    assert said.endswith("more than 10 directories have no entry")


def test_what_directories_wait_for_needs_a_bounded_memory(tmp_path: Path) -> None:
    entries = [directory(f"{number}/", xattrs={"user.a": b"v" * 60_000}) for number in range(20)]
    assert refusal(tmp_path / "a", *entries, limits=Limits(directories=10**6)).endswith(
        "need too much memory"
    )
    assert refusal(tmp_path / "b", file("a/" * 2000), limits=Limits(directories=10**6)).endswith(
        "too much memory"
    )
