"""Fixtures of the containerd tests: `containerd`, started once, and `sleeping`, a container that runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containerd.archive import write_archive
from tests.containerd.engine import IMAGE, NAMESPACE, Containerd
from tests.peers.room import Room
from tests.podman.rootfs import write_image
from tests.runtime.runtimes import find_binary


@pytest.fixture(scope="session")
def containerd() -> Iterator[Containerd]:
    """Give a containerd with the test image; one start has warmed everything up."""
    top = Path(tempfile.mkdtemp(prefix="minicontainer-containerd-"))
    top.chmod(0o755)
    write_image(top / "layer.tar")
    write_archive(top / "image.tar", top / "layer.tar", IMAGE)
    room = Room()
    try:
        engine = Containerd(room, top, find_binary())
        engine.succeed("image", "import", str(top / "image.tar"))
        first = engine.run(IMAGE, "first", "echo", "hello")
        assert (first.returncode, first.stdout) == (0, "hello\n"), first.stderr
        yield engine
        engine.stop()
    finally:
        room.close(wanted=[Path(NAMESPACE)])
        shutil.rmtree(top)


@pytest.fixture(autouse=True)
def sweep(containerd: Containerd) -> Iterator[None]:
    """Remove what a test has left."""
    yield
    for name in containerd.containers():
        containerd.remove(name)


@pytest.fixture
def sleeping(containerd: Containerd) -> str:
    """Give a container that sleeps in the background."""
    containerd.succeed(*containerd.run_words("--detach", IMAGE, "sleeping", "sleep", "1000"))
    return "sleeping"
