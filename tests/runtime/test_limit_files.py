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
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

MEGABYTE = 1 << 20


def row(controller: str, resources: dict[str, Any], name: str, *shown: str) -> Any:
    """Make one case: these resources show as one of `shown` in the file `name`."""
    case = f"{name}-{shown[0]}"
    return pytest.param(
        resources, name, set(shown), id=case, marks=pytest.mark.requires(f"controller:{controller}")
    )


CASES = [
    row("memory", {"memory": {"limit": 64 * MEGABYTE}}, "memory.max", str(64 * MEGABYTE)),
    row("memory", {"memory": {"limit": -1}}, "memory.max", "max"),
    row("memory", {"memory": {"reservation": 32 * MEGABYTE}}, "memory.low", str(32 * MEGABYTE)),
    row(
        "memory",
        {"memory": {"limit": 64 * MEGABYTE, "swap": 96 * MEGABYTE}},
        "memory.swap.max",
        str(32 * MEGABYTE),
    ),
    row("memory", {"memory": {"limit": 64 * MEGABYTE, "swap": -1}}, "memory.swap.max", "max"),
    row("cpu", {"cpu": {"shares": 2}}, "cpu.weight", "1"),
    row("cpu", {"cpu": {"shares": 262144}}, "cpu.weight", "10000"),
    row("cpu", {"cpu": {"shares": 1024}}, "cpu.weight", "100", "39"),
    row("cpu", {"cpu": {"quota": 50000, "period": 100000}}, "cpu.max", "50000 100000"),
    row("cpu", {"cpu": {"quota": 30000}}, "cpu.max", "30000 100000"),
    row("cpu", {"cpu": {"quota": -1, "period": 50000}}, "cpu.max", "max 50000"),
    row("cpu", {"cpu": {"quota": 50000, "period": 100000, "burst": 20000}}, "cpu.max.burst", "20000"),
    row("cpu", {"cpu": {"idle": 1}}, "cpu.idle", "1"),
    row("cpuset", {"cpu": {"cpus": "0"}}, "cpuset.cpus", "0"),
    row("cpuset", {"cpu": {"mems": "0"}}, "cpuset.mems", "0"),
    row("pids", {"pids": {"limit": 77}}, "pids.max", "77"),
    row("pids", {"pids": {"limit": -1}}, "pids.max", "max"),
    row(
        "hugetlb",
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MEGABYTE}]},
        "hugetlb.2MB.max",
        str(4 * MEGABYTE),
    ),
    row(
        "memory",
        {"memory": {"limit": 64 * MEGABYTE}, "unified": {"memory.max": "52428800"}},
        "memory.max",
        "52428800",
    ),
    row("memory", {"unified": {"memory.high": "41943040"}}, "memory.high", "41943040"),
]


@pytest.mark.parametrize(("resources", "name", "shown"), CASES)
def test_a_resource_shows_in_its_file(
    runtime: Runtime, bundle: MakeBundle, resources: dict[str, Any], name: str, shown: set[str]
) -> None:
    made = bundle()
    made.linux["resources"] |= resources
    runtime.sleeping(made)
    assert (runtime.cgroup(made) / name).read_text().strip() in shown


@pytest.mark.parametrize(("resources", "name", "shown"), CASES)
def test_an_updated_resource_shows_in_its_file(
    runtime: Runtime, bundle: MakeBundle, resources: dict[str, Any], name: str, shown: set[str]
) -> None:
    made = bundle()
    runtime.sleeping(made)
    done = runtime.call("update", "--resources", "-", made.id, text=json.dumps(resources))
    accepts(done)
    updated = not ("hugepageLimits" in resources and runtime.deviates("no-hugepage-update"))
    assert ((runtime.cgroup(made) / name).read_text().strip() in shown) == updated


@pytest.mark.requires("controller:io")
def test_the_weight_of_a_disk_shows(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["resources"]["blockIO"] = {"weight": 500}
    runtime.sleeping(made)
    files = [runtime.cgroup(made) / name for name in ("io.bfq.weight", "io.weight")]
    values = {path.read_text().split()[-1] for path in files if path.exists()}
    assert values & {"500", "4950"}


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


@pytest.mark.requires("controller:rdma")
def test_limits_of_an_rdma_device_that_is_not_there_are_an_error(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = bundle()
    made.linux["resources"]["rdma"] = {"no_such_device": {"hcaHandles": 3, "hcaObjects": 1000}}
    assert runtime.run(made).returncode == 1


@pytest.mark.requires("controller:memory")
def test_an_update_below_what_is_used_is_refused_on_request(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["resources"]["memory"] = {"limit": 64 * MEGABYTE}
    runtime.sleeping(made)
    text = json.dumps({"memory": {"limit": 4096, "checkBeforeUpdate": True}})
    assert runtime.call("update", "--resources", "-", made.id, text=text).returncode == 1
    assert (runtime.cgroup(made) / "memory.max").read_text().strip() == str(64 * MEGABYTE)


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


@pytest.mark.requires("controller:memory", "controller:pids")
def test_an_update_changes_only_what_it_names(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["resources"] |= {"memory": {"limit": 64 * MEGABYTE}, "pids": {"limit": 22}}
    runtime.sleeping(made)
    accepts(runtime.call("update", "--resources", "-", made.id, text=json.dumps({"pids": {"limit": 44}})))
    shown = [(runtime.cgroup(made) / name).read_text().strip() for name in ("memory.max", "pids.max")]
    assert shown == [str(64 * MEGABYTE), "44"]
