"""Images of the size that people use: Debian, and Python on it, made by us and taken everywhere."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from minicontainer.image.store.images import load
from minicontainer.image.store.names import find
from tests.image.interop.ours import Minicontainer
from tests.image.interop.tools import PEERS, Tools
from tests.image.trees import read_tree
from tests.image.unpackers import unpacking_differences
from tests.registries import Registry

pytestmark = [pytest.mark.requires(*PEERS, "tool:mmdebstrap"), pytest.mark.timeout(900)]
# With their layers, and fewer entries than they have.
IMAGES = {"busybox": (1, 100), "debian-slim": (1, 3000), "python": (2, 3000)}


@pytest.fixture(scope="module")
def builder(folder: Path) -> Minicontainer:
    """Give the user who has built the images."""
    made = Minicontainer(folder / "builder")
    words = made.argv("image", "build-base", "busybox", "python")
    subprocess.run(words, env=made.environment, stdout=subprocess.DEVNULL, timeout=800, check=True)
    return made


@pytest.mark.parametrize("image", IMAGES)
def test_a_whole_distribution_is_the_same_everywhere(
    image: str,
    builder: Minicontainer,
    ours: Minicontainer,
    plain: Registry,
    tools: Tools,
    tmp_path: Path,
) -> None:
    name = f"{plain.address}/debian/{image}:1"
    builder.succeed("tag", image, name)
    builder.succeed("push", name)
    ours.succeed("pull", name)
    tree = ours.tree(name)
    layers, entries = IMAGES[image]
    assert len(tree) > entries
    assert len(load(ours.store, find(ours.store, name)).diff_ids) == layers

    before = time.time_ns()
    tools.umoci.succeed("unpack", "--image", f"{ours.layout}:{name}", tmp_path / "bundle")
    assert not unpacking_differences(tree, read_tree(tmp_path / "bundle/rootfs"), before)
    digest = tools.digest(plain, name)
    assert tools.podman_digest(plain, name) == digest
    assert not unpacking_differences(tree, tools.podman_tree(name), before)
    assert tools.docker_digest(plain, name) == digest
