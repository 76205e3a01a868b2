"""Fixtures of the podman tests: `podman` (as root), `detached` (what ends with the test), `rootless`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers.room import Room
from tests.podman.engine import IMAGE, Podman
from tests.podman.rootfs import write_image
from tests.runtime.runtimes import find_binary

TESTER = 61234  # an ordinary user's uid and gid
PARENT = "libpod_parent"  # the cgroup that podman's cgroupfs manager puts everything in
SUBIDS = "containers:2000000:1000000\ntester:4000000:65536\n"


@pytest.fixture(scope="session")
def room() -> Iterator[Room]:
    """Give podman a room of its own, with subordinate ids for `--userns auto` and for the test user."""
    place = Room()
    for path in ("/etc/subuid", "/etc/subgid"):
        place.append(path, SUBIDS)
    # New podmans ask libsubid, which knows only the subordinate ids of users who exist.
    for name, number in (("tester", TESTER), ("containers", TESTER + 1)):
        place.append("/etc/passwd", f"{name}:x:{number}:{number}::/nonexistent:/bin/sh\n")
        place.append("/etc/group", f"{name}:x:{number}:\n")
    yield place
    place.close(wanted=[Path(PARENT)])


@pytest.fixture(scope="session")
def workspace() -> Iterator[Path]:
    """Give a folder that every user can pass through."""
    top = Path(tempfile.mkdtemp(prefix="minicontainer-podman-"))
    top.chmod(0o755)
    yield top
    shutil.rmtree(top)


@pytest.fixture(scope="session")
def image_tar(workspace: Path) -> Path:
    """Give the test image's layer."""
    path = workspace / "image.tar"
    write_image(path)
    return path


@pytest.fixture(scope="session")
def podman(room: Room, workspace: Path, image_tar: Path) -> Iterator[Podman]:
    """Give podman as root, with the runtime under test and the test image; one start has warmed all up."""
    folder = workspace / "root"
    folder.mkdir()
    engine = Podman(room, folder, find_binary())
    engine.succeed("import", "--quiet", str(image_tar), IMAGE)
    assert engine.succeed("run", "--rm", IMAGE, "echo", "hello") == "hello"
    yield engine
    engine.reset()


@pytest.fixture(autouse=True)
def sweep(podman: Podman) -> Iterator[None]:
    """Remove what a failed test has left, so that only this test fails; containers named shared-* stay."""
    yield
    names = podman.succeed("ps", "--all", "--format", "{{.Names}}").split()
    if left := [name for name in names if not name.startswith("shared-")]:
        podman.succeed("pod", "rm", "--all", "--force", "--time", "0")
        podman.succeed("rm", "--force", "--ignore", "--time", "0", *left)


@pytest.fixture
def detached(podman: Podman) -> Iterator[Callable[..., str]]:
    """Start containers in the background that end with the test: `detached(*words)` gives the id."""
    started: list[str] = []

    def start(*words: str) -> str:
        started.append(podman.started(*words))
        return started[-1]

    yield start
    if started:
        podman.remove(*started)


@pytest.fixture(scope="session")
def rootless(room: Room, workspace: Path, image_tar: Path) -> Iterator[Podman]:
    """Give podman as an ordinary user that exists in the room only."""
    folder = workspace / "rootless"
    folder.mkdir()
    shutil.chown(folder, TESTER, TESTER)
    become = ["setpriv", "--reuid", str(TESTER), "--regid", str(TESTER), "--clear-groups"]
    engine = Podman(room, folder, find_binary(), become=become)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            shutil.chown(path, TESTER, TESTER)
    engine.succeed("import", "--quiet", str(image_tar), IMAGE)
    assert engine.succeed("run", "--rm", IMAGE, "echo", "hello") == "hello"
    yield engine
    engine.reset()
