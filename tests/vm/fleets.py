"""`minicontainer vm` as a person uses it: the command, with directories of its own for each home."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runtime.waiting import eventually
from tests.vm.guests import short_place

COMMAND = Path(sys.executable).parent / "minicontainer"
TIMEOUT = 300.0  # seconds; under emulation, on a busy machine
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Home:
    """Where one user's machines lie; the cache is shared, because making an image takes a minute."""

    place: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "XDG_STATE_HOME": str(self.place / "state"),
            "XDG_RUNTIME_DIR": str(self.place / "run"),
        }

    def vm(self, *words: str, **options: Any) -> Done:
        """Run `minicontainer vm ...` to its end."""
        return subprocess.run(
            [COMMAND, "vm", *words],
            **{"capture_output": True, "stdin": subprocess.DEVNULL, **options},
            text=True,
            env=self.environment,
            timeout=TIMEOUT,
            check=False,
        )

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start `minicontainer vm ...`."""
        return subprocess.Popen([COMMAND, "vm", *words], text=True, env=self.environment, **options)

    def good(self, *words: str, **options: Any) -> str:
        """Run it, demand success, give its output."""
        done = self.vm(*words, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def nodes(self) -> dict[str, dict[str, Any]]:
        """What `vm list` tells, by name."""
        return {node["name"]: node for node in json.loads(self.good("list", "--format", "json"))}

    def states(self) -> list[str]:
        return [node["state"] for node in self.nodes().values()]

    def processes(self) -> list[int]:
        """Find what was started with this home in its environment."""
        sign = f"XDG_RUNTIME_DIR={self.place}/run\0".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if sign in path.read_bytes() and int(path.parent.name) != os.getpid():
                    found.append(int(path.parent.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found

    def demand_nothing_left(self) -> None:
        """Demand that no process, socket or file is left."""
        eventually(lambda: not self.processes(), f"still there: {self.processes()}")
        assert [str(path) for path in self.place.rglob("*") if path.name not in ("state", "run")] == []


@contextmanager
def home() -> Iterator[Home]:
    """Give a home, and demand that nothing is left in the end."""
    with short_place() as place:
        made = Home(place)
        try:
            yield made
            made.good("down", "-y")
            made.demand_nothing_left()
        finally:
            for pid in made.processes():
                os.kill(pid, signal.SIGKILL)
