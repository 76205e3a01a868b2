"""The lines of the table: what is done once, and the goals that the ratios have to meet."""

from __future__ import annotations

import contextlib
import os
import select
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bundle import make_bundle, make_rootfs
from benchmarks.measure import Gauge, Series, interleave, peak_memory, rate, timed

# line -> peer -> the largest ratio of ours to the peer's that meets the goal
RUNTIME_GOALS = {
    "run": {"runc": 0.33, "crun": 1.6},
    "exec": {"runc": 0.30, "crun": 1.8},
    "create+start+delete": {"runc": 0.6},
    "delete --force": {"runc": 0.12, "crun": 1.0},
}


@dataclass(slots=True)
class Bench:
    """The runtimes and where they work: everything lies below `folder`, on a tmpfs."""

    folder: Path
    runtimes: dict[str, str]
    rounds: int
    load: int
    gauge: Gauge = timed  # what is measured of a command
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1 << 30)))
    quick: Path = field(init=False)
    long: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        rootfs = make_rootfs(self.folder / "rootfs")
        self.quick = make_bundle(self.folder / "quick", rootfs, "true")
        self.long = make_bundle(self.folder / "long", rootfs, "sleep", "1000000")

    def argv(self, name: str, *words: str) -> list[str]:
        """Give a command line of a runtime, with a state directory of its own."""
        return [self.runtimes[name], "--root", str(self.folder / "state" / name), *words]

    def identifier(self) -> str:
        """Give a new container's name."""
        return f"bench-{os.getpid()}-{next(self.numbers)}"

    def run(self) -> dict[str, Series]:
        """Measure a container from start to exit."""

        def once(name: str) -> Any:
            return self.gauge(self.argv(name, "run", self.identifier()), str(self.quick))

        return interleave(list(self.runtimes), self.rounds, once)

    def life(self) -> dict[str, Series]:
        """Measure create, start and delete, without the program's own time between the last two."""

        def once(name: str) -> Any:
            container, pid_file = self.identifier(), self.folder / "pid"
            words = ("create", "--bundle", str(self.quick), "--pid-file", str(pid_file), container)
            cost = self.gauge(self.argv(name, *words))
            handle = os.pidfd_open(int(pid_file.read_text()))
            cost += self.gauge(self.argv(name, "start", container))
            wait_for(handle)
            return cost + self.gauge(self.argv(name, "delete", container))

        return interleave(list(self.runtimes), self.rounds, once)

    def exec(self) -> dict[str, Series]:
        """Measure one more process in a container that runs."""
        with contextlib.ExitStack() as undo:
            running = {name: undo.enter_context(self.container(name)) for name in self.runtimes}

            def once(name: str) -> Any:
                return self.gauge(self.argv(name, "exec", running[name], "true"))

            return interleave(list(self.runtimes), self.rounds, once)

    def delete(self) -> dict[str, Series]:
        """Measure the forced removal of a container that runs."""

        def once(name: str) -> Any:
            container = self.identifier()
            timed(self.argv(name, "run", "--detach", "--bundle", str(self.long), container))
            return self.gauge(self.argv(name, "delete", "--force", container))

        return interleave(list(self.runtimes), self.rounds, once)

    def memory(self) -> dict[str, float]:
        """Measure the peak memory of `run`, in units that are the same for all."""
        found = {}
        for name in self.runtimes:
            runs = [peak_memory(self.argv(name, "run", self.identifier()), str(self.quick)) for _ in range(5)]
            found[name] = float(statistics.median(runs))
        return found

    def throughput(self, parallel: int) -> dict[str, float]:
        """Measure containers per second, `parallel` at a time; the median of alternating rounds."""
        rates: dict[str, list[float]] = {name: [] for name in self.runtimes}
        for _ in range(3):
            for name in self.runtimes:

                def command(_number: int, name: str = name) -> list[str]:
                    return self.argv(name, "run", self.identifier())

                rates[name].append(rate(command, self.load, parallel, str(self.quick)))
        return {name: statistics.median(found) for name, found in rates.items()}

    @contextlib.contextmanager
    def container(self, name: str) -> Iterator[str]:
        """Keep a container running."""
        container = self.identifier()
        timed(self.argv(name, "run", "--detach", "--bundle", str(self.long), container))
        try:
            yield container
        finally:
            timed(self.argv(name, "delete", "--force", container))


def wait_for(handle: int) -> None:
    """Wait until a process has ended, by its pidfd."""
    watch = select.poll()
    watch.register(handle, select.POLLIN)
    if not watch.poll(60_000):
        raise RuntimeError("the container's program does not end")
    os.close(handle)
