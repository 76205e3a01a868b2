"""Memory: a brake (high), a wall (max), a second wall for swap, a protection (low), and who dies at the wall.

Implements: runtime-spec config-linux.md "Memory" and "Unified"; <Documentation/admin-guide/cgroup-v2.rst>,
"Memory Interface Files".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.limits.groups import MIB, Disk, beside, counts, limited, memory, number, stalled, take
from tests.runtime.bundles import bind
from tests.runtime.checks import accepts
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = [pytest.mark.vm, pytest.mark.requires("root", "unified", "controller:memory")]


def test_high_brakes_and_kills_nobody(runtime: Runtime, bundle: MakeBundle) -> None:
    made = limited(bundle, unified={"memory.high": str(12 * MIB)})
    runtime.started(made.shell("dd if=/dev/zero of=/dev/shm/kept bs=1M count=14; exec sleep 1000"))
    group = runtime.cgroup(made)
    eventually(lambda: counts(group, "memory.events")["high"] > 0, "never braked")
    eventually(lambda: number(group, "memory.current") > 13 * MIB, "it is a wall")
    assert counts(group, "memory.events")["oom_kill"] == 0
    assert stalled(group, "memory") > 0
    assert runtime.status(made.id) == "running"


@pytest.mark.requires("loop")
def test_swap_takes_what_memory_does_not_hold(runtime: Runtime, bundle: MakeBundle, swap: None) -> None:
    made = limited(bundle, memory=memory(16, swap=32))
    accepts(runtime.exec(runtime.sleeping(made), *take(32)))
    group = runtime.cgroup(made)
    assert number(group, "memory.swap.peak") > 8 * MIB
    assert counts(group, "memory.events")["oom_kill"] == 0
    assert number(group, "memory.peak") <= 16 * MIB


@pytest.mark.requires("loop")
def test_swap_is_a_wall_of_its_own(runtime: Runtime, bundle: MakeBundle, swap: None) -> None:
    made = limited(bundle, memory=memory(16, swap=4))
    assert runtime.exec(runtime.sleeping(made), *take(32)).returncode == 137
    group = runtime.cgroup(made)
    assert counts(group, "memory.events")["oom_kill"] == 1
    assert counts(group, "memory.swap.events")["max"] > 0
    assert number(group, "memory.swap.peak") <= 4 * MIB


@pytest.mark.requires("loop")
def test_low_protects_from_the_neighbours(
    runtime: Runtime, bundle: MakeBundle, disk: Disk, parent: Callable[..., Path]
) -> None:
    above = parent("+memory")
    (above / "memory.max").write_text(str(40 * MIB))
    for name in ("protected", "open"):
        with (disk.place / name).open("wb") as file:
            file.truncate(12 * MIB)
    kept: dict[str, Bundle] = {}
    for name in ("protected", "open", "greedy"):
        made = limited(bundle, memory={"reservation": 14 * MIB} if name == "protected" else {})
        made.linux["cgroupsPath"] = f"/{above.name}/{made.id}"
        made.mounts.append(bind(disk.place, "/mnt"))
        (made.rootfs / "mnt").mkdir()
        runtime.sleeping(made)
        read = ["sh", "-c", f"cat /mnt/{name} > /dev/null"]
        accepts(runtime.exec(made.id, *(take(24) if name == "greedy" else read)))
        kept[name] = made
    pages = {name: counts(runtime.cgroup(made), "memory.stat")["file"] for name, made in kept.items()}
    assert pages["protected"] >= 12 * MIB
    assert pages["open"] < 8 * MIB
    for made in kept.values():
        accepts(runtime.delete(made.id, force=True))


@pytest.mark.parametrize("together", [False, True])
def test_a_group_dies_together_if_it_asks_to(runtime: Runtime, bundle: MakeBundle, together: bool) -> None:
    made = limited(bundle, memory=memory(24), unified={"memory.oom.group": str(int(together))})
    neighbour = beside(runtime, bundle)
    hog = " ".join(take(64))
    name = runtime.started(made.shell(f"{hog}; echo $? > /code; exec sleep 1000"))
    group = runtime.cgroup(made)
    eventually(lambda: counts(group, "memory.events")["oom_kill"] > 0, "nobody was killed")
    if together:
        runtime.wait_stopped(name)
        assert not (made.rootfs / "code").exists()
    else:
        eventually((made.rootfs / "code").exists, "the shell did not go on")
        eventually(lambda: (made.rootfs / "code").read_text() == "137\n", "it was not killed")
        assert runtime.status(name) == "running"
    assert counts(group, "memory.events")["oom_group_kill"] == int(together)
    assert runtime.status(neighbour.id) == "running"
