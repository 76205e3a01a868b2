"""A copy of the package, to be edited and run without getting in anybody's way.

It is started as the launcher starts the checkout: from the hot lane's file where there is one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bare_python import FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parent.parent
PYTHON = str(Path(sys.executable).resolve())
FILE = f"hot-lane.{sys.implementation.cache_tag}.pyc"


class PackageCopy:
    """A copy of the package, with which the runtime's command line can be called as the launcher does."""

    def __init__(self, folder: Path, python: str | Path) -> None:
        self.python = python
        self.package = folder / "minicontainer"
        self.hot = self.package / "__pycache__" / FILE
        shutil.copytree(
            CHECKOUT / "minicontainer", self.package, ignore=shutil.ignore_patterns("__pycache__")
        )

    def command(self, *words: str) -> list[str]:
        """Give the command line that the launcher would become."""
        program = self.hot if self.hot.exists() else self.package / "launch.py"
        return [str(self.python), *FLAGS, str(program), "minicontainer-runtime", "", *words]

    def say(self, *words: str, user: int | None = None) -> str:
        """Run a command that must succeed; give what it prints."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=60, check=False, user=user
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def change(self, module: str, old: str, new: str) -> None:
        """Edit a source; its time differs from the one before, however coarse the clock is."""
        path = self.package / module
        text = path.read_text()
        assert text.count(old) == 1
        before = path.stat().st_mtime_ns
        path.write_text(text.replace(old, new))
        os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))


@contextmanager
def package_copy(python: str | Path = PYTHON) -> Iterator[PackageCopy]:
    """Make a copy that every user may read, and remove it in the end."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield PackageCopy(Path(folder), python)
