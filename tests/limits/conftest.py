"""Fixtures of the tests of limits: those of the runtime's tests, and a disk and swap of their own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.limits.groups import Disk
from tests.runtime.conftest import bundle, lower, runtime, workspace  # noqa: F401 - fixtures
from tests.runtime.runtimes import cgroup2_root, remove_cgroup

MIB = 1 << 20


def attach(megabytes: int) -> tuple[str, Path]:
    """Make a loop device over a file in memory; give the device and its file.

    All of the file is there from the beginning: the kernel counts what a write to the device adds to it as
    the writer's memory, and a group at its limit that swaps to the device would wait for itself.
    """
    with tempfile.NamedTemporaryFile(prefix="minicontainer-disk-", delete=False) as file:
        os.posix_fallocate(file.fileno(), 0, megabytes * MIB)
    found = subprocess.run(
        ["losetup", "--find", "--show", file.name], capture_output=True, text=True, check=True
    )
    return found.stdout.strip(), Path(file.name)


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    """Give a small disk with an ext4 file system, mounted where all may write."""
    device, file = attach(64)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", device], check=True)
    with tempfile.TemporaryDirectory(prefix="minicontainer-mount-") as place:
        subprocess.run(["mount", device, place], check=True)
        yield Disk(Path(device), Path(place))
        subprocess.run(["umount", place], check=True)
    subprocess.run(["losetup", "--detach", device], check=True)
    file.unlink()


@pytest.fixture
def swap() -> Iterator[None]:
    """Give the machine 48 MB of swap."""
    device, file = attach(48)
    subprocess.run(["mkswap", "--quiet", device], check=True)
    subprocess.run(["swapon", device], check=True)
    yield
    subprocess.run(["swapoff", device], check=True)
    subprocess.run(["losetup", "--detach", device], check=True)
    file.unlink()


@pytest.fixture
def parent(request: pytest.FixtureRequest) -> Iterator[Callable[..., Path]]:
    """Make groups that containers are put below: `parent("+memory +pids")` hands these controllers down."""
    made: list[Path] = []

    def make(controllers: str) -> Path:
        made.append(cgroup2_root() / f"parent-{len(made)}")
        made[-1].mkdir()
        (made[-1] / "cgroup.subtree_control").write_text(controllers)
        return made[-1]

    # After the containers' end, for which the runtime's fixture cares.
    yield make
    for group in made:
        remove_cgroup(group)
