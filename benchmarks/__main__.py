"""`python -m benchmarks`: the table of ratios, ours beside crun's and runc's.

See benchmarks/__init__.py for how it is measured, and lines.py for the goals.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.lines import GOALS, Bench
from benchmarks.measure import Series
from tests.peers import in_v2_view, is_unified, peer

CHECKOUT = Path(__file__).resolve().parent.parent
PEERS = ("crun", "runc")
SCRATCH = 'mount -t tmpfs bench "$0" && exec "$@"'


def main() -> int:
    """Measure, print the table, and write it as JSON where that was asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="how often each command is run (30)")
    parser.add_argument("--load", type=int, default=48, help="containers per throughput measurement (48)")
    parser.add_argument("--json", type=Path, help="write the figures into this file too")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # inside, where everything is ready
    options = parser.parse_args()
    if options.folder is None:
        return in_a_place_of_its_own()
    runtimes = {"ours": str(CHECKOUT / ".venv/bin/minicontainer-runtime")}
    runtimes |= {name: str(path) for name in PEERS if (path := peer(name))}
    if len(runtimes) == 1:
        sys.exit("benchmarks: no peer is here to compare with: make peers")
    figures = measure(Bench(options.folder, runtimes, options.rounds, options.load))
    show(figures, list(runtimes))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def in_a_place_of_its_own() -> int:
    """Start again with a tmpfs that ends with us, where real runtimes find cgroup v2 (tests/peers)."""
    with tempfile.TemporaryDirectory(prefix="minicontainer-bench-") as folder:
        again = [sys.executable, "-m", "benchmarks", *sys.argv[1:], "--folder", folder]
        command = in_v2_view(["sh", "-c", SCRATCH, folder, *again])
        if is_unified():
            command = ["unshare", "--mount", "--propagation", "private", *command]
        return subprocess.run(command, cwd=CHECKOUT, check=False).returncode


def measure(bench: Bench) -> dict[str, dict[str, float]]:
    """Measure every line; milliseconds of wall clock and CPU, KiB, containers per second."""
    figures: dict[str, dict[str, float]] = {}
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


def milliseconds(series: dict[str, Series], what: str) -> dict[str, float]:
    """Give the medians of a line."""
    return {name: found.median(what) * 1000 for name, found in series.items()}


def show(figures: dict[str, dict[str, float]], names: list[str]) -> None:
    """Print the figures, the ratios and whether they meet the goals."""
    peers = names[1:]
    print(f"{'medians of alternating runs':36}" + "".join(f"{name:>10}" for name in names), end="")
    print("".join(f"{'ours/' + name:>12}{'goal':>7}" for name in peers))
    for line, found in figures.items():
        print(f"{line:36}" + "".join(f"{found[name]:10.1f}" for name in names), end="")
        for name in peers:
            ratio, goal = found["ours"] / found[name], GOALS.get(line, {}).get(name)
            verdict = "" if goal is None else f"{goal:5}{' +' if ratio <= goal else ' -'}"
            print(f"{ratio:12.2f}{verdict:>7}", end="")
        print()
    print("milliseconds, containers per second; a goal is met (+) or not (-)")
    print(f"on {os.cpu_count()} processors, Linux {os.uname().release}")


if __name__ == "__main__":
    sys.exit(main())
