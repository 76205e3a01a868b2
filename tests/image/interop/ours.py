"""minicontainer's command line as a user of registries sees it, with a store and settings of its own."""

from __future__ import annotations

import json
import os
import sysconfig
from pathlib import Path

from minicontainer.image.snapshot import view
from minicontainer.image.store.checking import check
from minicontainer.image.store.images import load
from minicontainer.image.store.names import find
from minicontainer.image.store.store import Store
from tests.image.trees import Tree, read_tree
from tests.programs import Completed, run_to_its_end
from tests.registries import Mode, Registry

PROGRAM = Path(sysconfig.get_path("scripts"), "minicontainer")


class Minicontainer:
    """One user of one store, who knows the certificates and passwords of the registries given."""

    def __init__(self, folder: Path, *registries: Registry, root: Path | None = None) -> None:
        self.root = root or folder / "root"
        settings, docker = folder / "images.toml", folder / "docker"
        docker.mkdir(parents=True)
        authorities = [
            (each.address, each.certificates / "ca.crt") for each in registries if each.mode is Mode.TLS
        ]
        settings.write_text("".join(f'[registry."{name}"]\nca = "{file}"\n' for name, file in authorities))
        auths: dict[str, object] = {}
        for each in registries:
            auths |= json.loads(each.auth_file.read_text())["auths"]
        (docker / "config.json").write_text(json.dumps({"auths": auths}))
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "MINICONTAINER_ROOT": str(self.root),
            "MINICONTAINER_IMAGES_CONFIG": str(settings),
            "DOCKER_CONFIG": str(docker),
        }

    @property
    def layout(self) -> Path:
        """The image layout that other tools read."""
        return self.root / "images"

    @property
    def store(self) -> Store:
        """The store, for tests that look into it."""
        return Store(self.root)

    def argv(self, *words: str | Path) -> list[str]:
        """Give a whole command line."""
        return [str(word) for word in (PROGRAM, *words)]

    def call(self, *words: str | Path) -> Completed:
        """Run a command to its end."""
        return run_to_its_end(self.argv(*words), "", self.environment)

    def succeed(self, *words: str | Path) -> str:
        """Run a command that must succeed; give its output without the last line end."""
        done = self.call(*words)
        assert done.returncode == 0, f"{' '.join(map(str, words))}: exit {done.returncode}: {done.stderr}"
        return done.stdout.removesuffix("\n")

    def problems(self) -> list[str]:
        """Check the whole store."""
        return check(self.store)

    def tree(self, name: str) -> Tree:
        """Read the merged tree of an image's layers."""
        with view(self.store, load(self.store, find(self.store, name))) as top:
            return read_tree(top)
