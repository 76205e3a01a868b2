"""Mounts, against findmnt, mountinfo and the mount(8) of util-linux."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from minicontainer.linux import mounts
from minicontainer.linux.mounts import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    chroot,
    fsconfig,
    fsmount,
    fsopen,
    mount,
    mount_setattr,
    move_mount,
    open_tree,
    pivot_root,
    umount2,
)
from minicontainer.linux.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare, write_id_map
from tests.linux.children import in_child, mount_at, mountinfo, own_mounts, sleeping_child

pytestmark = pytest.mark.requires("root")
CLONE = mounts.OPEN_TREE_CLONE | mounts.OPEN_TREE_CLOEXEC
EMPTY = mounts.MOVE_MOUNT_F_EMPTY_PATH


def findmnt(place: str) -> dict[str, str]:
    """Ask util-linux about the mount at a place."""
    columns = "FSTYPE,SOURCE,VFS-OPTIONS,FS-OPTIONS,PROPAGATION"
    told = subprocess.run(
        ["findmnt", "-J", "-o", columns, "-M", place], capture_output=True, check=True
    ).stdout
    return json.loads(told)["filesystems"][-1]  # type: ignore[no-any-return]


def options(place: str) -> set[str]:
    return set(findmnt(place)["vfs-options"].split(","))


def made(kind: str, attributes: int = 0, **settings: str) -> int:
    """Make a mount by the new calls, not yet attached."""
    context = fsopen(kind, mounts.FSOPEN_CLOEXEC)
    for name, value in settings.items():
        fsconfig(context, mounts.FSCONFIG_SET_STRING, name, value, 0)
    fsconfig(context, mounts.FSCONFIG_CMD_CREATE, None, None, 0)
    return fsmount(context, mounts.FSMOUNT_CLOEXEC, attributes)


@pytest.mark.requires("tool:findmnt")
def test_mount_attaches_a_file_system(tmp_path: Path) -> None:
    def scene() -> dict[str, str]:
        own_mounts()
        mount("some name", str(tmp_path), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=0711")
        return findmnt(str(tmp_path))

    told = in_child(scene)
    assert (told["fstype"], told["source"]) == ("tmpfs", "some name")
    assert {"nosuid", "nodev", "noexec"} <= set(told["vfs-options"].split(","))
    assert {"size=64k", "mode=711"} <= set(told["fs-options"].split(","))


@pytest.mark.requires("tool:findmnt")
@pytest.mark.parametrize(
    ("flag", "word"),
    [(MS_SHARED, "shared"), (MS_PRIVATE, "private"), (MS_UNBINDABLE, "private,unbindable")],
)
def test_propagation_is_what_was_asked_for(tmp_path: Path, flag: int, word: str) -> None:
    def scene() -> str:
        own_mounts()
        mount("tmpfs", str(tmp_path), "tmpfs", 0, None)
        mount(None, str(tmp_path), None, flag, None)
        return findmnt(str(tmp_path))["propagation"]

    assert in_child(scene) == word


def test_a_mount_in_a_slave_does_not_reach_its_master(tmp_path: Path) -> None:
    def scene() -> tuple[bool, bool]:
        own_mounts()
        mount("tmpfs", str(tmp_path), "tmpfs", 0, None)
        mount(None, str(tmp_path), None, MS_SHARED, None)
        place = tmp_path / "here"
        place.mkdir()

        def below() -> bool:
            unshare(CLONE_NEWNS)
            mount(None, "/", None, MS_REC | MS_SLAVE, None)
            mount("tmpfs", str(place), "tmpfs", 0, None)
            return place.is_mount()

        return in_child(below), place.is_mount()

    assert in_child(scene) == (True, False)


@pytest.mark.requires("tool:findmnt")
def test_a_bind_becomes_read_only_by_a_second_call(tmp_path: Path) -> None:
    def scene() -> tuple[set[str], set[str]]:
        own_mounts()
        mount(str(tmp_path), str(tmp_path), None, MS_BIND, None)
        before = options(str(tmp_path))
        mount(None, str(tmp_path), None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)
        return before, options(str(tmp_path))

    before, after = in_child(scene)
    assert "rw" in before
    assert "ro" in after


def test_pivot_root_swaps_the_root_and_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    def scene() -> tuple[list[str], list[str]]:
        own_mounts()
        mount("tmpfs", str(tmp_path), "tmpfs", 0, None)
        (tmp_path / "proc").mkdir()
        mount("/proc", str(tmp_path / "proc"), None, MS_BIND | MS_REC, None)
        os.chdir(tmp_path)
        pivot_root(".", ".")
        umount2(".", mounts.MNT_DETACH)
        os.chdir("/")
        left = [fields[4] for fields in mountinfo() if not fields[4].startswith("/proc")]
        return [path.name for path in Path("/").iterdir()], left

    assert in_child(scene) == (["proc"], ["/"])


def test_chroot_changes_the_root(tmp_path: Path) -> None:
    (tmp_path / "inside").touch()

    def scene() -> list[str]:
        chroot(str(tmp_path))
        return [path.name for path in Path("/").iterdir()]

    assert in_child(scene) == ["inside"]


def test_unmounting_does_not_follow_a_link(tmp_path: Path) -> None:
    def scene() -> tuple[bool, bool]:
        own_mounts()
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        mount("tmpfs", str(tmp_path / "real"), "tmpfs", 0, None)
        try:
            umount2(str(tmp_path / "link"), mounts.UMOUNT_NOFOLLOW)
        except OSError:
            refused = (tmp_path / "real").is_mount()
        umount2(str(tmp_path / "link"), 0)
        return refused, (tmp_path / "real").is_mount()

    assert in_child(scene) == (True, False)


# --- the calls that work on descriptors --------------------------------------------------------


@pytest.mark.requires("tool:findmnt", "kernel:5.12")
def test_a_mount_is_made_first_and_then_put_in_its_place(tmp_path: Path) -> None:
    def scene() -> tuple[bool, dict[str, str]]:
        own_mounts()
        tree = made("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOATIME, size="64k", source="a name")
        before = tmp_path.is_mount()
        move_mount(tree, "", mounts.AT_FDCWD, str(tmp_path), EMPTY)
        return before, findmnt(str(tmp_path))

    before, told = in_child(scene)
    assert not before
    assert (told["fstype"], told["source"]) == ("tmpfs", "a name")
    assert {"nosuid", "noatime"} <= set(told["vfs-options"].split(","))


@pytest.mark.requires("kernel:5.12")
def test_a_mount_is_put_onto_a_descriptor_whatever_its_name_has_become(tmp_path: Path) -> None:
    def scene() -> tuple[bool, bool]:
        own_mounts()
        (tmp_path / "target").mkdir()
        target = os.open(tmp_path / "target", os.O_PATH)
        (tmp_path / "target").rename(tmp_path / "renamed")
        (tmp_path / "target").symlink_to("/etc")
        move_mount(made("tmpfs"), "", target, "", EMPTY | mounts.MOVE_MOUNT_T_EMPTY_PATH)
        return (tmp_path / "renamed").is_mount(), Path("/etc").is_mount()

    assert in_child(scene) == (True, False)


@pytest.mark.requires("tool:findmnt", "kernel:5.12")
def test_attributes_reach_the_mounts_below_only_when_asked(tmp_path: Path) -> None:
    def scene() -> list[set[str]]:
        own_mounts()
        mount("tmpfs", str(tmp_path), "tmpfs", 0, None)
        below = tmp_path / "below"
        below.mkdir()
        mount("tmpfs", str(below), "tmpfs", 0, None)
        where = os.open(tmp_path, os.O_PATH)
        mount_setattr(where, "", mounts.AT_EMPTY_PATH, MOUNT_ATTR_NODEV, 0, 0, 0)
        seen = [options(str(tmp_path)), options(str(below))]
        everywhere = mounts.AT_EMPTY_PATH | mounts.AT_RECURSIVE
        mount_setattr(where, "", everywhere, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NODEV, 0, 0)
        return [*seen, options(str(tmp_path)), options(str(below))]

    first, second, third, fourth = in_child(scene)
    assert ("nodev" in first, "nodev" in second) == (True, False)
    assert {"ro", "noexec"} <= third & fourth
    assert "nodev" not in third


@pytest.mark.requires("tool:findmnt", "kernel:5.12")
def test_a_way_to_note_access_times_replaces_the_other(tmp_path: Path) -> None:
    def scene() -> set[str]:
        own_mounts()
        mount("tmpfs", str(tmp_path), "tmpfs", 0, None)
        where = os.open(tmp_path, os.O_PATH)
        mount_setattr(where, "", mounts.AT_EMPTY_PATH, MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, MS_SHARED, 0)
        return options(str(tmp_path)) | set(findmnt(str(tmp_path))["propagation"].split(","))

    told = in_child(scene)
    assert {"noatime", "shared"} <= told
    assert "relatime" not in told


@pytest.mark.requires("kernel:5.12")
def test_a_tree_is_copied_with_or_without_what_is_mounted_below(tmp_path: Path) -> None:
    source, one, both = (tmp_path / name for name in ("source", "one", "both"))

    def scene() -> tuple[bool, bool]:
        own_mounts()
        for place in (source, one, both):
            place.mkdir()
        mount("tmpfs", str(source), "tmpfs", 0, None)
        (source / "below").mkdir()
        mount("tmpfs", str(source / "below"), "tmpfs", 0, None)
        for place, more in ((one, 0), (both, mounts.AT_RECURSIVE)):
            tree = open_tree(mounts.AT_FDCWD, str(source), CLONE | more)
            move_mount(tree, "", mounts.AT_FDCWD, str(place), EMPTY)
        return (one / "below").is_mount(), (both / "below").is_mount()

    assert in_child(scene) == (False, True)


@pytest.mark.requires("kernel:6.3", "userns")
def test_an_id_mapped_mount_shows_other_owners(tmp_path: Path) -> None:
    """tmpfs can be mapped since Linux 6.3."""
    source, target = tmp_path / "source", tmp_path / "target"

    def scene() -> tuple[tuple[int, int], tuple[int, int]]:
        own_mounts()
        source.mkdir()
        target.mkdir()
        mount("tmpfs", str(source), "tmpfs", 0, None)
        (source / "file").touch()
        with sleeping_child(lambda: unshare(CLONE_NEWUSER)) as pid:
            write_id_map(pid, "uid_map", "0 100000 1000")
            write_id_map(pid, "gid_map", "0 200000 1000")
            users = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
            tree = open_tree(mounts.AT_FDCWD, str(source), CLONE)
            mount_setattr(tree, "", mounts.AT_EMPTY_PATH, MOUNT_ATTR_IDMAP, 0, 0, users)
            move_mount(tree, "", mounts.AT_FDCWD, str(target), EMPTY)
        before, after = (source / "file").stat(), (target / "file").stat()
        return (before.st_uid, before.st_gid), (after.st_uid, after.st_gid)

    assert in_child(scene) == ((0, 0), (100000, 200000))


@pytest.mark.requires("filesystem:overlay")
def test_an_overlay_writes_to_its_upper_directory_only(tmp_path: Path) -> None:
    def scene() -> tuple[str, bool, bool]:
        own_mounts()
        mount("tmpfs", str(tmp_path), "tmpfs", 0, None)
        for name in ("lower", "upper", "work", "at"):
            (tmp_path / name).mkdir()
        (tmp_path / "lower/old").write_text("from below")
        layers = ",".join(f"{name}dir={tmp_path}/{name}" for name in ("lower", "upper", "work"))
        mount("overlay", str(tmp_path / "at"), "overlay", 0, layers)
        (tmp_path / "at/new").touch()
        kind = mount_at(str(tmp_path / "at"))[7]
        assert (tmp_path / "at/old").read_text() == "from below"
        return kind, (tmp_path / "upper/new").exists(), (tmp_path / "lower/new").exists()

    assert in_child(scene) == ("overlay", True, False)
