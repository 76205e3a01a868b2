"""The cgroup v2 files: where the tree is, and that no answer of the kernel is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from minicontainer.errors import KernelError
from minicontainer.linux import cgroups
from tests.needs import cgroup2_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HYBRID = """\
23 1 252:1 / / rw,relatime - ext4 /dev/vda1 rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
"""
UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
COVERED = HYBRID + "90 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 none rw\n"
ELSEWHERE = "95 23 0:26 / /run/other\\040tree rw,relatime - cgroup2 none rw\n"


@pytest.mark.parametrize(
    ("mounts", "seen", "expected"),
    [
        (HYBRID, {"/sys/fs/cgroup/unified": "0:38"}, "/sys/fs/cgroup/unified"),
        (UNIFIED, {"/sys/fs/cgroup": "0:26"}, "/sys/fs/cgroup"),
        (COVERED, {"/sys/fs/cgroup": "0:38"}, "/sys/fs/cgroup"),
        (UNIFIED + ELSEWHERE, {"/sys/fs/cgroup": "0:26", "/run/other tree": "0:26"}, "/sys/fs/cgroup"),
        (ELSEWHERE, {"/run/other tree": "0:26"}, "/run/other tree"),
        (HYBRID, {"/sys/fs/cgroup/unified": "0:99"}, None),
        ("", {}, None),
    ],
    ids=["hybrid", "unified", "covered", "second-mount", "elsewhere", "hidden", "none"],
)
def test_the_tree_is_found_where_it_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, mounts: str, seen: dict[str, str], expected: str | None
) -> None:
    monkeypatch.setattr(cgroups, "_read_file", lambda _: mounts)
    monkeypatch.setattr(cgroups, "_device_at", lambda path: seen.get(path, ""))
    assert cgroups.find_cgroup2() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4:memory:/v1/path\n0::/a/b\n", "/a/b"),
        ("0::/a:b\n", "/a:b"),
        ("0::/gone (deleted)\n", "/gone"),
        ("1:name=systemd:/\n", "/"),
    ],
)
def test_the_group_of_a_process_is_its_line_of_v2(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setattr(cgroups, "_read_file", lambda _: text)
    assert cgroups.own_cgroup(1) == expected


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = cgroups.open_group(str(tmp_path))
    yield fd
    os.close(fd)


def test_a_value_is_written_and_read_back_by_descriptor(folder: int, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/pids.max").write_text("max\n")
    cgroups.write_control(folder, "sub/pids.max", "100\n")
    assert cgroups.read_control(folder, "sub/pids.max") == "100\n"
    assert cgroups.has_control(folder, "sub/pids.max")
    assert not cgroups.has_control(folder, "sub/pids.min")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("missing", errno.ENOENT),
        ("link", errno.ELOOP),
        ("../outside", errno.EXDEV),
        ("sub/../../outside", errno.EXDEV),
        ("/etc/hostname", errno.EXDEV),
    ],
)
def test_nothing_is_created_followed_or_left(folder: int, tmp_path: Path, name: str, number: int) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(KernelError) as caught:
        cgroups.write_control(folder, name, "new")
    assert (caught.value.errno, caught.value.call) == (number, "write_control")
    assert (tmp_path / "target").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def test_the_groups_below_are_directories_only(folder: int, tmp_path: Path) -> None:
    assert list(cgroups.groups_below(folder)) == []
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_text("")
    (tmp_path / "c").symlink_to("a")
    assert list(cgroups.groups_below(folder)) == ["a"]


def test_an_event_that_is_there_is_not_waited_for(folder: int, tmp_path: Path) -> None:
    (tmp_path / "cgroup.events").write_text("populated 0\nfrozen 0\n")
    assert cgroups.wait_for_event(folder, "populated 0", 0)
    assert not cgroups.wait_for_event(folder, "frozen 1", 0)
    (tmp_path / "cgroup.events").unlink()
    assert cgroups.wait_for_event(folder, "frozen 1", 0)


# --- with the kernel ----------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Iterator[int]:
    """Give a new group at the top of the real tree."""
    top = cgroups.open_group(cgroups.find_cgroup2() or "")
    name = f"test-cgroups-{os.getpid()}"
    group = cgroups.make_group(top, name)
    yield group
    os.close(group)
    cgroups.remove_group(top, name)
    os.close(top)


@pytest.mark.requires("cgroup2")
def test_the_tree_found_here_is_the_one_of_the_mount_table() -> None:
    assert cgroups.find_cgroup2() == str(cgroup2_tree())
    assert cgroups.is_cgroup2(str(cgroup2_tree()))
    assert not cgroups.is_cgroup2("/proc")
    assert not cgroups.is_cgroup2("/nowhere")


@pytest.mark.requires("root", "cgroup2")
@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("cgroup.max.depth", "nonsense", errno.EINVAL),
        ("cgroup.procs", "4194304000", errno.EINVAL),
        ("cgroup.subtree_control", "+nonsense", errno.EINVAL),
    ],
)
def test_a_value_that_the_kernel_refuses_is_an_error(real: int, name: str, value: str, number: int) -> None:
    with pytest.raises(KernelError) as caught:
        cgroups.write_control(real, name, value)
    assert caught.value.errno == number
    assert caught.value.arguments[1:] == (name, value)


@pytest.mark.requires("root", "cgroup2")
def test_a_group_with_a_group_below_is_busy(real: int) -> None:
    os.close(cgroups.make_group(real, "outer"))
    outer = cgroups.open_group("outer", real)
    os.close(cgroups.make_group(outer, "inner"))
    assert list(cgroups.groups_below(real)) == ["outer"]
    with pytest.raises(KernelError) as caught:
        cgroups.remove_group(real, "outer")
    assert caught.value.errno == errno.EBUSY
    cgroups.remove_group(outer, "inner")
    os.close(outer)
    cgroups.remove_group(real, "outer")
    assert list(cgroups.groups_below(real)) == []


@pytest.mark.requires("root", "cgroup2", "tool:unshare")
def test_a_tree_that_covers_another_is_the_one_that_counts() -> None:
    # The kernel refuses the same file system twice in one place: a tmpfs goes between.
    script = 'mount -t tmpfs none /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
    ask = "from minicontainer.linux import cgroups; print(cgroups.find_cgroup2())"
    argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, "-c", ask]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "/sys/fs/cgroup\n"
