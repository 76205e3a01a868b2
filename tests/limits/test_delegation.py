"""A container that manages cgroups of its own: delegation, and the walls of the cgroup namespace.

The tree is mounted with `nsdelegate`: what limits a namespace's root is not its own to change.

Implements: runtime-spec config-linux.md "Cgroup ownership"; cgroup_namespaces(7);
<Documentation/admin-guide/cgroup-v2.rst> "Delegation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.limits.groups import MIB, counts, limited, memory, take, with_own_groups
from tests.runtime.checks import accepts
from tests.runtime.runtimes import cgroup2_root
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = [
    pytest.mark.vm,
    pytest.mark.requires("root", "unified", "userns", "controller:memory", "controller:pids"),
]
MANAGE = f"""
set -e
cd /sys/fs/cgroup
mkdir init work
echo 0 > init/cgroup.procs
echo "+memory +pids" > cgroup.subtree_control
echo {16 * MIB} > work/memory.max
echo 0 > work/memory.swap.max
echo 7 > work/pids.max
touch /ready
exec sleep 1000
"""


def managing(runtime: Runtime, made: Bundle) -> str:
    """Start a container that has set up groups of its own."""
    name = runtime.started(made.shell(MANAGE))
    eventually((made.rootfs / "ready").exists, "the groups were not made")
    return name


@pytest.mark.parametrize("mapped", [False, True])
def test_a_container_divides_what_it_was_given(runtime: Runtime, bundle: MakeBundle, mapped: bool) -> None:
    made = with_own_groups(limited(bundle, memory=memory(64), pids={"limit": 40}))
    if mapped:
        made.map_users()
    if mapped and runtime.deviates("keeps-groups"):
        runtime.wait_stopped(runtime.started(made.shell(MANAGE)))
        assert not (made.rootfs / "ready").exists()
        return
    name = managing(runtime, made)
    group = runtime.cgroup(made)
    assert (group / "work/memory.max").read_text() == f"{16 * MIB}\n"
    done = runtime.exec(
        name, "sh", "-c", f"echo 0 > /sys/fs/cgroup/work/cgroup.procs && {' '.join(take(32))}"
    )
    assert done.returncode == 137
    assert counts(group / "work", "memory.events")["oom_kill"] == 1
    assert counts(group / "init", "memory.events")["oom_kill"] == 0
    assert runtime.status(name) == "running"
    accepts(runtime.delete(name, force=True))
    assert not group.exists()


@pytest.mark.parametrize("mapped", [False, True])
def test_its_own_limits_are_not_its_own_to_change(runtime: Runtime, bundle: MakeBundle, mapped: bool) -> None:
    made = with_own_groups(limited(bundle, memory=memory(64), pids={"limit": 40}))
    made.capabilities("SYS_ADMIN", "SYS_RESOURCE", "DAC_OVERRIDE")
    if mapped:
        made.map_users()
    attacks = [
        "echo max > memory.max",
        "echo max > pids.max",
        "echo 0 > ../cgroup.procs",
        "mkdir ../outside",
        f"mkdir {cgroup2_root()}/../outside",
    ]
    script = "; ".join(f"({attack}) 2> /dev/null && echo done: {attack}" for attack in attacks)
    assert runtime.output(made.shell(f"cd /sys/fs/cgroup; {script}; cat /proc/self/cgroup")) == "0::/\n"
