"""Images of an ordinary user: root of a user namespace, with the subordinate ids that he was granted."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from minicontainer.errors import Unsupported
from minicontainer.image.layer.diff import diff
from minicontainer.image.layer.extract import Extractor
from minicontainer.image.layer.limits import Limits
from minicontainer.image.overlay import mount_overlay
from minicontainer.image.rootless import become_root
from minicontainer.linux import programs
from minicontainer.linux.mounts import MS_BIND, mount
from minicontainer.linux.namespaces import CLONE_NEWUSER, in_user_namespace, unshare, write_id_map
from minicontainer.linux.prctl import PR_SET_DUMPABLE, prctl
from tests.image.layouts import directory, file, opaque, symlink, tar, whiteout
from tests.image.stored import tree_of
from tests.linux.children import in_child, own_mounts

pytestmark = pytest.mark.requires("root", "userns", "subuid", "filesystem:overlay")
T = TypeVar("T")
TESTER = 61234
HOME = Path("/mnt")  # in the scene's own mount namespace, where every user may go
GRANTED = "somebody:1000000:65536\ntester:4000000:1000\n# tester:1:1\ntester:5000000:64536\n"


def furnish(folder: Path, granted: str) -> dict[Path, str]:
    """Make a home, and what the system says of its owner; give where all of it belongs."""
    home = folder / "home"
    home.mkdir()
    os.chown(home, TESTER, TESTER)
    (folder / "passwd").write_text(f"root:x:0:0::/:/bin/sh\ntester:x:{TESTER}:{TESTER}::{HOME}:/bin/sh\n")
    (folder / "subuid").write_text(granted)
    (folder / "subgid").write_text(granted)
    return {home: str(HOME)} | {folder / name: f"/etc/{name}" for name in ("passwd", "subuid", "subgid")}


def settle(places: dict[Path, str]) -> None:
    """Put everything in its place, where nobody else sees it."""
    own_mounts()
    for source, place in places.items():
        mount(str(source), place, None, MS_BIND, None)


def as_user(folder: Path, scene: Callable[[], T], *, granted: str = GRANTED) -> T:
    """Play a scene as an ordinary user, who has `folder`/home as his home and the lines `granted`."""
    places = furnish(folder, granted)

    def play() -> T:
        settle(places)
        become_tester()
        os.chdir(HOME)
        return scene()

    return in_child(play)


def become_tester() -> None:
    os.setgroups([])
    os.setresgid(TESTER, TESTER, TESTER)
    os.setresuid(TESTER, TESTER, TESTER)
    prctl(PR_SET_DUMPABLE, 1)  # as a program has it that the user has started


def test_a_user_becomes_root_of_his_ids_and_of_nothing_else(tmp_path: Path) -> None:
    def scene() -> tuple[list[list[str]], list[list[str]]]:
        assert not in_user_namespace()
        become_root()
        assert in_user_namespace()
        assert (os.getuid(), os.geteuid(), os.getgid(), os.getegid()) == (0, 0, 0, 0)
        with pytest.raises(PermissionError):
            Path("/etc/passwd").write_text("")
        for name, owner in (("own", 0), ("first", 1), ("last", 65536)):
            Path(name).touch()
            os.chown(name, owner, owner)
        maps = [Path(f"/proc/self/{kind}_map").read_text().splitlines() for kind in ("uid", "gid")]
        return [line.split() for line in maps[0]], [line.split() for line in maps[1]]

    uids, gids = as_user(tmp_path, scene)
    assert uids == gids == [["0", "61234", "1"], ["1", "4000000", "1000"], ["1001", "5000000", "64536"]]
    owners = {
        place.name: (place.stat().st_uid, place.stat().st_gid) for place in (tmp_path / "home").iterdir()
    }
    assert {name: uid for name, (uid, _) in owners.items()} == {
        "own": TESTER,
        "first": 4_000_000,
        "last": 5_064_535,
    }
    assert all(uid == gid for uid, gid in owners.values())


def test_what_root_unpacked_he_can_remove_only_as_root(tmp_path: Path) -> None:
    def scene() -> bool:
        def remove() -> None:
            for path in (Path("d/f"), Path("d")):
                path.unlink() if path.is_file() else path.rmdir()

        def make() -> None:
            become_root()
            Path("d").mkdir(mode=0o700)
            Path("d/f").touch()
            os.chown("d", 1000, 1000)

        in_child(make)
        with pytest.raises(PermissionError):
            remove()
        become_root()
        remove()
        return Path("d").exists()

    assert not as_user(tmp_path, scene)


def test_an_overlay_of_layers_works_with_whiteouts_and_opaque_directories(tmp_path: Path) -> None:
    below = [directory("a"), file("a/old"), directory("o"), file("o/old"), file("gone"), file("kept", uid=33)]
    above = [directory("a"), whiteout("a/old"), directory("o"), opaque("o"), file("o/new"), whiteout("gone")]

    def scene() -> tuple[list[str], list[str], tuple[int, int]]:
        become_root()
        for name in ("below", "above", "upper", "work", "tree"):
            Path(name).mkdir()
        for name, entries in (("below", below), ("above", [*above, symlink("link", "x")])):
            with Extractor(opened(name), name, limits=Limits(), userxattr=True) as extractor:
                extractor.feed(tar(entries))
                extractor.finish()
        mount_overlay("tree", ["above", "below"], "upper", "work", options=["userxattr"])
        seen = listed(Path("tree"))
        owner = Path("tree/kept").stat().st_uid, Path("below/kept").stat().st_uid
        Path("tree/kept").unlink()
        Path("tree/o/new").unlink()
        Path("tree/o").rmdir()
        Path("tree/o").mkdir()
        return seen, layer_of("upper"), owner

    seen, layer, owner = as_user(tmp_path, scene)
    assert seen == ["a", "kept", "link", "o", "o/new"]
    assert layer == [".", ".wh.kept", "o", "o/.wh..wh..opq"]
    assert owner == (33, 33)
    assert (tmp_path / "home" / "below" / "kept").stat().st_uid == 4_000_032
    assert os.listxattr(tmp_path / "home" / "upper" / "o") == ["user.overlay.opaque"]
    assert stat.S_ISCHR((tmp_path / "home" / "upper" / "kept").stat().st_mode)


def test_the_tree_of_an_image_can_be_viewed(tmp_path: Path) -> None:
    layers = [[directory("d", mode=0o750, uid=33), file("d/a"), file("d/b")], [whiteout("d/a"), file("d/c")]]

    def scene() -> tuple[list[bytes], int, int]:
        become_root()
        tree = tree_of(Path(), layers)
        return sorted(tree), tree[b"d"].mode, tree[b"d"].uid

    assert as_user(tmp_path, scene) == ([b".", b"d", b"d/b", b"d/c"], 0o750, 33)
    owners = {path.lstat().st_uid for path in (tmp_path / "home" / "root").rglob("*")}
    assert owners == {TESTER, 4_000_032}


def opened(name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY)


def listed(tree: Path) -> list[str]:
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))


def layer_of(upper: str) -> list[str]:
    out = io.BytesIO()
    diff(opened(upper), out, userxattr=True)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as told:
        return told.getnames()


def test_root_stays_as_it_is() -> None:
    def namespaces() -> list[Path]:
        return [Path(f"/proc/self/ns/{kind}").readlink() for kind in ("user", "mnt")]

    before = namespaces()
    become_root()
    assert namespaces() == before


def failing(folder: Path, **how: str) -> tuple[str, str]:
    """Give message and hint of a user's failure."""

    def scene() -> tuple[str, str]:
        with pytest.raises(Unsupported) as failure:
            become_root()
        return failure.value.message, failure.value.hint

    return as_user(folder, scene, **how)


def test_without_subordinate_ids_he_is_told_how_to_get_them(tmp_path: Path) -> None:
    message, hint = failing(tmp_path, granted="somebody:1000000:65536\n")
    assert message.startswith("tester has no subordinate ids in /etc/subuid")
    assert hint == "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 tester"


@pytest.mark.parametrize("lines", ["tester:4000000\n", "tester:x:y\n", "tester:-1:5\n", "tester:4000000:0\n"])
def test_lines_that_are_none_grant_nothing(tmp_path: Path, lines: str) -> None:
    assert "no subordinate ids" in failing(tmp_path, granted=lines)[0]


def test_without_the_program_that_maps_ids_he_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PATH", "/nonexistent")
    message, hint = failing(tmp_path)
    assert "the program newuidmap is not installed" in message
    assert "minicontainer doctor" in hint


def test_what_the_program_refuses_is_passed_on(tmp_path: Path) -> None:
    overlapping = "tester:4000000:1000\ntester:4000000:1000\n"
    assert "newuidmap failed" in failing(tmp_path, granted=overlapping)[0]


def test_where_user_namespaces_are_forbidden_he_is_told(tmp_path: Path) -> None:
    """The limit is set for what is made below a user namespace of the test's own."""
    places = furnish(tmp_path, GRANTED)

    def scene() -> tuple[str, str]:
        settle(places)
        unshare(CLONE_NEWUSER)
        for kind, text in (("uid_map", f"{TESTER} 0 1"), ("setgroups", "deny"), ("gid_map", f"{TESTER} 0 1")):
            write_id_map(0, kind, text)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        with pytest.raises(Unsupported) as failure:
            become_root()
        return failure.value.message, failure.value.hint

    message, hint = in_child(scene)
    assert message == "an ordinary user gets no user namespace here: no space left on device"
    assert "minicontainer doctor" in hint
