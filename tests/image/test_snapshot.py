"""The tree of a chain of layers, also where layers leave out directories of which they have only parts."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minicontainer.image.chain import chain_id, chain_path
from minicontainer.image.layer.extract import Extractor
from minicontainer.image.layer.limits import Limits
from minicontainer.image.snapshot import lowers, view
from tests.image.aside import aside
from tests.image.layouts import Entry, directory, file, opaque, symlink, tar, whiteout
from tests.image.stored import Layers, tree_of, unpacked
from tests.image.trees import Node, differences, read_tree
from tests.linux.children import sleeping_child
from tests.peers import peer

pytestmark = pytest.mark.requires("root", "filesystem:overlay")
EARLY = 1_000_000_000
SPECIAL = {"mode": 0o2750, "uid": 5, "gid": 6, "mtime": EARLY, "nanoseconds": 7, "xattrs": {"user.x": b"1"}}


def is_special(node: Node) -> bool:
    seen = (node.mode, node.uid, node.gid, node.mtime, node.xattrs)
    return seen == (0o2750, 5, 6, EARLY * 10**9 + 7, (("user.x", b"1"),))


def is_plain(node: Node) -> bool:
    return (node.mode, node.uid, node.gid, node.xattrs) == (0o755, 0, 0, ())


def etc(**changes: object) -> Entry:
    return directory("etc", **{**SPECIAL, **changes})


# --- the view ----------------------------------------------------------------------------------------------


def test_the_layers_are_one_tree(tmp_path: Path) -> None:
    layers = [
        [directory("a"), file("a/old", b"1"), file("a/gone"), file("same", b"1")],
        [whiteout("a/gone"), file("same", b"2")],
        [directory("b"), file("b/new", b"3")],
    ]
    assert sorted(tree_of(tmp_path, layers)) == [b".", b"a", b"a/old", b"b", b"b/new", b"same"]


def test_one_layer_alone_and_a_layer_that_comes_twice(tmp_path: Path) -> None:
    first, second = [file("f", b"1"), whiteout("nothing")], [file("f", b"2")]
    assert sorted(tree_of(tmp_path / "one", [first])) == [b".", b"f"]
    twice = [first, second, first]
    store, found = unpacked(tmp_path / "two", twice)
    assert lowers(store, found.diff_ids) == [
        f"{store.layer(diff_id)}/diff" for diff_id in (found.diff_ids[0], found.diff_ids[1])
    ]
    with view(store, found) as tree:
        assert (tree / "f").read_bytes() == b"1"


def test_a_view_can_be_read_by_other_programs_but_not_written(tmp_path: Path) -> None:
    store, found = unpacked(tmp_path, [[file("f", b"text")], [file("g")]])
    with view(store, found) as tree:
        assert subprocess.run(["cat", tree / "f"], capture_output=True, check=True).stdout == b"text"
        with pytest.raises(OSError, match="Read-only"):
            (tree / "new").touch()
    assert not tree.exists()


def test_a_view_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    store, found = unpacked(tmp_path, [[file("f")], [file("g")]])

    def look() -> None:
        tempfile.tempdir = str(tmp_path)
        context = view(store, found)
        context.__enter__()

    with sleeping_child(look) as pid:
        os.kill(pid, signal.SIGKILL)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


# --- directories that a layer leaves out -------------------------------------------------------------------


@pytest.mark.parametrize(
    "between",
    [
        pytest.param([], id="nothing"),
        pytest.param([[file("other")]], id="a layer without it"),
        pytest.param([[file("etc/more")]], id="a layer that leaves it out, too"),
        pytest.param([[whiteout("etc/other")]], id="a whiteout in it"),
        pytest.param([[opaque("etc")]], id="a layer that empties it"),
    ],
)
def test_a_directory_without_an_entry_is_as_the_layers_below_say(tmp_path: Path, between: Layers) -> None:
    tree = tree_of(tmp_path, [[etc()], *between, [file("etc/motd")]])
    assert is_special(tree[b"etc"])
    assert b"etc/motd" in tree


@pytest.mark.parametrize(
    "between",
    [
        pytest.param([whiteout("etc")], id="a whiteout"),
        pytest.param([file("etc")], id="a file"),
        pytest.param([symlink("etc", "usr")], id="a link"),
        pytest.param([file("etc/new"), whiteout("etc")], id="a whiteout, and it is made anew"),
    ],
)
def test_what_hides_a_directory_hides_its_metadata(tmp_path: Path, between: Sequence[Entry]) -> None:
    tree = tree_of(tmp_path, [[etc()], between, [file("etc/motd")]])
    assert is_plain(tree[b"etc"])
    assert tree[b"etc/motd"].kind == "file"


def test_an_opaque_directory_above_hides_the_metadata_below(tmp_path: Path) -> None:
    deep = directory("a/b", **SPECIAL)
    tree = tree_of(tmp_path, [[directory("a"), deep], [directory("a"), opaque("a")], [file("a/b/c")]])
    assert is_plain(tree[b"a/b"])


def test_a_directory_that_replaces_another_kind_of_file_is_asked(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, [[file("etc")], [etc()], [file("etc/motd")]])
    assert is_special(tree[b"etc"])


def test_the_topmost_layer_that_says_something_is_right(tmp_path: Path) -> None:
    lowest = etc(mode=0o700, uid=9, xattrs={"user.y": b"2"})
    assert is_special(tree_of(tmp_path / "one", [[lowest], [etc()], [file("etc/motd")]])[b"etc"])
    assert is_special(tree_of(tmp_path / "two", [[lowest], [file("etc/motd")], [etc()]])[b"etc"])


def test_all_directories_above_are_as_the_layers_below_say(tmp_path: Path) -> None:
    names = ["", "a", "a/b", "a/b/c"]
    below = [directory(name or "./", **{**SPECIAL, "mtime": EARLY + len(name)}) for name in names]
    tree = tree_of(tmp_path, [below, [file("a/b/c/d")]])
    assert [tree[name.encode() or b"."].mtime // 10**9 for name in names] == [
        EARLY + len(name) for name in names
    ]


def test_names_may_have_any_bytes(tmp_path: Path) -> None:
    name = b"\xff\xfe \n"
    tree = tree_of(tmp_path, [[directory(name, **SPECIAL)], [file(name + b"/f")]])
    assert is_special(tree[name])


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param([[etc()], [etc(mode=0o700), file("etc/motd")]], id="each layer says it"),
        pytest.param([[file("etc/hosts")], [file("etc/motd")]], id="no layer says it"),
        pytest.param([[etc()], [whiteout("etc"), file("etc/motd")]], id="it is hidden"),
        pytest.param([[etc()], [file("etc/motd")], [whiteout("etc")]], id="it is gone"),
    ],
)
def test_nothing_is_stacked_on_top_where_nothing_is_wrong(tmp_path: Path, layers: Layers) -> None:
    store, found = unpacked(tmp_path, layers)
    assert len(lowers(store, found.diff_ids)) == len(layers)
    assert Path(chain_path(str(store.root), found.diff_ids)).is_dir()


def test_what_is_stacked_on_top_is_made_once(tmp_path: Path) -> None:
    store, found = unpacked(tmp_path, [[etc()], [file("etc/motd")]])
    stacked = lowers(store, found.diff_ids)
    assert stacked[0] == f"{store.layers}/chain-{chain_id(found.diff_ids)}/diff"
    made = Path(stacked[0]).stat()
    assert lowers(store, found.diff_ids) == stacked
    assert os.path.samestat(Path(stacked[0]).stat(), made)
    assert {entry.name for entry in store.layers.iterdir() if entry.name.startswith(".")} == set()


def test_what_a_killed_process_has_left_is_made_anew(tmp_path: Path) -> None:
    store, found = unpacked(tmp_path, [[etc()], [file("etc/motd")]])
    left = store.layers / f".new-chain-{chain_id(found.diff_ids)}" / "diff"
    (left / "etc" / "half").mkdir(parents=True)
    with view(store, found) as tree:
        assert sorted(read_tree(tree)) == [b".", b"etc", b"etc/motd"]


def test_two_processes_may_make_it_at_once(tmp_path: Path) -> None:
    store, found = unpacked(tmp_path, [[etc()], [file(f"etc/{number}/f") for number in range(50)]])
    reading, writing = os.pipe()
    children = []
    for _ in range(4):
        if (pid := os.fork()) == 0:
            os.close(writing)
            os.read(reading, 1)  # all begin when the pipe is closed
            lowers(store, found.diff_ids)
            os._exit(0)
        children.append(pid)
    os.close(writing)
    os.close(reading)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    assert len(lowers(store, found.diff_ids)) == 3


def test_the_chain_id_is_the_specifications() -> None:
    """Worked out with sha256sum, after the definition in config.md."""
    ids = ["a" * 64, "b" * 64, "c" * 64]
    assert chain_id(ids[:1]) == ids[0]
    assert chain_id([f"sha256:{each}" for each in ids]) == chain_id(ids)
    told = ids[0]
    for each in ids[1:]:
        text = f"sha256:{told} sha256:{each}"
        told = subprocess.run(["sha256sum"], input=text, capture_output=True, text=True, check=True).stdout[
            :64
        ]
    assert chain_id(ids) == told


# --- the same tree as others make ----------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
ENTRIES = st.one_of(
    PATHS.map(lambda path: file(path, path.encode())),
    st.builds(
        directory, PATHS, mode=st.sampled_from([0o700, 0o1777]), uid=st.integers(0, 3), mtime=st.just(EARLY)
    ),
    PATHS.map(whiteout),
    PATHS.map(opaque),
)


Parsed = tuple[str, str]


def parsed(entry: Entry) -> Parsed:
    """Say what an entry does to which path."""
    folder, _, name = entry.name.decode().rpartition("/")
    if name == ".wh..wh..opq":
        return "empty", folder
    if name.startswith(".wh."):
        return "remove", f"{folder}/{name.removeprefix('.wh.')}".lstrip("/")
    return "directory" if entry.kind == b"5" else "file", entry.name.decode()


def is_consistent(entries: Sequence[Entry]) -> bool:
    """Tell whether a layer has one opinion on each path: readers differ in what they make of several."""
    opinions: dict[str, set[str]] = {}
    for action, path in map(parsed, entries):
        opinions.setdefault(path, set()).add("directory" if action == "empty" else action)
        for folder in above(path):
            opinions.setdefault(folder, set()).add("directory")
    return all(len(found) == 1 for found in opinions.values())


def above(path: str) -> list[str]:
    return [path[:at] for at, sign in enumerate(path) if sign == "/"]


def sensible(layers: Layers) -> Layers:
    """Leave out the whiteouts of what is not there: readers differ in whether they imply directories."""
    there: dict[str, str] = {}
    kept = []
    for entries in layers:
        layer = [
            entry
            for entry in entries
            for action, path in [parsed(entry)]
            if action in ("file", "directory")
            or (action == "remove" and path in there)
            or (action == "empty" and there.get(path) == "directory")
        ]
        kept.append(layer)
        actions = sorted(map(parsed, layer), key=lambda each: each[0] in ("file", "directory"))
        for action, path in actions:
            if action != "directory":
                there = {p: kind for p, kind in there.items() if not p.startswith(f"{path}/")}
            if action == "remove":
                there.pop(path, None)
            elif action != "empty":
                there |= {path: action, **dict.fromkeys(above(path), "directory")}
    return kept


RANDOM = st.lists(st.lists(ENTRIES, max_size=6).filter(is_consistent), min_size=2, max_size=4).map(sensible)


def flattened(folder: Path, layers: Layers) -> dict[bytes, Node]:
    """Unpack the layers on top of each other into one directory."""
    folder.mkdir()
    top = os.open(folder, os.O_RDONLY)
    try:
        for entries in layers:
            with Extractor(top, "sha256:0", limits=Limits(), overlay=False) as extractor:
                extractor.feed(tar(entries))
                extractor.finish()
    finally:
        os.close(top)
    return read_tree(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RANDOM)
def test_stacked_layers_are_what_layers_on_top_of_each_other_are(tmp_path: Path, layers: Layers) -> None:
    def scene() -> list[str]:
        here, there = tree_of(tmp_path, layers), flattened(tmp_path / "flat", layers)
        return differences(here, there, frozenset({"mtime"}))

    assert aside(tmp_path, scene) == []


@pytest.mark.requires("peer:umoci")
@pytest.mark.parametrize(
    "layers",
    [
        pytest.param([[etc()], [file("etc/motd")]], id="left out once"),
        pytest.param([[etc()], [file("etc/a")], [file("etc/b")]], id="left out twice"),
        pytest.param([[etc()], [whiteout("etc")], [file("etc/motd")]], id="removed"),
        pytest.param([[etc(), file("etc/old")], [opaque("etc")], [file("etc/motd")]], id="emptied"),
        pytest.param([[directory("a"), directory("a/b", **SPECIAL)], [file("a/b/c")]], id="deep"),
    ],
)
def test_umoci_makes_the_same_tree(tmp_path: Path, layers: Layers) -> None:
    tree = tree_of(tmp_path, layers)
    command = [peer("umoci"), "unpack", "--image", f"{tmp_path}/root/images:sample", tmp_path / "bundle"]
    subprocess.run(command, env={"HOME": str(tmp_path)}, capture_output=True, check=True)
    there = read_tree(tmp_path / "bundle" / "rootfs")
    # The time of a directory of which no layer says anything is that at which it was made.
    assert differences(tree, there, frozenset({"mtime"})) == []
    assert {path for path in tree if is_special(tree[path])} == {
        path for path in there if is_special(there[path])
    }
