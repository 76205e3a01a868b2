"""Measuring: one command at a time, the runtimes in random order, medians at the end."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command cost: wall clock and CPU, in seconds."""

    wall: float
    cpu: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu)


# Runs a command, in a directory, and says what it cost; costs can be added.
Gauge = Callable[..., Any]


@dataclass(slots=True)
class Series:
    """All that one runtime cost in one line of the table."""

    costs: list[Any] = field(default_factory=list)

    def median(self, what: str) -> float:
        """Give the median of one of the costs' fields, as `wall` or `cpu`."""
        found: list[float] = [getattr(cost, what) for cost in self.costs]
        return statistics.median(found)


def timed(argv: Sequence[str], directory: str | None = None) -> Cost:
    """Run a command to its end. Raises RuntimeError when it fails: a failure is not a time."""
    before = time.perf_counter()
    pid = start(argv, directory)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - before
    if status:
        raise RuntimeError(f"{' '.join(argv)}: status {status}")
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def start(argv: Sequence[str], directory: str | None = None) -> int:
    """Start a command whose output nobody reads; returns its pid."""
    here = Path.cwd()
    if directory:
        os.chdir(directory)
    try:
        null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1)]
        return os.posix_spawnp(argv[0], list(argv), os.environ, file_actions=null)
    finally:
        os.chdir(here)


def peak_memory(argv: Sequence[str], directory: str) -> int:
    """Run a command; returns the peak of its largest process.

    It is started by a small program: a process keeps the peak of the one that it was forked from.
    """
    done = subprocess.run(
        ["busybox", "time", "-f", "%M", *argv], cwd=directory, capture_output=True, text=True, check=True
    )
    return int(done.stderr.split()[-1])


def interleave(names: Sequence[str], rounds: int, once: Callable[[str], Any]) -> dict[str, Series]:
    """Call `once` for every name, `rounds` times, in a new random order each; the first does not count."""
    series = {name: Series() for name in names}
    for number in range(rounds + 1):
        for name in random.sample(list(names), len(names)):
            cost = once(name)
            if number:
                series[name].costs.append(cost)
    return series


def rate(argv_of: Callable[[int], Sequence[str]], total: int, parallel: int, directory: str) -> float:
    """Run `total` commands, `parallel` at a time; returns commands per second."""
    before = time.perf_counter()
    running: set[int] = set()
    for number in range(total):
        if len(running) == parallel:
            running.discard(collect())
        running.add(start(argv_of(number), directory))
    while running:
        running.discard(collect())
    return total / (time.perf_counter() - before)


def collect() -> int:
    """Wait for any command; returns its pid. Raises RuntimeError when it failed."""
    pid, status = os.wait()
    if status:
        raise RuntimeError(f"a command of the load ended with status {status}")
    return pid
