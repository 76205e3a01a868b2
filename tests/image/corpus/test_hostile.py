"""Hostile images do no harm: each is refused, or unpacked as GNU tar does in a chroot.

Each is taken in by a process of its own, with a store that holds one harmless image: once from an archive,
and once from a registry where a registry could serve it.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from minicontainer.image.snapshot import view
from minicontainer.image.store.checking import check as check_store
from minicontainer.image.store.images import load
from minicontainer.image.store.names import find
from minicontainer.image.store.store import Store
from tests.image.corpus import archives, bombs, breakouts, documents, entries, gnu_tar
from tests.image.corpus.attack import HARMLESS, KNOWN, VICTIM, Attack
from tests.image.corpus.guarded import MOST_MEMORY, Guarded, Outcome
from tests.image.corpus.registry import StaticRegistry
from tests.image.layouts import Document, image, layer
from tests.image.trees import Node, Tree, changed, differences, read_tree

ATTACKS = (*breakouts.ATTACKS, *entries.ATTACKS, *documents.ATTACKS, *bombs.ATTACKS, *archives.ATTACKS)
SERVED = [attack for attack in ATTACKS if attack.served]
# What the attacks would change, or make, if `/` were the host's.
WATCHED = (
    *("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/hosts", "/etc/x", "/etc/unbroken", "/etc/emptied"),
    *("/etc/localpasswd", "/etc/mypasswd", "/file", "/x", "/tmp/breakout", "/dev/null"),
)
pytestmark = [pytest.mark.requires("root"), pytest.mark.usefixtures("victim")]


def named(attack: Attack) -> str:
    return attack.name


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, guard: Guarded) -> Path:
    """Make a store with one harmless image."""
    folder = tmp_path_factory.mktemp("filled")
    archive = image([layer(KNOWN)], name="known:latest").archive(folder / "image.tar")
    environment = {"MINICONTAINER_ROOT": str(folder / "root")}
    outcome = guard.run(["load", "--input", str(archive)], environment, fresh=True)
    assert outcome.code == 0, outcome.err
    return folder / "root"


@pytest.fixture(scope="module")
def registry() -> Iterator[StaticRegistry]:
    with StaticRegistry() as server:
        yield server


class Scene:
    """A store to attack, and what lies around it."""

    def __init__(self, folder: Path, filled: Path, guard: Guarded) -> None:
        self.folder, self.root, self.guard = folder, folder / "host" / "root", guard
        shutil.copytree(filled, self.root, symlinks=True)
        self.settings = folder / "images.toml"
        self.limit({})
        self.before = read_tree(self.root)
        self.outside = self.look_outside()

    def look_outside(self) -> dict[str, object]:
        """Take down what no image may change: the victim, what is beside the store, files of the host."""
        beside = {name.name for name in self.root.parent.iterdir()}
        host = {name: Path(name).lstat() for name in WATCHED if Path(name).exists()}
        kept = {
            name: (found.st_ino, found.st_mode, found.st_uid, found.st_size) for name, found in host.items()
        }
        return {"victim": read_tree(VICTIM), "beside": beside, "host": kept}

    def limit(self, limits: Mapping[str, int]) -> None:
        """Configure bounds for layers."""
        lines = "".join(f"{name} = {value}\n" for name, value in limits.items())
        self.settings.write_text(f"[limits]\n{lines}")

    def run(self, arguments: Sequence[str], *, fresh: bool) -> Outcome:
        """Run a command that takes an image in. What holds for all images is asserted here."""
        environment = {
            "MINICONTAINER_ROOT": str(self.root),
            "MINICONTAINER_IMAGES_CONFIG": str(self.settings),
            "DOCKER_CONFIG": str(self.folder),
        }
        outcome = self.guard.run(arguments, environment, fresh=fresh)
        assert outcome.code is not None, "it hung"
        assert self.look_outside() == self.outside
        assert "Traceback" not in outcome.out + outcome.err
        assert outcome.memory < MOST_MEMORY
        return outcome

    def check(self, attack: Attack, outcome: Outcome, name: str) -> None:
        """Assert that what is right has happened."""
        if attack.refused:
            assert outcome.code == 1, f"accepted, or worse: {outcome}"
            demand_error(outcome.err, attack.refused)
            assert differences(read_tree(self.root), self.before, ignore=frozenset({"mtime"})) == []
        else:
            assert outcome.code == 0, outcome.err
            self.demand_tree(attack, name)
            assert check_store(Store(self.root)) == []
            assert list((self.root / "ingest").iterdir()) == []
            assert list((self.root / "layers").glob(".*")) == []

    def demand_tree(self, attack: Attack, name: str) -> None:
        """Compare the image's tree with GNU tar's."""
        theirs, begun = right_tree(attack.as_if)
        store = Store(self.root)
        with view(store, load(store, find(store, name))) as tree:
            found = read_tree(tree)
        assert differences(timeless(found, theirs, begun), timeless(theirs, theirs, begun)) == []


@functools.cache
def right_tree(data: bytes) -> tuple[Tree, int]:
    """Give GNU tar's tree, and a time before it was made."""
    begun = time.time_ns() - 10**9  # a file system's clock is coarser than ours
    with tempfile.TemporaryDirectory(prefix="minicontainer-right-") as folder:
        done = gnu_tar.unpack(data, Path(folder, "right"))
        assert done.returncode == 0, done.stderr
        return read_tree(Path(folder, "right")), begun


def timeless(tree: Tree, right: Tree, begun: int) -> dict[bytes, Node]:
    """Leave out the times of directories that the right tree has from its making."""

    def forget(path: bytes, node: Node) -> Node:
        made_now = path in right and right[path].mtime >= begun
        return dataclasses.replace(node, mtime=0) if made_now and node.kind == "directory" else node

    return changed(tree, forget)


def demand_error(err: str, words: tuple[str, ...]) -> None:
    """Assert that the error is one line, that it names what is wrong, and that no terminal obeys it."""
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith("minicontainer: ")]
    assert len(errors) == 1, err
    assert len(lines) <= 2, err
    assert all(line.isprintable() for line in lines)
    assert [word for word in words if word not in errors[0]] == [], errors[0]


@pytest.fixture
def scene(tmp_path: Path, filled: Path, guard: Guarded) -> Scene:
    return Scene(tmp_path, filled, guard)


@pytest.mark.parametrize("attack", ATTACKS, ids=named)
def test_a_hostile_archive_does_no_harm(attack: Attack, scene: Scene, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    attack.archive(attack.make(), archive)
    scene.limit(attack.limits)
    outcome = scene.run(["load", "--quiet", "--input", str(archive)], fresh=not attack.served)
    scene.check(attack, outcome, "sample:latest")


@pytest.mark.parametrize("attack", SERVED, ids=named)
def test_a_hostile_registry_does_no_harm(attack: Attack, scene: Scene, registry: StaticRegistry) -> None:
    registry.layout = attack.make()
    name = f"{registry.host}/sample:latest"
    scene.limit(attack.limits)
    scene.check(attack, scene.run(["pull", "--quiet", name], fresh=False), name)


def test_every_attack_has_a_name_of_its_own_and_a_sentence() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names) >= 80
    assert all(
        attack.sentence.endswith(".") and bool(attack.refused) != bool(attack.as_if) for attack in ATTACKS
    )


@pytest.mark.parametrize("name", ["../../../etc/passwd", "a\x1b[2J\n:b", "UPPER", ""])
def test_a_name_that_no_image_can_have_is_dropped(name: str, scene: Scene, tmp_path: Path) -> None:
    archive = image([layer(HARMLESS)], name=name).archive(tmp_path / "image.tar")
    outcome = scene.run(["load", "--input", str(archive)], fresh=False)
    assert outcome.code == 0, outcome.err
    assert re.fullmatch(r"Loaded image ID: sha256:[0-9a-f]{64}\n", outcome.out)


def test_an_archive_cannot_say_of_what_registry_an_image_came(scene: Scene, tmp_path: Path) -> None:
    origin = f"sha256:{'0' * 64}"

    def claim(index: Document) -> None:
        index["manifests"][0]["annotations"]["minicontainer.origin"] = origin

    archive = image([layer(HARMLESS)], index=claim).archive(tmp_path / "image.tar")
    outcome = scene.run(["load", "--input", str(archive)], fresh=False)
    assert outcome.code == 0, outcome.err
    assert origin not in (scene.root / "images" / "index.json").read_text()
