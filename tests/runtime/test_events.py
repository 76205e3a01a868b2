"""`events`: the form of its lines is runc's, an OOM kill is told at once, and it ends with the container.

Implements: runc(8) "events", runc's types/events.go; cgroups(7) "memory.events".
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minicontainer.errors import Error
from minicontainer.runtime import cgroup_paths
from minicontainer.runtime.container import Container
from minicontainer.runtime.events import duration, follow
from minicontainer.runtime.statistics import Watch
from tests.needs import unmet
from tests.runtime.checks import accepts, refuses

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

MIB = 1 << 20
NUMBER = {"limit", "usage", "max", "failcnt"}
PSI = {"psi": {kind: {"avg10", "avg60", "avg300", "total"} for kind in ("some", "full")}}
BLOCK_IO = (
    "ioServiceBytesRecursive ioServicedRecursive ioQueueRecursive ioServiceTimeRecursive ioWaitTimeRecursive "
    "ioMergedRecursive ioTimeRecursive sectorsRecursive"
).split()
FORM: dict[str, Any] = {
    "cpu": {
        "usage": {"total", "percpu", "percpu_kernel", "percpu_user", "kernel", "user"},
        "throttling": {"periods", "throttledPeriods", "throttledTime"},
        **PSI,
    },
    "cpuset": {
        "cpus", "cpu_exclusive", "mems", "mem_hardwall", "mem_exclusive", "memory_migrate",
        "memory_spread_page", "memory_spread_slab", "memory_pressure", "sched_load_balance",
        "sched_relax_domain_level",
    },
    "memory": {
        "cache": None, **dict.fromkeys(("usage", "swap", "kernel", "kernelTCP"), NUMBER), "raw": None, **PSI,
    },
    "pids": {"current", "limit"},
    "blkio": {**dict.fromkeys(BLOCK_IO), **PSI},
    "hugetlb": None,
    "intel_rdt": None,
    "network_interfaces": None,
}  # fmt: skip
"""The members of runc's Stats, by its types/events.go; None where any value may be."""


def strangers(shown: Any, form: Any, path: str = "data") -> list[str]:
    """Name what is shown and not in the form."""
    if form is None or not isinstance(shown, dict):
        return []
    known = dict.fromkeys(form) if isinstance(form, set) else form
    found = [f"{path}.{key}" for key in shown if key not in known]
    for key, value in shown.items():
        found += strangers(value, known.get(key), f"{path}.{key}")
    return found


needs_machine = pytest.mark.requires("root", "cgroup2", "runtime:ours|runc")  # crun has no such command


@needs_machine
def test_statistics_have_the_form_of_runcs(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    shown = json.loads(runtime.succeed("events", "--stats", name).stdout)
    assert set(shown) == {"type", "id", "data"}
    assert set(shown["data"]) == set(FORM)
    assert strangers(shown["data"], FORM) == []
    assert {"kernel", "user", "total"} <= set(shown["data"]["cpu"]["usage"])
    assert shown["data"]["network_interfaces"] is None


@needs_machine
@pytest.mark.parametrize("interval", ["0s", "-1s", "5", "s", "1s x", "1x"])
def test_an_interval_that_is_none_is_refused(runtime: Runtime, bundle: MakeBundle, interval: str) -> None:
    name = runtime.sleeping(bundle())
    done = runtime.call("events", f"--interval={interval}", name)
    assert done.returncode == 1
    assert '"type"' not in done.stdout


@needs_machine
def test_a_stopped_container_has_no_events(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.started(bundle())
    runtime.wait_stopped(name)
    refuses(runtime, runtime.call("events", "--stats", name), "not running")


@needs_machine
def test_events_end_with_the_container_whatever_the_interval(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    if runtime.deviates("events-need-memory") and unmet("controller:memory"):
        refuses(runtime, runtime.call("events", name))
        return
    watching = runtime.spawn("events", "--interval", "1000h", name)
    accepts(runtime.delete(name, force=True))
    assert watching.wait(30) in (0, 1)  # 1: it was deleted before `events` had looked


@needs_machine
@pytest.mark.vm
@pytest.mark.requires("controller:memory")
def test_an_oom_kill_is_told_at_once(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["resources"]["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
    name = runtime.sleeping(made)
    read, write = os.pipe()
    runtime.spawn("events", "--interval", "1s", name, stdout=write)
    os.close(write)
    with os.fdopen(read) as lines:
        assert json.loads(lines.readline())["type"] == "stats"
        runtime.exec(name, "dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1")
        told = next(event for event in map(json.loads, lines) if event["type"] == "oom")
        assert told == {"type": "oom", "id": name}


def test_a_kill_is_one_event_and_does_not_wait_for_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cgroup_paths, "_root", [str(tmp_path)])
    group = tmp_path / "c"
    group.mkdir()
    (group / "memory.events").write_text("oom 0\noom_kill 1\n")
    (group / "cgroup.events").write_text("populated 1\n")
    with Watch("/c") as watch:
        (group / "memory.events").write_text("oom 1\noom_kill 2\n")
        waits: list[float] = []

        def wait(seconds: float, real: Any = watch.wait) -> str:
            waits.append(seconds)
            if len(waits) > 1:
                (group / "cgroup.events").write_text("populated 0\n")
            return str(real(seconds))

        monkeypatch.setattr(watch, "wait", wait)
        follow(Container("/nowhere", "c1"), watch, "/c", 1000.0)
    assert capfd.readouterr().out == '{"type":"oom","id":"c1"}\n'
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), (".5s", 0.5), ("2us", 2e-6)],
)
def test_a_duration_is_read_as_go_writes_it(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "0s", "1s2", "1 s", "1..5s", "0h0m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Error, match="invalid interval"):
        duration(text)
