"""From `linux.resources` to cgroup v2 files: the tables of runc 1.3, which crun 1.28 shares.

Implements: runtime-spec config-linux.md "Control groups"; opencontainers/cgroups utils_test.go, fs2/.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.errors import SpecError, Unsupported
from minicontainer.runtime.resources import (
    control_writes,
    controllers_needed,
    is_default,
    is_optional,
    swap_alone,
    weight_of_shares,
)

MIB = 1 << 20
ONE = "1048576"
DISK = {"major": 8, "minor": 0}


@pytest.mark.parametrize(
    ("shares", "weight"),
    [
        (0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (10, 4), (100, 17), (512, 59), (1024, 100), (1025, 101),
        (2048, 174), (10000, 627), (100000, 4340), (262143, 10000), (262144, 10000), (262145, 10000),
    ],
)  # fmt: skip
def test_shares_become_a_weight(shares: int, weight: int) -> None:
    assert weight_of_shares(shares) == weight


@given(st.integers(1, 300000))
def test_more_shares_never_weigh_less(shares: int) -> None:
    assert 1 <= weight_of_shares(shares) <= weight_of_shares(shares + 1) <= 10000


@pytest.mark.parametrize(
    ("swap", "memory", "alone"),
    [
        (0, 0, 0), (0, MIB, 0), (-1, 0, -1), (-1, MIB, -1), (0, -1, -1), (-1, -1, -1), (MIB, -1, MIB),
        (MIB, MIB, 0), (3 * MIB, MIB, 2 * MIB),
    ],
)  # fmt: skip
def test_swap_is_what_memory_leaves_of_the_sum(swap: int, memory: int, alone: int) -> None:
    assert swap_alone(swap, memory) == alone


@pytest.mark.parametrize(
    ("memory", "complaint"),
    [
        ({"swap": MIB}, "unable to set swap limit without memory limit"),
        ({"swap": MIB, "limit": 2 * MIB}, "memory+swap limit should be >= memory limit"),
    ],
)
def test_swap_limits_that_make_no_sense_are_refused(memory: dict[str, int], complaint: str) -> None:
    with pytest.raises(SpecError, match=r"linux\.resources\.memory\.swap") as caught:
        control_writes({"memory": memory})
    assert caught.value.problem == complaint


CASES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("memory", {"memory": {"limit": 64 * MIB}}, [("memory.max", "67108864")]),
    ("no-swap", {"memory": {"limit": MIB, "swap": MIB}}, [("memory.swap.max", "0"), ("memory.max", ONE)]),
    (
        "memory-and-swap",
        {"memory": {"limit": MIB, "swap": 3 * MIB, "reservation": 4096, "checkBeforeUpdate": True}},
        [("memory.swap.max", "2097152"), ("memory.max", "1048576"), ("memory.low", "4096")],
    ),
    ("free", {"memory": {"limit": -1}}, [("memory.swap.max", "max"), ("memory.max", "max")]),
    ("swap-free", {"memory": {"limit": MIB, "swap": -1}}, [("memory.swap.max", "max"), ("memory.max", ONE)]),
    ("reserve-all", {"memory": {"reservation": -1}}, [("memory.low", "max")]),
    ("shares", {"cpu": {"shares": 2048}}, [("cpu.weight", "174")]),
    ("quota", {"cpu": {"quota": 50000}}, [("cpu.max", "50000 100000")]),
    ("quota-period", {"cpu": {"quota": 50000, "period": 20000}}, [("cpu.max", "50000 20000")]),
    ("period", {"cpu": {"period": 20000}}, [("cpu.max", "max 20000")]),
    ("no-quota", {"cpu": {"quota": -1}}, [("cpu.max", "max 100000")]),
    ("burst", {"cpu": {"quota": 5000, "burst": 900}}, [("cpu.max.burst", "900"), ("cpu.max", "5000 100000")]),
    ("idle", {"cpu": {"idle": 1, "shares": 1024}}, [("cpu.idle", "1")]),
    ("not-idle", {"cpu": {"idle": 0, "shares": 1024}}, [("cpu.idle", "0"), ("cpu.weight", "100")]),
    ("cpuset", {"cpu": {"cpus": "0-1", "mems": "0"}}, [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]),
    ("no-cpuset", {"cpu": {"cpus": "", "mems": ""}}, []),
    ("pids", {"pids": {"limit": 2048}}, [("pids.max", "2048")]),
    ("pids-free", {"pids": {"limit": -1}}, [("pids.max", "max")]),
    ("pids-unsaid", {"pids": {"limit": 0}}, []),
    ("io-least", {"blockIO": {"weight": 10}}, [("io.weight", "1")]),
    ("io-weight", {"blockIO": {"weight": 500}}, [("io.weight", "4950")]),
    ("io-most", {"blockIO": {"weight": 1000}}, [("io.weight", "10000")]),
    ("io-device", {"blockIO": {"weightDevice": [{**DISK, "weight": 100}]}}, [("io.weight", "8:0 910")]),
    (
        "io-rates",
        {
            "blockIO": {
                "throttleReadBpsDevice": [{**DISK, "rate": 1000}],
                "throttleWriteBpsDevice": [{**DISK, "rate": 2000}],
                "throttleReadIOPSDevice": [{**DISK, "rate": 30}],
                "throttleWriteIOPSDevice": [{**DISK, "rate": 0}],
            }
        },
        [
            ("io.max", "8:0 rbps=1000"), ("io.max", "8:0 wbps=2000"),
            ("io.max", "8:0 riops=30"), ("io.max", "8:0 wiops=max"),
        ],
    ),
    (
        "hugetlb",
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 2**64 - 1}]},
        [("hugetlb.2MB.max", str(2**64 - 1)), ("hugetlb.2MB.rsvd.max", str(2**64 - 1))],
    ),
    (
        "rdma",
        {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 0}, "rxe3": {}}},
        [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"), ("rdma.max", "mlx4_0 hca_object=0")],
    ),
    (
        "unified-last",
        {"unified": {"pids.max": "9", "io.max": "8:0 rbps=1\n8:16 rbps=2\n"}, "pids": {"limit": 8}},
        [("pids.max", "8"), ("pids.max", "9"), ("io.max", "8:0 rbps=1"), ("io.max", "8:16 rbps=2")],
    ),
    ("ignored", {"memory": {"kernel": 1, "kernelTCP": 2, "useHierarchy": True}}, []),
    ("unasked", {"memory": {"disableOOMKiller": False}}, []),
    ("nulls", {"cpu": None, "memory": {"limit": None, "swappiness": None}, "network": {"classID": 0}}, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("resources", "writes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_resources_become_writes(resources: dict[str, Any], writes: list[tuple[str, str]]) -> None:
    assert control_writes(resources) == writes


def test_the_bfq_scheduler_keeps_the_old_weights() -> None:
    io = {"weight": 500, "weightDevice": [{**DISK, "weight": 100}]}
    assert control_writes({"blockIO": io}, bfq=True) == [
        ("io.bfq.weight", "500"),
        ("io.bfq.weight", "8:0 100"),
    ]


@pytest.mark.parametrize("weight", [1, 9, 1001])
def test_an_io_weight_out_of_range_is_refused(weight: int) -> None:
    with pytest.raises(SpecError, match=r"linux\.resources\.blockIO\.weight"):
        control_writes({"blockIO": {"weight": weight}})


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("memory", "swappiness", 0),
        ("memory", "disableOOMKiller", True),
        ("cpu", "realtimeRuntime", 950000),
        ("cpu", "realtimePeriod", 1000000),
        ("blockIO", "leafWeight", 10),
        ("blockIO", "weightDevice", [{**DISK, "leafWeight": 10}]),
        ("network", "classID", 1048577),
        ("network", "priorities", [{"name": "eth0", "priority": 5}]),
    ],
)
def test_what_only_v1_can_do_is_refused_by_name(part: str, field: str, value: object) -> None:
    with pytest.raises(Unsupported, match=rf"linux\.resources\.{part}\.{field}.*cgroup v2 has no such limit"):
        control_writes({part: {field: value}})


@pytest.mark.parametrize("name", ["../memory.max", "a/memory.max", "memory", ".", "..", ""])
def test_a_unified_name_is_a_file_of_the_group_itself(name: str) -> None:
    with pytest.raises(SpecError, match=r"linux\.resources\.unified"):
        control_writes({"unified": {name: "1"}})


@pytest.mark.parametrize(
    "resources",
    [
        {"cpu": {"shares": 1024}},
        {"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": ""}},
        {"cpu": {"quota": -1, "period": 100000}},
        {"cpu": {"idle": 0, "burst": 0}},
        {"memory": {}},
        {"memory": {"limit": -1, "swap": -1}},
        {"memory": {"limit": 0, "swap": 0, "disableOOMKiller": False}},
        {"pids": {"limit": -1}},
        {"blockIO": {}},
        {"blockIO": {"throttleReadBpsDevice": [{**DISK, "rate": 0}]}},
        {"hugepageLimits": [], "rdma": {}, "unified": {}, "network": {}},
        {"devices": [{"allow": False, "access": "rwm"}]},
        {"unified": {"cgroup.max.depth": "3", "cpu.pressure": "0"}},
    ],
)
def test_default_values_ask_for_no_controller(resources: dict[str, Any]) -> None:
    assert controllers_needed(resources) == set()


def test_limits_name_their_controllers() -> None:
    resources = {
        "memory": {"limit": MIB, "swap": MIB},
        "cpu": {"shares": 1024, "cpus": "0"},
        "pids": {"limit": 5},
        "blockIO": {"weight": 100},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
        "rdma": {"mlx": {"hcaHandles": 1}},
        "unified": {"misc.max": "sev 1", "memory.high": "max"},
    }
    assert controllers_needed(resources) == {"memory", "cpuset", "pids", "io", "hugetlb", "rdma", "misc"}


def test_only_what_changes_nothing_may_be_left_out() -> None:
    assert is_default("cpu.max", "max 20000")
    assert is_optional("memory.swap.max", "0")
    assert is_optional("hugetlb.2MB.rsvd.max", "7")
    assert not is_optional("memory.max", "0")
    assert not is_optional("hugetlb.2MB.max", "7")
