"""A place in which commands can be run that might do harm: namespaces of their own, a read-only host.

    test --unshare--> this script: mount, network, UTS, IPC and cgroup namespaces
                        /                read-only, but for one folder
                        cgroup v2 tree   shows one group only, as its root

Configurations that bind the host's folders, share its namespaces or name its cgroups reach this place
instead. It runs one command after the other, and says what each has left here: mounts, cgroups, processes.

    minicontainer-runtime's command line, as a JSON list, a line  ->  a line {"code", "said", "left"}

Run as a script, with the writable folder and where the cgroup v2 tree is mounted.
See unshare(1), mount(8), cgroup_namespaces(7).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests import leftovers

DEADLINE = 30.0
HUNG = -1000
"""The exit code of a command that had to be killed."""

Answer = dict[str, object]


def furnish(folder: str, cgroups: str) -> None:
    """Turn the namespaces that this process is in into the place that the picture shows."""
    for command in (
        ["mount", "--bind", folder, folder],
        ["mount", "-o", "remount,bind,ro", "/"],
        ["mount", "-t", "tmpfs", "none", cgroups],  # a file system is not mounted twice at one place
        ["mount", "-t", "cgroup2", "none", cgroups],
    ):
        subprocess.run(command, check=True)


def run(argv: list[str], said: Path) -> Answer:
    """Run one command to its end, or kill it after a while; say how it ended and what it has left."""
    with said.open("wb") as stream:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
        try:
            code = process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = HUNG
    return {"code": code, "said": said.read_text(errors="replace")}


def left(before: dict[str, set[str]]) -> list[str]:
    """Say what is here that was not, once processes have had time to end."""
    end = time.monotonic() + DEADLINE
    while True:
        found = [f"{kind} {name}" for kind, names in look().items() for name in names - before[kind]]
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.005)


def look() -> dict[str, set[str]]:
    """List what a command could leave here."""
    leftovers.reap_orphans()
    return {
        "mount": leftovers.mounts(),
        "cgroup": set(groups()),
        "network link": set(os.listdir("/sys/class/net")),  # noqa: PTH208
        "process": {name + leftovers.command_of(name) for name in leftovers.processes()},
    }


def groups() -> list[str]:
    """List the groups below this place's root."""
    top = sys.argv[2]
    return [folder for folder, _, _ in os.walk(top)]


def main(folder: str, cgroups: str) -> None:
    """Serve one command line after the other."""
    leftovers.become_subreaper()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    furnish(folder, cgroups)
    before = look()
    said = Path(folder) / "said"
    for line in sys.stdin:
        answer = run(json.loads(line), said)
        answer["left"] = left(before)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
