"""Limits that bite: what resources do to a real container, and what is said where they cannot be had.

Most of these need controllers in cgroup v2, which a hybrid host does not have: there they are listed by name
in the test summary, and count when a machine with all controllers runs them strictly.

Implements: runtime-spec config-linux.md "Control groups"; security.md R20, R23, R24, R35.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.needs import met
from tests.runtime.checks import accepts, nothing_left, refuses
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

MIB = 1 << 20
NO_LIMIT = "9223372036854771712"  # as hugetlb files write it, in whole pages
DENY = {"allow": False, "access": "rwm"}
needs_memory = pytest.mark.requires("controller:memory")
needs_pids = pytest.mark.requires("controller:pids")
needs_cpu = pytest.mark.requires("controller:cpu")
needs_cpuset = pytest.mark.requires("controller:cpuset")
needs_io = pytest.mark.requires("controller:io")
needs_hugetlb = pytest.mark.requires("controller:hugetlb")


def limited(make: MakeBundle, **resources: Any) -> Bundle:
    """Give a bundle with these resources, beside the usual device rule."""
    made = make()
    made.linux["resources"].update(resources)
    return made


def value(runtime: Runtime, made: Bundle, name: str) -> str:
    """Read a file of the container's cgroup."""
    return (runtime.cgroup(made) / name).read_text().strip()


def count(runtime: Runtime, made: Bundle, name: str, key: str) -> int:
    """Read one line of a file of counters."""
    return int(dict(line.split() for line in value(runtime, made, name).splitlines())[key])


# --- without any controller ---------------------------------------------------------------------------------


def test_a_limit_whose_controller_is_missing_is_refused_by_name(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, unified={"nonsense.max": "1"}).args("true")
    done = runtime.create(made)
    refuses(runtime, done, "nonsense", "not available")
    if runtime.kind == "ours":
        assert "controller nonsense is not available" in done.stderr
    assert "no such file" not in done.stderr.lower() or runtime.kind != "ours"
    nothing_left(runtime, made.id)


@pytest.mark.parametrize("name", ["../cgroup.procs", "/etc/passwd", "nonsense"])
def test_a_unified_name_cannot_leave_the_group(runtime: Runtime, bundle: MakeBundle, name: str) -> None:
    made = limited(bundle, unified={name: "1"}).args("true")
    refuses(runtime, runtime.create(made), name)
    nothing_left(runtime, made.id)


def test_a_unified_value_reaches_the_group(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, unified={"cgroup.max.depth": "3", "cgroup.max.descendants": "7"})
    runtime.sleeping(made)
    assert (value(runtime, made, "cgroup.max.depth"), value(runtime, made, "cgroup.max.descendants")) == (
        "3",
        "7",
    )


def test_a_value_that_the_kernel_refuses_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, unified={"cgroup.max.depth": "nonsense"}).args("true")
    refuses(runtime, runtime.create(made), "cgroup.max.depth")
    nothing_left(runtime, made.id)


def test_default_values_ask_for_nothing(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, cpu={"shares": 1024}, memory={}, pids={"limit": 0}, blockIO={}).args("true")
    if runtime.deviates("default-shares") and not met("controller:cpu"):
        refuses(runtime, runtime.create(made), deviation="default-shares")
    else:
        accepts(runtime.run(made))


def test_a_cgroups_path_with_dots_makes_nothing_outside(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("true")
    made.linux["cgroupsPath"] = f"/../{made.id}"
    done = runtime.create(made)
    refuses(runtime, done, "cgroupsPath", deviation="cgroups-path-dots")
    assert not Path("/sys/fs", made.id).exists()
    runtime.delete(made.id, force=True)
    made.linux["cgroupsPath"] = f"/{made.id}"


def test_a_group_that_is_in_use_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    first, second = bundle(), bundle().args("true")
    runtime.sleeping(first)
    second.linux["cgroupsPath"] = first.linux["cgroupsPath"]
    done = runtime.create(second)
    refuses(runtime, done, "container's cgroup is not empty", deviation="shared-cgroup")
    runtime.delete(second.id, force=True)
    expected = "stopped" if runtime.deviates("shared-cgroup") else "running"
    eventually(lambda: runtime.status(first.id) == expected, f"the first container is not {expected}")


@pytest.mark.vm
def test_a_container_cannot_leave_its_group(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("SYS_ADMIN")
    made.namespace("cgroup")
    name = runtime.sleeping(made)
    for attack in (
        "echo 1 > /sys/fs/cgroup/cgroup.procs",
        "echo 1 > /sys/fs/cgroup/../cgroup.procs",
        "mkdir /sys/fs/cgroup/new",
        "echo x > /sys/fs/cgroup/release_agent",
    ):
        assert runtime.exec(name, "sh", "-c", attack).returncode != 0, attack
    assert runtime.exec(name, "cat", "/proc/1/cgroup").stdout.endswith("0::/\n")
    assert value(runtime, made, "cgroup.procs").split()[0] == str(runtime.pid(name))


def test_devices_of_the_host_do_not_open_even_after_an_update(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("MKNOD")
    name = runtime.sleeping(made)
    accepts(runtime.exec(name, "mknod", "/dev/kmsg", "c", "1", "11"))
    for update in (None, {"devices": [DENY]}, {"devices": [DENY, DENY]}):
        if update is not None:
            accepts(runtime.call("update", "--resources", "-", name, text=json.dumps(update)))
        done = runtime.exec(name, "head", "-c", "1", "/dev/kmsg")
        assert done.returncode != 0
        assert "Operation not permitted" in done.stderr
        accepts(runtime.exec(name, "sh", "-c", "head -c 1 /dev/urandom > /dev/null && : < /dev/zero"))


# --- with controllers ---------------------------------------------------------------------------------------


@pytest.mark.vm
@needs_memory
def test_memory_limits_are_those_of_the_kernel(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, memory={"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB})
    runtime.sleeping(made)
    assert value(runtime, made, "memory.max") == str(64 * MIB)
    assert value(runtime, made, "memory.swap.max") == str(32 * MIB)
    assert value(runtime, made, "memory.low") == str(32 * MIB)


@pytest.mark.vm
@needs_memory
def test_who_takes_too_much_memory_is_killed_and_no_other(runtime: Runtime, bundle: MakeBundle) -> None:
    neighbour = bundle()
    runtime.sleeping(neighbour)
    made = limited(bundle, memory={"limit": 32 * MIB, "swap": 32 * MIB})
    name = runtime.started(made.args("dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"))
    runtime.wait_stopped(name)
    assert count(runtime, made, "memory.events", "oom_kill") >= 1
    assert runtime.status(neighbour.id) == "running"


@pytest.mark.vm
@needs_memory
def test_run_tells_that_the_program_was_killed(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, memory={"limit": 32 * MIB, "swap": 32 * MIB})
    assert (
        runtime.run(made.args("dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1")).returncode == 137
    )


@pytest.mark.vm
@needs_memory
def test_events_tell_of_a_kill_for_want_of_memory(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, memory={"limit": 32 * MIB, "swap": 32 * MIB})
    name = runtime.sleeping(made)
    if runtime.deviates("events"):
        refuses(runtime, runtime.call("events", name))
        return
    out = runtime.root.parent / "events"
    with out.open("w") as file:
        runtime.spawn("events", "--interval", "100ms", name, stdout=file)
        eventually(lambda: '"stats"' in out.read_text(), "no statistics")
        runtime.exec(name, "dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1")
        eventually(lambda: '"oom"' in out.read_text(), "no oom event")
        runtime.kill(name)
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert {"type": "oom", "id": name} in told
    stats = next(event["data"] for event in told if event["type"] == "stats")
    assert stats["memory"]["usage"]["limit"] == 32 * MIB
    assert stats["memory"]["usage"]["usage"] > 0


@pytest.mark.vm
@needs_memory
@needs_pids
@needs_cpu
def test_an_update_changes_a_running_container(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(
        bundle, memory={"limit": 64 * MIB}, pids={"limit": 20}, cpu={"quota": 50000, "period": 100000}
    )
    name = runtime.sleeping(made)
    update = {"memory": {"limit": 128 * MIB}, "pids": {"limit": 30}, "cpu": {"quota": 70000, "shares": 2048}}
    accepts(runtime.call("update", "--resources", "-", name, text=json.dumps(update)))
    assert value(runtime, made, "memory.max") == str(128 * MIB)
    assert value(runtime, made, "pids.max") == "30"
    assert value(runtime, made, "cpu.max") == "70000 100000"
    assert value(runtime, made, "cpu.weight") == "174"
    accepts(runtime.call("update", "--memory", str(96 * MIB), "--pids-limit", "-1", name))
    assert value(runtime, made, "memory.max") == str(96 * MIB)
    assert value(runtime, made, "pids.max") == "max"


@pytest.mark.vm
@needs_pids
def test_an_update_limits_what_had_no_limit(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    accepts(runtime.call("update", "--pids-limit", "9", name))
    assert value(runtime, made, "pids.max") == "9"


@pytest.mark.vm
@needs_pids
def test_no_more_processes_than_allowed(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, pids={"limit": 8})
    name = runtime.sleeping(made)
    bomb = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 100 & done"
    runtime.exec(name, "sh", "-c", bomb)
    assert count(runtime, made, "pids.events", "max") >= 1
    assert int(value(runtime, made, "pids.current")) <= 8


@pytest.mark.vm
@needs_cpu
def test_a_quota_throttles(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, cpu={"quota": 5000, "period": 50000, "shares": 512})
    runtime.started(made.shell("while :; do :; done"))
    assert value(runtime, made, "cpu.max") == "5000 50000"
    assert value(runtime, made, "cpu.weight") == "59"
    eventually(lambda: count(runtime, made, "cpu.stat", "nr_throttled") > 3, "never throttled")


@pytest.mark.vm
@needs_cpu
def test_an_idle_group_has_the_least_weight(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, cpu={"idle": 1})
    runtime.sleeping(made)
    assert value(runtime, made, "cpu.idle") == "1"


@pytest.mark.vm
@needs_cpuset
def test_a_cpuset_is_where_the_program_runs(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, cpu={"cpus": "0", "mems": "0"})
    found = runtime.output(made.args("grep", "_allowed_list", "/proc/self/status"))
    assert found.split() == ["Cpus_allowed_list:", "0", "Mems_allowed_list:", "0"]


@pytest.mark.vm
@needs_cpuset
def test_a_cpu_that_is_not_there_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, cpu={"cpus": "8000-8001"}).args("true")
    refuses(runtime, runtime.create(made), "cpuset.cpus")
    nothing_left(runtime, made.id)


@pytest.mark.vm
@needs_io
def test_a_disk_is_throttled(runtime: Runtime, bundle: MakeBundle) -> None:
    disks = [path for path in Path("/sys/block").iterdir() if (path / "device").exists()]
    assert disks, "a machine with the io controller and without a disk"
    major, minor = map(int, (disks[0] / "dev").read_text().split(":"))
    rate = {"major": major, "minor": minor, "rate": MIB}
    made = limited(bundle, blockIO={"throttleReadBpsDevice": [rate], "throttleWriteIOPSDevice": [rate]})
    runtime.sleeping(made)
    assert value(runtime, made, "io.max") == f"{major}:{minor} rbps={MIB} wbps=max riops=max wiops={MIB}"


@needs_hugetlb
def test_huge_pages_are_limited_both_ways(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, hugepageLimits=[{"pageSize": "2MB", "limit": 4 * MIB}])
    runtime.sleeping(made)
    assert value(runtime, made, "hugetlb.2MB.max") == str(4 * MIB)
    reserved = NO_LIMIT if runtime.deviates("no-reserved-pages") else str(4 * MIB)
    assert value(runtime, made, "hugetlb.2MB.rsvd.max") == reserved


@needs_hugetlb
def test_a_unified_limit_comes_last(runtime: Runtime, bundle: MakeBundle) -> None:
    limits = [{"pageSize": "2MB", "limit": 4 * MIB}]
    made = limited(bundle, hugepageLimits=limits, unified={"hugetlb.2MB.max": str(8 * MIB)})
    runtime.sleeping(made)
    assert value(runtime, made, "hugetlb.2MB.max") == str(8 * MIB)
    reserved = NO_LIMIT if runtime.deviates("no-reserved-pages") else str(4 * MIB)
    assert value(runtime, made, "hugetlb.2MB.rsvd.max") == reserved
