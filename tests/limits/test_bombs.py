"""Bombs in limited containers: the machine stays well, the neighbours stay well, and all of it can be ended.

Implements: security.md R24; runtime-spec config-linux.md "PIDs" and "Memory".
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.limits.groups import MIB, beside, counts, limited, memory, number, with_own_groups
from tests.runtime.checks import accepts
from tests.runtime.runtimes import cgroup2_root
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = [
    pytest.mark.vm,
    pytest.mark.requires("root", "unified", "controller:memory", "controller:pids", "controller:cpu"),
]
FORK_BOMB = "bomb() { bomb | bomb & }; while :; do bomb; sleep 1; done"
MOST = 64


def tasks() -> int:
    """Count the threads of the whole machine: the fourth field of proc_loadavg(5)."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


def killed() -> int:
    """Count the processes that the kernel has killed for want of memory, anywhere."""
    return counts(Path("/proc"), "vmstat")["oom_kill"]


def available() -> int:
    """Give the machine's free memory, in bytes."""
    rows = Path("/proc/meminfo").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("MemAvailable"))


def still_serves(runtime: Runtime, make: MakeBundle, neighbour: Bundle) -> None:
    """Assert that a neighbour answers and that new containers can be had."""
    assert runtime.exec(neighbour.id, "echo", "well").stdout == "well\n"
    assert runtime.output(make().args("echo", "new")) == "new\n"


def test_a_fork_bomb_stays_in_its_container(runtime: Runtime, bundle: MakeBundle) -> None:
    neighbour, before = beside(runtime, bundle), tasks()
    made = limited(bundle, pids={"limit": MOST}, cpu={"quota": 30000, "period": 100000})
    runtime.started(made.shell(FORK_BOMB))
    group = runtime.cgroup(made)
    eventually(lambda: counts(group, "pids.events")["max"] > 0, "the bomb never went off")
    assert tasks() <= before + MOST + 8  # the kernel's own threads come and go
    still_serves(runtime, bundle, neighbour)
    assert number(group, "pids.peak") <= MOST
    accepts(runtime.delete(made.id, force=True))
    assert not group.exists()
    eventually(lambda: tasks() <= before + 8, "a part of the bomb is left")


def test_a_memory_bomb_stays_in_its_container(runtime: Runtime, bundle: MakeBundle) -> None:
    neighbour, before, free = beside(runtime, bundle), killed(), available()
    made = limited(bundle, memory=memory(64))
    name = runtime.started(made.args("tail", "/dev/zero"))
    group = runtime.cgroup(made)
    seen: list[int] = []

    def is_over() -> bool:
        seen.append(available())
        return not (group / "cgroup.procs").read_text()

    eventually(is_over, "the bomb goes on")
    runtime.wait_stopped(name)
    assert min(seen) > free - 96 * MIB
    assert counts(group, "memory.events")["oom_kill"] == 1
    assert killed() == before + 1
    assert number(group, "memory.peak") <= 64 * MIB
    still_serves(runtime, bundle, neighbour)
    assert counts(runtime.cgroup(neighbour), "memory.events")["oom_kill"] == 0


def test_a_bomb_of_many_that_take_much_is_ended_whole(runtime: Runtime, bundle: MakeBundle) -> None:
    neighbour, before = beside(runtime, bundle), killed()
    made = limited(bundle, memory=memory(24), pids={"limit": 16}, cpu={"quota": 50000, "period": 100000})
    hogs = "while :; do for i in 1 2 3 4; do tail /dev/zero & done 2> /dev/null; wait; done"
    runtime.started(made.shell(hogs))
    group = runtime.cgroup(made)
    eventually(lambda: counts(group, "memory.events")["oom_kill"] > 3, "nobody was killed")
    still_serves(runtime, bundle, neighbour)
    accepts(runtime.kill(made.id))
    runtime.wait_stopped(made.id)
    assert killed() - before == counts(group, "memory.events")["oom_kill"]
    assert (group / "cgroup.procs").read_text() == ""


def test_groups_can_be_forbidden_to_multiply(runtime: Runtime, bundle: MakeBundle) -> None:
    made = with_own_groups(limited(bundle, unified={"cgroup.max.descendants": "20", "cgroup.max.depth": "2"}))
    script = "cd /sys/fs/cgroup; for i in $(seq 100); do mkdir $i || break; done; mkdir -p 1/2/3"
    script += "; find . -type d | wc -l"
    assert int(runtime.output(made.shell(f"{{ {script}; }} 2> /dev/null"))) == 21
    eventually(lambda: not (cgroup2_root() / made.id).exists(), "groups are left")
