"""The layer of an upper directory: what comes out of an overlay mount goes into another one the same."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from minicontainer.errors import Conflict, Error, Unsupported
from minicontainer.image.layer.diff import diff
from minicontainer.image.layer.extract import Extractor
from minicontainer.image.layer.limits import Limits
from minicontainer.image.overlay import mount_overlay
from minicontainer.linux.mounts import mount
from tests.image.aside import aside
from tests.image.changes import BEGINNING, CHANGES, Change, play
from tests.image.layouts import image, tar_layer
from tests.image.trees import differences, read_tree, without_xattrs
from tests.linux.children import in_child
from tests.peers import peer

pytestmark = pytest.mark.requires("root")
OVERLAY = ("trusted.overlay.", "user.overlay.")
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep, of ping


def layer_of(upper: Path, **how: object) -> bytes:
    """Give the tar file of an upper directory."""
    out = io.BytesIO()
    descriptor = os.open(upper, os.O_RDONLY)
    try:
        entries = diff(descriptor, out, **how)  # type: ignore[arg-type]
    finally:
        os.close(descriptor)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as told:
        assert len(told.getmembers()) == entries
    return out.getvalue()


def members(layer: bytes) -> dict[str, tarfile.TarInfo]:
    """Read a layer as Python does."""
    with tarfile.open(fileobj=io.BytesIO(layer)) as file:
        return {member.name: member for member in file}


def extract(layer: bytes, place: Path, *, overlay: bool = True) -> None:
    place.mkdir()
    descriptor = os.open(place, os.O_RDONLY)
    try:
        with Extractor(descriptor, "sha256:0", limits=Limits(), overlay=overlay) as extractor:
            extractor.feed(layer)
            extractor.finish()
    finally:
        os.close(descriptor)


def stacked(folder: Path, name: str, *lowers: Path) -> tuple[Path, Path]:
    """Mount an overlay; give its tree and its upper directory."""
    places = [folder / f"{name}{suffix}" for suffix in ("", "-upper", "-work")]
    for place in places:
        place.mkdir()
    tree, upper, work = places
    mount_overlay(str(tree), [str(lower) for lower in lowers], str(upper), str(work))
    return tree, upper


@pytest.mark.requires("filesystem:overlay")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES, CHANGES)
def test_changes_made_on_a_layer_become_the_next_layer(
    tmp_path: Path, before: Sequence[Change], changes: Sequence[Change]
) -> None:
    def scene() -> list[str]:
        lower = tmp_path / "lower"
        lower.mkdir()
        play(lower, [*BEGINNING, *before])
        tree, upper = stacked(tmp_path, "tree", lower)
        play(tree, changes)
        extract(layer_of(upper), tmp_path / "layer")
        again, _ = stacked(tmp_path, "again", tmp_path / "layer", lower)
        one, other = (without_xattrs(read_tree(place), *OVERLAY) for place in (tree, again))
        # The second mount's own upper directory is its root.
        del one[b"."], other[b"."]
        return differences(one, other)

    assert aside(tmp_path, scene) == []


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    place = tmp_path / "upper"
    place.mkdir()
    return place


def test_a_layer_says_what_is_new_and_what_is_gone(upper: Path) -> None:
    (upper / "etc").mkdir()
    (upper / "etc" / "hosts").write_text("x")
    os.mknod(upper / "etc" / "motd", stat.S_IFCHR, 0)
    (upper / "srv").mkdir()
    os.setxattr(upper / "srv", "trusted.overlay.opaque", b"y")
    (upper / "srv" / ".a").touch()
    told = members(layer_of(upper))
    assert list(told) == [".", "etc", "etc/hosts", "etc/.wh.motd", "srv", "srv/.wh..wh..opq", "srv/.a"]
    for name in ("etc/.wh.motd", "srv/.wh..wh..opq"):
        assert (told[name].isreg(), told[name].size, told[name].mtime) == (True, 0, 0)


def test_the_directory_itself_is_told(upper: Path) -> None:
    upper.chmod(0o1770)
    os.chown(upper, 3, 4)
    told = members(layer_of(upper))["."]
    assert (told.isdir(), told.mode, told.uid, told.gid) == (True, 0o1770, 3, 4)


def test_overlays_notes_in_user_attributes(upper: Path) -> None:
    (upper / "srv").mkdir()
    os.setxattr(upper / "srv", "user.overlay.opaque", b"y")
    assert "srv/.wh..wh..opq" in members(layer_of(upper, userxattr=True))
    without = members(layer_of(upper))
    assert "srv/.wh..wh..opq" not in without
    assert without["srv"].pax_headers.keys() <= {"mtime"}


def test_whiteouts_are_links_to_one_file_for_overlay_and_separate_in_a_layer(upper: Path) -> None:
    os.mknod(upper / "a", stat.S_IFCHR, 0)
    (upper / "b").hardlink_to(upper / "a")
    assert [(m.name, m.isreg()) for m in members(layer_of(upper)).values() if m.name != "."] == [
        (".wh.a", True),
        (".wh.b", True),
    ]


def test_names_of_one_file_stay_links_but_not_to_whiteouts(upper: Path) -> None:
    (upper / "d").mkdir()
    (upper / "d" / "first").write_text("content")
    for name in ("second", "d/third"):
        (upper / name).hardlink_to(upper / "d" / "first")
    (upper / "link").symlink_to("nowhere")
    (upper / "link-again").hardlink_to(upper / "link")
    told = members(layer_of(upper))
    assert {name: member.linkname for name, member in told.items() if member.islnk()} == {
        "d/third": "d/first",
        "second": "d/first",
        "link-again": "link",
    }


def test_attributes_are_kept_but_not_overlays_nor_this_machines(upper: Path) -> None:
    file = upper / "ping"
    file.touch()
    kept = {"security.capability": CAPABILITY, "trusted.t": b"\0\n=", "user.empty": b""}
    for name, value in {**kept, "trusted.overlay.origin": b"", "trusted.overlay.impure": b"y"}.items():
        os.setxattr(file, name, value)
    records = members(layer_of(upper))["ping"].pax_headers
    written = {
        name.removeprefix("SCHILY.xattr."): value for name, value in records.items() if "xattr" in name
    }
    assert {name: value.encode("utf-8", "surrogateescape") for name, value in written.items()} == kept


def test_times_after_the_clamp_become_it(upper: Path) -> None:
    for name, time in (("old", 5_500_000_000), ("new", 10_500_000_000), ("exact", 10_000_000_000)):
        (upper / name).touch()
        os.utime(upper / name, ns=(0, time))
    told = members(layer_of(upper, clamp=10))
    assert {name: told[name].mtime for name in told} == {".": 10, "old": 5.5, "new": 10, "exact": 10}


def test_sockets_are_left_out(upper: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(upper / "s"))
        assert list(members(layer_of(upper))) == ["."]


def test_holes_become_zeros(upper: Path) -> None:
    with (upper / "sparse").open("wb") as file:
        file.seek(3 << 20)
        file.write(b"end")
    (upper / "full").write_bytes((upper / "sparse").read_bytes())
    for name in ("sparse", "full"):
        os.utime(upper / name, (0, 0))
    assert (upper / "sparse").stat().st_blocks < (upper / "full").stat().st_blocks
    layer = layer_of(upper)
    with tarfile.open(fileobj=io.BytesIO(layer)) as file:
        contents = [file.extractfile(name).read() for name in ("sparse", "full")]  # type: ignore[union-attr]
    assert contents == [bytes(3 << 20) + b"end"] * 2


def test_what_a_header_cannot_hold_is_told_all_the_same(upper: Path) -> None:
    name, target = "n" * 255, "t" * 4000
    (upper / name).symlink_to(target)
    os.chown(upper / name, 2**31, 2**32 - 2, follow_symlinks=False)
    told = members(layer_of(upper))[name]
    assert (told.linkname, told.uid, told.gid) == (target, 2**31, 2**32 - 2)


# --- the same upper directory, the same bytes ----------------------------------------------------------


def furnish(place: Path, names: Sequence[str]) -> None:
    """Make a tree whose times are all the same; the order of making is that of `names`."""
    place.mkdir()
    for name in names:
        (place / name).mkdir()
        (place / name / "file").write_bytes(os.fsencode(name))
        (place / name / "other").hardlink_to(place / name / "file")
        os.setxattr(place / name / "file", "user.one", b"1")
        os.setxattr(place / name / "file", "user.two", b"2")
    for folder, _, files in os.walk(place, topdown=False):
        for each in (*files, "."):
            os.utime(Path(folder, each), ns=(0, 1))


NAMES = [*(f"n{number}" for number in range(40)), "Z", "ä", os.fsdecode(b"\xff")]


def test_order_inodes_access_times_and_umask_do_not_matter(tmp_path: Path) -> None:
    furnish(tmp_path / "one", NAMES)
    one = layer_of(tmp_path / "one")
    (tmp_path / "one" / "ä" / "file").read_text()
    os.utime(tmp_path / "one" / "Z" / "file", ns=(10**18, 1))
    furnish(tmp_path / "two", NAMES[::-1])
    before = os.umask(0o777)
    try:
        assert layer_of(tmp_path / "two") == layer_of(tmp_path / "one") == one
    finally:
        os.umask(before)


DIFF = """
import os, sys
from minicontainer.image.layer.diff import diff
assert sys.getfilesystemencoding() == sys.argv[2]
diff(os.open(sys.argv[1], os.O_RDONLY), sys.stdout.buffer)
"""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(("encoding", "variables"), [("utf-8", {}), ("ascii", ASCII)])
def test_the_locale_does_not_matter(tmp_path: Path, encoding: str, variables: dict[str, str]) -> None:
    furnish(tmp_path / "one", NAMES)
    told = subprocess.run(
        [sys.executable, "-c", DIFF, tmp_path / "one", encoding],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **variables},
        capture_output=True,
        check=True,
    )
    assert told.stdout == layer_of(tmp_path / "one")


GOLDEN = "8ebffdfd3a0974b596e8d70b0692cc5592494b4529422e48980014537908d1a7"


def test_the_bytes_are_what_they_were_in_the_first_version(upper: Path) -> None:
    """Whoever rebuilds an image with another version of ours wants the same digests."""
    furnish(upper / "tree", ["a", "b" * 120])
    os.utime(upper, (0, 0))
    os.utime(upper / "tree", (0, 0))
    assert hashlib.sha256(layer_of(upper)).hexdigest() == GOLDEN


# --- other programs read it ----------------------------------------------------------------------------


def sample(place: Path) -> Path:
    """Make a tree with one of each."""
    place.mkdir()
    (place / "file").write_bytes(b"content" * 1000)
    (place / "again").hardlink_to(place / "file")
    (place / ("d" * 90)).mkdir(mode=0o1777)
    (place / ("d" * 90) / ("f" * 90)).touch()
    (place / ("d" * 90) / ("f" * 120)).touch()
    (place / "link").symlink_to("t" * 150)
    (place / os.fsdecode(b"\xff")).touch()
    os.mkfifo(place / "pipe")
    os.mknod(place / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(place / "pipe", 2**21, 2**31)
    os.setxattr(place / "file", "security.capability", CAPABILITY)
    for name, time in (("null", 0), ("pipe", 1), ("link", 10**9 + 1), (".", 5 * 10**9)):
        os.utime(place / name, ns=(0, time), follow_symlinks=False)
    (place / "file").chmod(0o4755)
    return place


@pytest.mark.requires("tool:tar")
def test_gnu_tar_makes_the_same_tree_of_it(tmp_path: Path) -> None:
    tree = sample(tmp_path / "tree")
    (tmp_path / "out").mkdir()
    command = ["tar", "-xpf-", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", tmp_path / "out"]
    told = subprocess.run(command, input=layer_of(tree), capture_output=True, check=True)
    assert told.stderr == b""
    assert differences(read_tree(tree), read_tree(tmp_path / "out")) == []


def test_we_make_the_same_tree_of_it(tmp_path: Path) -> None:
    tree = sample(tmp_path / "tree")
    extract(layer_of(tree), tmp_path / "out", overlay=False)
    assert differences(read_tree(tree), read_tree(tmp_path / "out")) == []


@pytest.mark.requires("peer:umoci")
def test_umoci_makes_the_same_tree_of_it(tmp_path: Path) -> None:
    """It reads with Go's archive/tar, as docker, containerd and podman do."""
    tree = sample(tmp_path / "tree")
    image([tar_layer(layer_of(tree))], name="sample").write(tmp_path / "layout")
    command = [peer("umoci"), "unpack", "--image", f"{tmp_path}/layout:sample", tmp_path / "bundle"]
    subprocess.run(command, env={"HOME": str(tmp_path)}, capture_output=True, check=True)
    assert differences(read_tree(tree), read_tree(tmp_path / "bundle" / "rootfs")) == []


# --- what a layer cannot say ---------------------------------------------------------------------------


@pytest.mark.requires("filesystem:overlay")
@pytest.mark.parametrize("feature", ["redirect_dir", "metacopy"])
def test_the_upper_directory_of_another_kind_of_mount_is_refused(tmp_path: Path, feature: str) -> None:
    def scene() -> None:
        for name in ("lower", "lower/moved", "upper", "work", "tree"):
            (tmp_path / name).mkdir()
        (tmp_path / "lower" / "file").write_text("content")
        options = ",".join(f"{name}dir={tmp_path}/{name}" for name in ("lower", "upper", "work"))
        mount("overlay", str(tmp_path / "tree"), "overlay", 0, f"{options},redirect_dir=on,{feature}=on")
        if feature == "metacopy":
            (tmp_path / "tree" / "file").chmod(0o600)
        else:
            (tmp_path / "tree" / "moved").rename(tmp_path / "tree" / "here")
        with pytest.raises(Unsupported, match=rf'"(file|here)" was .+ with {feature}'):
            layer_of(tmp_path / "upper")

    aside(tmp_path, scene)


@pytest.mark.parametrize("name", [".wh.x", ".wh..wh..opq", ".wh."])
def test_a_file_named_like_a_whiteout_is_refused(upper: Path, name: str) -> None:
    (upper / name).touch()
    with pytest.raises(Unsupported, match=r"begins with \.wh\."):
        layer_of(upper)


def test_an_attribute_whose_name_no_tar_can_hold_is_refused(upper: Path) -> None:
    os.setxattr(upper, "user.a=b", b"")
    with pytest.raises(Unsupported, match=r"user\.a=b"):
        layer_of(upper)


class Meddler(io.BytesIO):
    """A stream that changes a file when the first of its content arrives."""

    def __init__(self, change: Callable[[], object]) -> None:
        super().__init__()
        self._change: Iterator[Callable[[], object]] = iter([change])

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if data.startswith(b"content"):
            next(self._change, lambda: None)()
        return super().write(data)


def appended(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"more")


CHANGES_WHILE_READ: dict[str, Callable[[Path], object]] = {
    "grows": appended,
    "shrinks": lambda file: os.truncate(file, 5),
    "is rewritten": lambda file: file.write_bytes(file.read_bytes()),
}


@pytest.mark.parametrize("how", CHANGES_WHILE_READ)
def test_a_file_that_changes_while_it_is_read_is_an_error(upper: Path, how: str) -> None:
    file = upper / "log"
    file.write_bytes(b"content" * 500_000)
    os.utime(file, (0, 0))
    descriptor = os.open(upper, os.O_RDONLY)
    try:
        with pytest.raises(Conflict, match='"log" changed while it was read'):
            diff(descriptor, Meddler(lambda: CHANGES_WHILE_READ[how](file)))
    finally:
        os.close(descriptor)


def test_a_path_too_long_to_be_opened_is_an_error_that_names_it(upper: Path) -> None:
    def scene() -> None:
        os.chdir(upper)
        for _ in range(20):
            Path("d" * 250).mkdir()
            os.chdir("d" * 250)
        with pytest.raises(Error, match=r'cannot read "d{100}.*File name too long'):
            layer_of(upper)

    in_child(scene)
