"""Fixtures of the tests beside real tools: `tools`, registries, `ours`, and the images that travel.

What takes long is shared by the session, and runs before the first module is watched for what it leaves
behind. Each test has a store of its own, and repositories of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.image.interop import samples
from tests.image.interop.ours import Minicontainer
from tests.image.interop.tools import BY_SKOPEO, Publish, Tools
from tests.image.trees import Tree
from tests.image.unpackers import umoci_tree
from tests.peers.engines import Docker, Engine, Podman
from tests.peers.room import Room
from tests.registries import Mode, Registry, registry

REPOSITORIES = itertools.count(1)
Published = Callable[..., str]


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Give a folder for the session, with a short name."""
    top = Path(tempfile.mkdtemp(prefix="minicontainer-interop-"))
    yield top
    shutil.rmtree(top)


@pytest.fixture(scope="session", autouse=True)
def tools(folder: Path) -> Iterator[Tools]:
    """Give the peers, in a room with this machine's network."""
    with contextlib.ExitStack() as undo:
        room = Room(own_network=False)
        undo.callback(room.close)
        docker = Docker(room, folder / "docker")
        undo.callback(docker.close)
        skopeo, umoci = (Engine(room, folder / name, name) for name in ("skopeo", "umoci"))
        yield Tools(folder, skopeo, umoci, Podman(room, folder / "podman"), docker)


@pytest.fixture(scope="session", autouse=True)
def plain(folder: Path) -> Iterator[Registry]:
    """Give a registry without TLS and passwords."""
    with registry(folder / "plain") as found:
        yield found


@pytest.fixture(scope="module", params=[mode.value for mode in Mode])
def any_registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """Give a registry of each kind, one after the other."""
    with registry(tmp_path_factory.mktemp("registry") / request.param, Mode(request.param)) as found:
        yield found


@pytest.fixture
def publish(tools: Tools) -> Published:
    """Bring a layout's image to a registry, into a new repository: `publish(plain, sample)` names it."""

    def bring(registry: Registry, layout: Path, publisher: Publish = BY_SKOPEO) -> str:
        name = f"{registry.address}/tests/number-{next(REPOSITORIES)}:1"
        publisher(tools, registry, layout, name)
        return name

    return bring


@pytest.fixture
def make_ours(tmp_path: Path) -> Callable[..., Minicontainer]:
    """Make users with stores of their own: `make_ours(registry, ...)`."""
    numbers = itertools.count()
    return lambda *registries, **options: Minicontainer(
        tmp_path / f"user-{next(numbers)}", *registries, **options
    )


@pytest.fixture
def ours(make_ours: Callable[..., Minicontainer], plain: Registry) -> Minicontainer:
    """Give a user with an empty store."""
    return make_ours(plain)


# --- images ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sample(folder: Path) -> Path:
    """Give the layout of the image with every kind of entry."""
    return samples.every_kind(folder / "every-kind")


@pytest.fixture(scope="session")
def sample_tree(sample: Path, folder: Path) -> tuple[Tree, int]:
    """Give what umoci makes of it, and the time before it did."""
    before = time.time_ns()
    return umoci_tree(sample, "sample", folder / "every-kind-unpacked"), before


@pytest.fixture(scope="session")
def two_platforms(folder: Path) -> Path:
    """Give the layout of an index of two images."""
    return samples.two_platforms(folder / "two-platforms")


@pytest.fixture(scope="session")
def large(folder: Path) -> Path:
    """Give the layout of an image that takes a moment to travel."""
    return samples.incompressible(folder / "large")
