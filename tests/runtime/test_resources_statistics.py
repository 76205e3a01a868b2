"""Statistics in runc's form, from files as a kernel with all controllers shows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from minicontainer.runtime import cgroup_paths, statistics
from minicontainer.runtime.statistics import UNLIMITED, Watch

MIB = 1 << 20
PRESSURE = (
    "some avg10=0.00 avg60=1.50 avg300=0.25 total=3949\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
)
FILES = {
    "cpu.stat": "usage_usec 11\nuser_usec 4\nsystem_usec 7\nnr_periods 3\nnr_throttled 2\nthrottled_usec 9\n",
    "cpu.pressure": PRESSURE,
    "memory.stat": "anon 10\nfile 20\n",
    "memory.current": "1000\n",
    "memory.max": f"{MIB}\n",
    "memory.peak": "2000\n",
    "memory.swap.current": "50\n",
    "memory.swap.max": f"{MIB}\n",
    "memory.swap.peak": "60\n",
    "pids.current": "4\n",
    "pids.max": "max\n",
    "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=0 dbytes=9\n259:7 rbytes=5\n",
    "hugetlb.2MB.rsvd.current": "4194304\n",
    "hugetlb.2MB.events": "max 6\n",
    "hugetlb.1GB.current": "0\n",
    "hugetlb.1GB.events": "max 0\n",
    "cgroup.procs": "1\n2\n",
    "cgroup.events": "populated 1\nfrozen 0\n",
}


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a group with every controller."""
    monkeypatch.setattr(cgroup_paths, "_root", [str(tmp_path)])
    monkeypatch.setattr(statistics, "page_sizes", lambda: ["1GB", "2MB"])
    (tmp_path / "c").mkdir()
    for name, text in FILES.items():
        (tmp_path / "c" / name).write_text(text)
    return tmp_path / "c"


def test_everything_is_counted_as_runc_does(group: Path) -> None:
    assert statistics.statistics(f"/{group.name}") == {
        "cpu": {
            "usage": {"total": 11000, "kernel": 7000, "user": 4000},
            "throttling": {"periods": 3, "throttledPeriods": 2, "throttledTime": 9000},
            "psi": {
                "some": {"avg10": 0, "avg60": 1.5, "avg300": 0.25, "total": 3949},
                "full": {"avg10": 0, "avg60": 0, "avg300": 0, "total": 7},
            },
        },
        "cpuset": dict.fromkeys(statistics.CPUSET, 0),
        "memory": {
            "cache": 20,
            "usage": {"limit": MIB, "usage": 1000, "max": 2000, "failcnt": 0},
            "swap": {"limit": 2 * MIB, "usage": 1050, "failcnt": 0},
            "kernel": {"limit": 0, "failcnt": 0},
            "kernelTCP": {"limit": 0, "failcnt": 0},
            "raw": {"anon": 10, "file": 20},
        },
        "pids": {"current": 4},
        "blkio": {
            "ioServiceBytesRecursive": [
                {"major": 8, "op": "Read", "value": 1},
                {"major": 8, "op": "Write", "value": 2},
                {"major": 259, "minor": 7, "op": "Read", "value": 5},
            ],
            "ioServicedRecursive": [{"major": 8, "op": "Read", "value": 3}, {"major": 8, "op": "Write"}],
        },
        "hugetlb": {"1GB": {"failcnt": 0}, "2MB": {"usage": 4194304, "failcnt": 6}},
        "intel_rdt": {},
        "network_interfaces": None,
    }


@pytest.mark.parametrize(
    ("changed", "part", "expected"),
    [
        ({"memory.max": "max"}, "usage", {"limit": UNLIMITED, "usage": 1000, "max": 2000, "failcnt": 0}),
        ({"memory.swap.max": "max"}, "swap", {"limit": UNLIMITED, "usage": 1050, "failcnt": 0}),
        ({"memory.swap.current": None, "memory.swap.max": None}, "swap",
         {"limit": MIB, "usage": 1000, "failcnt": 0}),
    ],
)  # fmt: skip
def test_memory_without_a_limit_or_without_swap(
    group: Path, changed: dict[str, str | None], part: str, expected: dict[str, Any]
) -> None:
    for name, text in changed.items():
        if text is None:
            (group / name).unlink()
        else:
            (group / name).write_text(text)
    assert statistics.statistics("/c")["memory"][part] == expected


@pytest.mark.parametrize(
    ("current", "limit", "expected"), [("7", "9", {"current": 7, "limit": 9}), (None, None, {"current": 2})]
)
def test_processes_are_counted_with_and_without_the_controller(
    group: Path, current: str | None, limit: str | None, expected: dict[str, int]
) -> None:
    for name, text in (("pids.current", current), ("pids.max", limit)):
        if text is None:
            (group / name).unlink()
        else:
            (group / name).write_text(text)
    assert statistics.statistics("/c")["pids"] == expected


def test_the_sizes_of_huge_pages_are_named_as_the_kernel_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hugepages-2048kB", "hugepages-1048576kB", "hugepages-64kB"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(statistics, "HUGE_PAGES", tmp_path)
    assert sorted(statistics.page_sizes()) == ["1GB", "2MB", "64KB"]
    monkeypatch.setattr(statistics, "HUGE_PAGES", tmp_path / "none")
    assert statistics.page_sizes() == []


def test_a_kill_for_want_of_memory_is_told_once(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Poll:
        """A poll(2) that a plain file can be given to."""

        def register(self, _fd: int, _events: int) -> None:
            """Take a file."""

        def poll(self, _milliseconds: float) -> None:
            """Wait for nothing."""

    monkeypatch.setattr("select.poll", Poll)
    (group / "memory.events").write_text("low 0\noom 4\noom_kill 3\n")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - descriptors, not files
    with Watch("/c") as watch:
        assert watch.wait(0) == ""
        (group / "memory.events").write_text("low 0\noom 5\noom_kill 5\n")
        assert watch.wait(0) == "oom"
        assert watch.wait(0) == ""
        (group / "cgroup.events").write_text("populated 0\nfrozen 0\n")
        assert watch.wait(30) == "ended"
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - descriptors, not files
