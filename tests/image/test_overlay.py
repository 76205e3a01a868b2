"""Overlay mounts, in a mount namespace and on a file system of their own."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from minicontainer.errors import Error, KernelError, Refused, Unsupported
from minicontainer.image import overlay
from minicontainer.image.overlay import MAX_LAYERS, mount_overlay, prepare_upper
from minicontainer.linux.mounts import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, umount2
from tests.image.aside import aside
from tests.linux.children import mount_at

pytestmark = pytest.mark.requires("root", "filesystem:overlay")
WAYS = [
    pytest.param(True, marks=pytest.mark.requires("kernel:6.8"), id="one by one"),
    pytest.param(False, id="at once"),
]
both_ways = pytest.mark.parametrize("one_by_one", WAYS)


def made(place: Path) -> str:
    place.mkdir(parents=True)
    return str(place)


def listed(place: Path | str) -> list[str]:
    return sorted(entry.name for entry in Path(place).iterdir())


def layers(folder: Path, count: int) -> list[str]:
    """Make layers, of which each has a file of its own and overwrites another; topmost first."""
    places = [Path(made(folder / f"layer-{number}")) for number in range(count)]
    for number, place in enumerate(places):
        (place / f"only-{number}").touch()
        (place / "number").write_text(str(number))
    return [str(place) for place in reversed(places)]


def writable(folder: Path, name: str) -> tuple[str, str, str]:
    """Make target, upper and work directory."""
    return made(folder / name), made(folder / f"{name}-upper"), made(folder / f"{name}-work")


@both_ways
@pytest.mark.parametrize("count", [1, 2, 120, 200, MAX_LAYERS])
def test_layers_are_stacked_and_shared_by_two_mounts(tmp_path: Path, count: int, one_by_one: bool) -> None:
    def scene() -> None:
        lowers = layers(tmp_path, count)
        for name in ("one", "two"):
            target, upper, work = writable(tmp_path, name)
            mount_overlay(target, lowers, upper, work, one_by_one=one_by_one)
        one, two = tmp_path / "one", tmp_path / "two"
        assert listed(one) == sorted(["number", *(f"only-{number}" for number in range(count))])
        assert (one / "number").read_text() == str(count - 1)
        (one / "number").write_text("written")
        (one / "only-0").unlink()
        assert (two / "number").read_text() == str(count - 1)
        assert (two / "only-0").exists()
        assert stat.S_ISCHR((tmp_path / "one-upper" / "only-0").lstat().st_mode)
        assert (tmp_path / f"layer-{count - 1}" / "number").read_text() == str(count - 1)

    aside(tmp_path, scene)


@both_ways
def test_one_layer_too_many_is_refused_by_its_number(tmp_path: Path, one_by_one: bool) -> None:
    target, lowers = made(tmp_path / "target"), [f"/{number}" for number in range(MAX_LAYERS + 1)]
    with pytest.raises(Unsupported, match=r"501 layers .* takes 500"):
        mount_overlay(target, lowers, one_by_one=one_by_one)


@both_ways
def test_the_number_is_the_kernels_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_by_one: bool
) -> None:
    monkeypatch.setattr(overlay, "MAX_LAYERS", MAX_LAYERS + 1)

    def scene() -> None:
        lowers = layers(tmp_path, MAX_LAYERS + 1)
        with pytest.raises(KernelError) as refused:
            mount_overlay(made(tmp_path / "target"), lowers, one_by_one=one_by_one)
        assert refused.value.errno == errno.EINVAL
        mount_overlay(str(tmp_path / "target"), lowers[1:], one_by_one=one_by_one)

    aside(tmp_path, scene)


def test_options_that_do_not_fit_into_a_page_are_refused(tmp_path: Path) -> None:
    def scene() -> None:
        with pytest.raises(Unsupported, match=r"3 layers .* options take \d{4} bytes.* takes 4095"):
            mount_overlay(
                made(tmp_path / "target"), layers(tmp_path, 3), options=["x" * 4095], one_by_one=False
            )

    aside(tmp_path, scene)


ODD_NAMES = ["a,b", "a:b", "a\\b", "a b", "ä", os.fsdecode(b"\xff"), "lowerdir=x", "long/" * 200]


@both_ways
@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_directories_may_have_any_name(tmp_path: Path, name: str, one_by_one: bool) -> None:
    def scene() -> None:
        odd = tmp_path / name
        target, upper, work = writable(odd, "here")
        lowers = layers(odd / "layers", 2)
        mount_overlay(target, lowers, upper, work, one_by_one=one_by_one)
        assert (Path(target) / "number").read_text() == "1"
        (Path(target) / "new").touch()
        assert listed(upper) == ["new"]

    aside(tmp_path, scene)


@both_ways
@pytest.mark.parametrize("length", [254, 255, 256, 257])
def test_paths_may_be_longer_than_an_option(tmp_path: Path, length: int, one_by_one: bool) -> None:
    def scene() -> list[str]:
        lowers = [made(tmp_path / name.ljust(length - len(f"{tmp_path}/"), "x")) for name in ("one", "two")]
        assert {len(lower) for lower in lowers} == {length}
        for number, lower in enumerate(lowers):
            Path(lower, str(number)).touch()
        mount_overlay(made(tmp_path / "target"), lowers, one_by_one=one_by_one)
        return listed(tmp_path / "target")

    assert aside(tmp_path, scene) == ["0", "1"]


@both_ways
def test_without_an_upper_directory_nothing_can_be_written(tmp_path: Path, one_by_one: bool) -> None:
    def scene() -> None:
        lowers = layers(tmp_path, 3)
        for count in (1, 3):
            target = Path(made(tmp_path / f"target-{count}"))
            mount_overlay(str(target), lowers[:count], one_by_one=one_by_one)
            assert len(listed(target)) == count + 1
            with pytest.raises(OSError, match="Read-only file system"):
                (target / "new").touch()
            umount2(str(target), 0)

    aside(tmp_path, scene)


@both_ways
def test_the_whiteouts_of_one_layer_alone_do_not_show(tmp_path: Path, one_by_one: bool) -> None:
    def scene() -> list[str]:
        (layer,) = layers(tmp_path, 1)
        os.mknod(f"{layer}/gone", stat.S_IFCHR, 0)
        mount_overlay(made(tmp_path / "target"), [layer], one_by_one=one_by_one)
        return listed(tmp_path / "target")

    assert aside(tmp_path, scene) == ["number", "only-0"]


def test_one_layer_alone_covers_no_files(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").touch()
    with pytest.raises(Refused, match="is not empty"):
        mount_overlay(str(tmp_path / "target"), [made(tmp_path / "layer")])


@both_ways
def test_the_upper_directory_holds_whole_files_whatever_the_kernels_defaults(
    tmp_path: Path, one_by_one: bool
) -> None:
    """Else `diff` could not tell what a container has changed."""

    def scene() -> dict[str, list[str]]:
        (layer,) = layers(tmp_path, 1)
        Path(layer, "folder").mkdir()
        target, upper, work = writable(tmp_path, "target")
        mount_overlay(target, [layer], upper, work, one_by_one=one_by_one)
        Path(target, "number").chmod(0o600)
        with pytest.raises(OSError, match="cross-device"):
            Path(target, "folder").rename(Path(target, "moved"))
        assert Path(upper, "number").read_text() == "0"
        return {name: os.listxattr(Path(upper, name)) for name in listed(upper)}

    kept = aside(tmp_path, scene)
    assert list(kept) == ["number"]
    assert not {"trusted.overlay.metacopy", "trusted.overlay.redirect"} & set(kept["number"])


@both_ways
def test_options_and_attributes_reach_the_mount(tmp_path: Path, one_by_one: bool) -> None:
    def scene() -> tuple[str, bool]:
        target, upper, work = writable(tmp_path, "target")
        mount_overlay(
            *(target, layers(tmp_path, 2), upper, work),
            options=["volatile", "xino=off"],
            attributes=MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
            one_by_one=one_by_one,
        )
        return mount_at(target)[5], Path(work, "work", "incompat", "volatile").exists()

    attributes, is_volatile = aside(tmp_path, scene)
    assert {"nosuid", "nodev"} <= set(attributes.split(","))
    assert is_volatile


@both_ways
def test_a_mount_leaves_the_working_directory_and_no_descriptor(tmp_path: Path, one_by_one: bool) -> None:
    def scene() -> None:
        os.chdir(tmp_path)
        before = listed("/proc/self/fd")
        mount_overlay(made(tmp_path / "target"), layers(tmp_path, 5), one_by_one=one_by_one)
        with pytest.raises(Error):
            mount_overlay(str(tmp_path / "target"), [str(tmp_path), "/missing"], one_by_one=one_by_one)
        assert listed("/proc/self/fd") == before
        assert Path.cwd() == tmp_path

    aside(tmp_path, scene)


def test_a_relative_target_is_meant_from_here(tmp_path: Path) -> None:
    def scene(one_by_one: bool) -> list[str]:
        os.chdir(tmp_path)
        mount_overlay(Path(made(tmp_path / "target")).name, layers(tmp_path, 2), one_by_one=one_by_one)
        return listed("target")

    for one_by_one in (overlay.HAS_LOWERDIR_PLUS, False):
        assert aside(tmp_path, lambda way=one_by_one: scene(way)) == ["number", "only-0", "only-1"]  # type: ignore[misc]


def test_a_new_upper_directory_looks_like_the_root_below(tmp_path: Path) -> None:
    below, upper = made(tmp_path / "below"), made(tmp_path / "upper")
    os.setxattr(below, "trusted.overlay.opaque", b"y")
    os.setxattr(below, "trusted.kept", b"yes")
    os.chown(below, 5, 6)
    Path(below).chmod(0o1751)
    os.utime(below, ns=(1, 1_000_000_001))
    prepare_upper(upper, below)
    status = Path(upper).stat()
    seen = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
    assert seen == (stat.S_IFDIR | 0o1751, 5, 6, 1_000_000_001)
    assert os.listxattr(upper) == ["trusted.kept"]
