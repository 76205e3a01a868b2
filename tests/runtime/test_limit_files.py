"""Each resource becomes the right number in the right file of cgroup v2, at create and at update.

These need controllers that a hybrid host cannot give; there they are skipped by name, and run in the virtual
machine. Implements: runtime-spec, config-linux.md "Control groups", and the v1 to v2 conversion that runc and
crun share.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.checks import accepts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

MEGABYTE = 1 << 20


Case = tuple[dict[str, Any], str, str]

# controller -> what is asked for, and what then stands in which file
CASES: dict[str, list[Case]] = {
    "memory": [
        ({"memory": {"limit": 64 * MEGABYTE}}, "memory.max", "67108864"),
        ({"memory": {"limit": -1}}, "memory.max", "max"),
        ({"memory": {"reservation": 32 * MEGABYTE}}, "memory.low", "33554432"),
        ({"memory": {"limit": 64 * MEGABYTE, "swap": 96 * MEGABYTE}}, "memory.swap.max", "33554432"),
        ({"memory": {"limit": 64 * MEGABYTE, "swap": -1}}, "memory.swap.max", "max"),
        (
            {"memory": {"limit": 64 * MEGABYTE}, "unified": {"memory.max": "52428800"}},
            *("memory.max", "52428800"),
        ),
        ({"unified": {"memory.high": "41943040"}}, "memory.high", "41943040"),
    ],
    "cpu": [
        ({"cpu": {"shares": 2}}, "cpu.weight", "1"),
        ({"cpu": {"shares": 262144}}, "cpu.weight", "10000"),
        ({"cpu": {"shares": 1024}}, "cpu.weight", "100"),
        ({"cpu": {"quota": 50000, "period": 100000}}, "cpu.max", "50000 100000"),
        ({"cpu": {"quota": 30000}}, "cpu.max", "30000 100000"),
        ({"cpu": {"quota": -1, "period": 50000}}, "cpu.max", "max 50000"),
        ({"cpu": {"quota": 50000, "period": 100000, "burst": 20000}}, "cpu.max.burst", "20000"),
        ({"cpu": {"idle": 1}}, "cpu.idle", "1"),
    ],
    "cpuset": [
        ({"cpu": {"cpus": "0"}}, "cpuset.cpus", "0"),
        ({"cpu": {"mems": "0"}}, "cpuset.mems", "0"),
    ],
    "pids": [
        ({"pids": {"limit": 77}}, "pids.max", "77"),
        ({"pids": {"limit": -1}}, "pids.max", "max"),
    ],
    "hugetlb": [
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MEGABYTE}]}, "hugetlb.2MB.max", "4194304"),
    ],
}
FORMER_WEIGHTS = {"100": "39"}
"""What the same shares were before runc 1.3 and crun 1.23 took the new curve."""


def on_controllers(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test once for each controller, where the machine has it: a hybrid host has hugetlb."""
    rows = []
    for name, cases in CASES.items():
        needs = pytest.mark.requires(f"controller:{name}")
        marks = [needs] if name == "hugetlb" else [needs, pytest.mark.vm]
        rows.append(pytest.param(cases, id=name, marks=marks))
    return pytest.mark.parametrize("cases", rows)(test)


def wrong(group: Path, case: Case) -> str:
    """Say what stands in a group's file instead of what was asked for; nothing if it is right."""
    resources, name, expected = case
    found = (group / name).read_text().strip()
    right = {expected, FORMER_WEIGHTS.get(expected, expected)} if name == "cpu.weight" else {expected}
    return "" if found in right else f"{resources}: {name} is {found}"


@on_controllers
def test_resources_show_in_their_files(runtime: Runtime, bundle: MakeBundle, cases: list[Case]) -> None:
    made = bundle()
    usual, complaints = dict(made.linux["resources"]), []
    for case in cases:
        made.linux["resources"] = usual | case[0]
        accepts(runtime.create(made))
        complaints.append(wrong(runtime.cgroup(made), case))
        accepts(runtime.delete(made.id, force=True))
    assert not any(complaints), complaints


@on_controllers
def test_updated_resources_show_in_their_files(
    runtime: Runtime, bundle: MakeBundle, cases: list[Case]
) -> None:
    made = bundle()
    runtime.sleeping(made)
    complaints = []
    for case in cases:
        accepts(runtime.call("update", "--resources", "-", made.id, text=json.dumps(case[0])))
        if not ("hugepageLimits" in case[0] and runtime.deviates("no-hugepage-update")):
            complaints.append(wrong(runtime.cgroup(made), case))
    assert not any(complaints), complaints


@pytest.mark.vm
@pytest.mark.requires("controller:io")
def test_the_weight_of_a_disk_shows(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["resources"]["blockIO"] = {"weight": 500}
    runtime.sleeping(made)
    files = [runtime.cgroup(made) / name for name in ("io.bfq.weight", "io.weight")]
    values = {path.read_text().split()[-1] for path in files if path.exists()}
    assert values & {"500", "4950"}


@pytest.mark.vm
@pytest.mark.requires("controller:io")
def test_the_rates_of_a_disk_show(runtime: Runtime, bundle: MakeBundle) -> None:
    rows = [line.split() for line in Path("/proc/partitions").read_text().splitlines()[2:]]
    major, minor = (
        int(word) for word in next(row for row in rows if row[3] in {"vda", "sda", "nvme0n1"})[:2]
    )
    rate = {"major": major, "minor": minor, "rate": MEGABYTE}
    made = bundle()
    made.linux["resources"]["blockIO"] = {"throttleReadBpsDevice": [rate], "throttleWriteIOPSDevice": [rate]}
    runtime.sleeping(made)
    words = (runtime.cgroup(made) / "io.max").read_text().split()
    assert {f"{major}:{minor}", f"rbps={MEGABYTE}", f"wiops={MEGABYTE}"} <= set(words)


@pytest.mark.vm
@pytest.mark.requires("controller:rdma")
def test_limits_of_an_rdma_device_that_is_not_there_are_an_error(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = bundle()
    made.linux["resources"]["rdma"] = {"no_such_device": {"hcaHandles": 3, "hcaObjects": 1000}}
    assert runtime.run(made).returncode == runtime.recorded_exit("ignored-rdma", 1)


@pytest.mark.vm
@pytest.mark.requires("controller:memory")
def test_an_update_below_what_is_used_is_refused_on_request(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["resources"]["memory"] = {"limit": 64 * MEGABYTE}
    runtime.sleeping(made)
    text = json.dumps({"memory": {"limit": 4096, "checkBeforeUpdate": True}})
    assert runtime.call("update", "--resources", "-", made.id, text=text).returncode == 1
    assert (runtime.cgroup(made) / "memory.max").read_text().strip() == str(64 * MEGABYTE)


@pytest.mark.vm
@pytest.mark.requires("controller:memory", "controller:cpu", "controller:pids")
def test_update_takes_limits_as_flags(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    runtime.sleeping(made)
    flags = [
        "--memory",
        str(80 * MEGABYTE),
        "--pids-limit",
        "33",
        "--cpu-quota",
        "20000",
        "--cpu-period",
        "100000",
    ]
    accepts(runtime.call("update", *flags, made.id))
    shown = [
        (runtime.cgroup(made) / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")
    ]
    assert shown == [str(80 * MEGABYTE), "33", "20000 100000"]


@pytest.mark.vm
@pytest.mark.requires("controller:memory", "controller:pids")
def test_an_update_changes_only_what_it_names(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["resources"] |= {"memory": {"limit": 64 * MEGABYTE}, "pids": {"limit": 22}}
    runtime.sleeping(made)
    accepts(runtime.call("update", "--resources", "-", made.id, text=json.dumps({"pids": {"limit": 44}})))
    shown = [(runtime.cgroup(made) / name).read_text().strip() for name in ("memory.max", "pids.max")]
    assert shown == [str(64 * MEGABYTE), "44"]
