"""`update`: each flag of runc's reaches its limit, or says which controller is not there.

Implements: runc(8) "update"; go-units' RAMInBytes for sizes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from minicontainer.errors import Error, SpecError
from minicontainer.runtime.command_update import MEMBERS, OBSOLETE, SCHEMAS, read_value, resources_of
from minicontainer.runtime.options import COMMANDS
from tests.needs import met
from tests.runtime.checks import accepts, refuses

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

needs_machine = pytest.mark.requires("root", "cgroup2")

# flag -> (value, controller, file of the group, what it then says)
FLAGS = {
    "blkio-weight": ("500", "io", "io.weight", "default 4950"),
    "cpu-burst": ("1000", "cpu", "cpu.max.burst", "1000"),
    "cpu-idle": ("1", "cpu", "cpu.idle", "1"),
    "cpu-period": ("50000", "cpu", "cpu.max", "max 50000"),
    "cpu-quota": ("20000", "cpu", "cpu.max", "20000 100000"),
    "cpu-share": ("2048", "cpu", "cpu.weight", "174"),
    "cpuset-cpus": ("0", "cpuset", "cpuset.cpus", "0"),
    "cpuset-mems": ("0", "cpuset", "cpuset.mems", "0"),
    "memory": ("64m", "memory", "memory.max", str(64 << 20)),
    "memory-reservation": ("32m", "memory", "memory.low", str(32 << 20)),
    "memory-swap": ("-1", "memory", "memory.swap.max", "max"),
    "pids-limit": ("9", "pids", "pids.max", "9"),
}
REAL_TIME = ("cpu-rt-period", "cpu-rt-runtime")
WEIGHT_OF_BFQ = "io.bfq.weight"


def test_every_flag_is_tried() -> None:
    flags = set(COMMANDS["update"]) - {"resources"}
    assert flags == {*FLAGS, *REAL_TIME, *OBSOLETE, *SCHEMAS}
    assert set(MEMBERS) == {*FLAGS, *REAL_TIME}


@needs_machine
@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_is_a_limit_or_says_what_is_missing(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    value, controller, name, shown = FLAGS[flag]
    made = bundle()
    identifier = runtime.sleeping(made)
    done = runtime.call("update", f"--{flag}", value, identifier)
    group = runtime.cgroup(made)
    if met(f"controller:{controller}"):
        accepts(done)
        if (group / WEIGHT_OF_BFQ).exists() and flag == "blkio-weight":
            name, shown = WEIGHT_OF_BFQ, "default 500"
        assert (group / name).read_text().strip() == shown
    elif value == "-1":
        accepts(done)
    elif flag == "cpu-period":  # without a quota it asks for nothing
        assert done.returncode == runtime.recorded_exit("no-limit-to-lift", 0), done.stderr
    elif runtime.kind == "ours":
        refuses(runtime, done, f"controller {controller} is not available")
    else:
        assert done.returncode != 0


@needs_machine
@pytest.mark.requires("runtime:ours")
@pytest.mark.parametrize("flag", [*REAL_TIME, *SCHEMAS])
def test_what_cannot_be_done_is_refused(runtime: Runtime, bundle: MakeBundle, flag: str) -> None:
    done = runtime.call("update", f"--{flag}", "1000", runtime.sleeping(bundle()))
    refuses(runtime, done, flag if flag in SCHEMAS else "realtime")


@needs_machine
def test_an_obsolete_limit_is_a_warning(runtime: Runtime, bundle: MakeBundle) -> None:
    done = runtime.call("update", "--kernel-memory", "64m", runtime.sleeping(bundle()))
    assert done.returncode == runtime.recorded_exit("obsolete-limits", 0), done.stderr
    if runtime.kind == "ours":
        assert "--kernel-memory is ignored" in done.stderr


@needs_machine
@pytest.mark.parametrize("how", ["-", "file"])
def test_resources_come_from_a_file_or_standard_input(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, how: str
) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    text = json.dumps({"unified": {"cgroup.max.depth": "4"}})
    file = workspace / "resources.json"
    file.write_text(text)
    where = how if how == "-" else str(file)
    accepts(runtime.call("update", "-r", where, name, text=text if how == "-" else None))
    assert (runtime.cgroup(made) / "cgroup.max.depth").read_text() == "4\n"


@needs_machine
@pytest.mark.parametrize(
    ("text", "deviation"),
    [
        ("", None),
        ("{", None),
        ("null", "null-resources"),
        ("[]", "resources-of-another-type"),
        ('{"memory": 5}', "resources-of-another-type"),
        ('{"pids": {"limit": "many"}}', "resources-of-another-type"),
    ],
)
def test_resources_that_are_none_are_refused(
    runtime: Runtime, bundle: MakeBundle, text: str, deviation: str | None
) -> None:
    name = runtime.sleeping(bundle())
    done = runtime.call("update", "--resources", "-", name, text=text)
    refuses(runtime, done, deviation=deviation)


@needs_machine
def test_a_stopped_container_cannot_be_updated(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.started(bundle().args("true"))
    runtime.wait_stopped(name)
    done = runtime.call("update", "--pids-limit", "9", name)
    refuses(runtime, done, "container not running")


def options(**given: str) -> dict[str, Any]:
    """Give the options of a call, most of them not given."""
    return {**COMMANDS["update"], **{name.replace("_", "-"): value for name, value in given.items()}}


def test_flags_become_resources() -> None:
    assert resources_of(options()) == {}
    assert resources_of(options(memory="1g", memory_swap="-1", cpu_share="5", cpuset_cpus="0-1")) == {
        "memory": {"limit": 1 << 30, "swap": -1},
        "cpu": {"shares": 5, "cpus": "0-1"},
    }


@pytest.mark.parametrize(
    ("text", "size"),
    [("5", 5), ("-1", -1), ("64b", 64), ("2k", 2048), ("3M", 3 << 20), ("1.5g", 3 << 29), ("1 GiB", 1 << 30),
     ("2mb", 2 << 20), ("1t", 1 << 40), ("1P", 1 << 50)],
)  # fmt: skip
def test_a_size_is_read_as_docker_writes_it(text: str, size: int) -> None:
    assert read_value("memory", text, "bytes") == size


@pytest.mark.parametrize("text", ["", "m", "b", "x", "1x", "-1m", "1.2.3m", ".5m", "0x10", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--memory"):
        read_value("memory", text, "bytes")


@pytest.mark.parametrize("text", ["1m", "1.5", "many"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Error, match="--pids-limit"):
        read_value("pids-limit", text, "number")
