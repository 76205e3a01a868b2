"""`python -m benchmarks`: tables of ratios, ours beside crun's and runc's, podman's and docker's.

See benchmarks/__init__.py for how it is measured, lines.py and images.py for the goals, and counts.py for
what is shown instead where the processor is emulated and no time can be believed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.counts import LINES, faulted, modules, traced
from benchmarks.images import IMAGE_GOALS, STDLIB, ImageBench, image_bench
from benchmarks.lines import RUNTIME_GOALS, Bench
from benchmarks.machine import examine
from benchmarks.measure import Series
from tests.peers import in_v2_view, is_unified, peer

CHECKOUT = Path(__file__).resolve().parent.parent
PEERS = ("crun", "runc")
WHAT = ("runtimes", "images", "all")
GOALS = RUNTIME_GOALS | IMAGE_GOALS
ROUNDS, ROUNDS_OF_IMAGES = 30, 7
ROUNDS_OF_COUNTS = 3  # they hardly differ
SCRATCH = 'mount -t tmpfs bench "$0" && exec "$@"'

Figures = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Table:
    """Lines with a figure for each name; the first name is what the others are compared with."""

    figures: Figures
    names: list[str]


def main() -> int:
    """Measure, print the tables, and write them as JSON where that was asked for."""
    options = understand()
    if options.folder is None:
        return in_a_place_of_its_own()
    machine = examine()
    if machine.emulated:
        print(f"This is {machine.name}: nothing takes its real time here. Counts instead of times:\n")
    tables = choose(options, take_times=not (machine.emulated or options.counts))
    figures: Figures = {}
    for table in tables:
        show(table)
        figures |= table.figures
    print(f"on {os.cpu_count()} processor(s) of {machine.name}, Linux {os.uname().release}")
    if options.json:
        told = {"machine": machine.name, "emulated": machine.emulated, "figures": figures}
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    return 0


def understand() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=WHAT, default="all", help="what to measure (all)")
    parser.add_argument("--rounds", type=int, help="how often each command is run (30; 7 for images)")
    parser.add_argument("--load", type=int, default=48, help="containers per throughput measurement (48)")
    parser.add_argument(
        "--counts", action="store_true", help="count calls, bytes, page faults; take no times"
    )
    parser.add_argument("--json", type=Path, help="write the figures into this file too")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # inside, where everything is ready
    return parser.parse_args()


def choose(options: argparse.Namespace, *, take_times: bool) -> Iterator[Table]:
    """Measure what was asked for, one table after the other; images have no counts."""
    runtimes = {"ours": our_runtime()} | {name: str(path) for name in PEERS if (path := peer(name))}
    if take_times and len(runtimes) == 1:
        sys.exit("benchmarks: no peer is here to compare with: make peers")
    if not take_times:
        rounds = min(options.rounds or ROUNDS_OF_COUNTS, ROUNDS_OF_COUNTS)
        yield Table(count(options.folder, runtimes, rounds), list(runtimes))
        return
    if options.what in {"runtimes", "all"}:
        bench = Bench(options.folder, runtimes, options.rounds or ROUNDS, options.load)
        yield Table(measure(bench), list(runtimes))
    if options.what in {"images", "all"}:
        with image_bench(options.folder / "images", options.rounds or ROUNDS_OF_IMAGES) as images:
            yield from measure_images(images)


def our_runtime() -> str:
    """Find our runtime: this checkout's, or the one that is installed where there is no .venv."""
    own = CHECKOUT / ".venv/bin/minicontainer-runtime"
    found = str(own) if own.exists() else shutil.which("minicontainer-runtime")
    return found or sys.exit("benchmarks: minicontainer-runtime is not installed")


def in_a_place_of_its_own() -> int:
    """Start again with a tmpfs that ends with us, where real runtimes find cgroup v2 (tests/peers)."""
    with tempfile.TemporaryDirectory(prefix="minicontainer-bench-") as folder:
        again = [sys.executable, "-m", "benchmarks", *sys.argv[1:], "--folder", folder]
        command = in_v2_view(["sh", "-c", SCRATCH, folder, *again])
        if is_unified():
            command = ["unshare", "--mount", "--propagation", "private", *command]
        return subprocess.run(command, cwd=CHECKOUT, check=False).returncode


def measure(bench: Bench) -> Figures:
    """Measure every line; milliseconds of wall clock and CPU, KiB, containers per second."""
    figures: Figures = {}
    lines = {
        "run": bench.run,
        "create+start+delete": bench.life,
        "exec": bench.exec,
        "delete --force": bench.delete,
    }
    for name, line in lines.items():
        series = line()
        figures[name] = milliseconds(series, "wall")
        figures[f"{name}, CPU"] = milliseconds(series, "cpu")
    figures["peak memory of run, in units of time(1)"] = bench.memory()
    for parallel in (1, 8):
        figures[f"containers per second, {parallel} at once"] = bench.throughput(parallel)
    return figures


def measure_images(bench: ImageBench) -> Iterator[Table]:
    """Measure every line about images: milliseconds of wall clock, memory in units of time(1)."""
    series = bench.pull()
    stdlib = series.pop(STDLIB)
    without_daemon = {name: found for name, found in series.items() if name != "docker"}
    figures = {
        "pull and unpack": milliseconds(series, "wall"),
        "pull and unpack, stdlib alone": milliseconds({**series, "ours": stdlib}, "wall"),
        "pull and unpack, CPU": milliseconds(without_daemon, "cpu"),
    }
    yield Table(figures, list(series))
    for name, line in {"push": bench.push, "unpacking tars": bench.unpack}.items():
        series = line()
        figures = {name: milliseconds(series, "wall"), f"{name}, CPU": milliseconds(series, "cpu")}
        yield Table(figures, list(series))
    peaks = bench.memory()
    yield Table({"peak memory of pull, in units of time(1)": peaks}, list(peaks))


def count(folder: Path, runtimes: dict[str, str], rounds: int) -> Figures:
    """Count what does not depend on the clock.

    Only of commands that leave nothing behind: strace stays with whatever a command leaves.
    """
    figures: Figures = {}
    faults = Bench(folder / "faults", runtimes, rounds, 0, faulted)
    calls = Bench(folder / "calls", runtimes, rounds, 0, traced)
    for name in ("run", "exec", "delete"):
        series = getattr(calls, name)()
        for what, part in LINES.items():
            figures[f"{name}, {what}"] = {of: found.median(part) for of, found in series.items()}
        series = getattr(faults, name)()
        figures[f"{name}, page faults"] = {of: found.median("faults") for of, found in series.items()}
    for family, number in modules().items():
        figures[f"{family}, modules"] = {"ours": number}
    return figures


def milliseconds(series: dict[str, Series], what: str) -> dict[str, float]:
    """Give the medians of a line."""
    return {name: found.median(what) * 1000 for name, found in series.items()}


def show(table: Table) -> None:
    """Print the figures, the ratios and, where there are some, whether they meet the goals."""
    first, *peers = table.names
    times = any(line in GOALS for line in table.figures)
    print(f"{'medians of alternating runs':36}" + "".join(f"{name:>10}" for name in table.names), end="")
    print("".join(f"{f'{first}/{name}':>14}" + (f"{'goal':>7}" if times else "") for name in peers))
    for line, found in table.figures.items():
        columns = [
            f"{found[name]:10.{1 if times else 0}f}" if name in found else 10 * " " for name in table.names
        ]
        print(f"{line:36}" + "".join(columns), end="")
        for name in [name for name in peers if found.get(name)]:
            ratio, goal = found[first] / found[name], GOALS.get(line, {}).get(name)
            verdict = "" if goal is None else f"{goal:5}{' +' if ratio <= goal else ' -'}"
            print(f"{ratio:14.2f}" + (f"{verdict:>7}" if times else ""), end="")
        print()
    if times:
        print("milliseconds, containers per second; a goal is met (+) or not (-)")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
