"""CPU: the quota, the weights, and the pressure that both make. No test here asks how long something takes.

Implements: runtime-spec config-linux.md "CPU"; <Documentation/accounting/psi.rst>,
<Documentation/admin-guide/cgroup-v2.rst> "CPU Interface Files".
"""

from __future__ import annotations

import json
import os
import select
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.limits.groups import SPIN, counts, limited, stalled
from tests.runtime.checks import accepts
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = [
    pytest.mark.vm,
    pytest.mark.requires("root", "unified", "controller:cpu", "controller:cpuset"),
]


def used(group: Path) -> int:
    """Give the microseconds of CPU time that a group has used."""
    return counts(group, "cpu.stat")["usage_usec"]


def test_who_weighs_four_times_as_much_gets_about_four_times_as_much(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    light = limited(bundle, cpu={"cpus": "0"}, unified={"cpu.weight": "50"})
    heavy = limited(bundle, cpu={"cpus": "0"}, unified={"cpu.weight": "200"})
    groups = [runtime.cgroup(made) for made in (light, heavy) if runtime.started(made.shell(SPIN))]
    before = [used(group) for group in groups]
    eventually(lambda: used(groups[1]) - before[1] > 1_200_000, "the heavy one does not run")
    gained = [used(group) - start for group, start in zip(groups, before, strict=True)]
    assert 2 < gained[1] / gained[0] < 8


def test_a_quota_can_be_lifted_and_given_back(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, cpu={"quota": 2000, "period": 50000})
    name = runtime.started(made.shell(SPIN))
    group = runtime.cgroup(made)
    eventually(lambda: counts(group, "cpu.stat")["nr_throttled"] > 2, "never throttled")
    no_quota = json.dumps({"cpu": {"quota": -1, "period": 50000}})
    accepts(runtime.call("update", "--resources", "-", name, text=no_quota))
    free = counts(group, "cpu.stat")
    eventually(lambda: used(group) > free["usage_usec"] + 300_000, "still held back")
    # One period may have been under way.
    assert counts(group, "cpu.stat")["nr_throttled"] <= free["nr_throttled"] + 1
    accepts(runtime.call("update", "--cpu-quota", "2000", "--cpu-period", "50000", name))
    again = counts(group, "cpu.stat")["nr_throttled"]
    eventually(lambda: counts(group, "cpu.stat")["nr_throttled"] > again + 2, "not held back again")


def test_pressure_wakes_who_watches_a_limited_group(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, cpu={"quota": 2000, "period": 50000})
    runtime.started(made.shell(SPIN))
    group = runtime.cgroup(made)
    trigger = os.open(group / "cpu.pressure", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(trigger, b"some 100000 1000000")
        watch = select.poll()
        watch.register(trigger, select.POLLPRI)
        assert [event for _, event in watch.poll(30_000)] == [select.POLLPRI]
    finally:
        os.close(trigger)
    assert stalled(group, "cpu") > 100_000


def test_a_frozen_spinner_uses_nothing(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    name = runtime.started(made.shell(SPIN))
    group = runtime.cgroup(made)
    eventually(lambda: used(group) > 50_000, "it does not run")
    accepts(runtime.call("pause", name))
    paused = used(group)
    assert "frozen 1" in (group / "cgroup.events").read_text()
    assert runtime.status(name) == "paused"  # this takes longer than any spinner's slice
    assert used(group) == paused
    accepts(runtime.call("resume", name))
    eventually(lambda: used(group) > paused + 50_000, "it does not go on")


@pytest.mark.vm("systemd")
@pytest.mark.requires("cpus:2")
def test_a_running_program_moves_to_the_cpus_of_an_update(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, cpu={"cpus": "1"})
    name = runtime.started(made.shell(SPIN))
    assert last_cpu(runtime.pid(name)) == 1
    accepts(runtime.call("update", "--cpuset-cpus", "0", name))
    eventually(lambda: last_cpu(runtime.pid(name)) == 0, "it stays where it was")
    done = runtime.exec(name, "sh", "-c", "grep Cpus_allowed_list /proc/self/status; nproc")
    assert done.stdout.split() == ["Cpus_allowed_list:", "0", "1"]
    assert (runtime.cgroup(made) / "cpuset.cpus.effective").read_text() == "0\n"


@pytest.mark.vm("systemd")
@pytest.mark.requires("cpus:2")
def test_programs_spread_over_the_cpus_of_their_set(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, cpu={"cpus": "0"})
    name = runtime.started(made.shell(f"({SPIN}) & {SPIN}"))
    group = runtime.cgroup(made)

    def cpus() -> set[int]:
        return {last_cpu(int(pid)) for pid in (group / "cgroup.procs").read_text().split()}

    eventually(lambda: used(group) > 200_000, "it does not run")
    assert cpus() == {0}
    accepts(runtime.call("update", "--cpuset-cpus", "0-1", name))
    eventually(lambda: cpus() == {0, 1}, "they stay where they were")


def last_cpu(pid: int) -> int:
    """Give the CPU that a process ran on last: field 39 of proc_pid_stat(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[36])
