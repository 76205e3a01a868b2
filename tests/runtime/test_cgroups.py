"""The container's cgroup: where it is, who is in it, freezing and killing it, and its removal.

Implements: runtime-spec, config-linux.md "Cgroups Path"; cgroups(7), Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.needs import unmet
from tests.runtime.checks import accepts
from tests.runtime.runtimes import cgroup2_root, remove_cgroup
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")


def members(folder: Path) -> list[str]:
    """Give the processes of one cgroup."""
    return (folder / "cgroup.procs").read_text().split()


def test_the_process_is_in_the_cgroup_of_the_config(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    accepts(runtime.create(made))
    assert members(runtime.cgroup(made)) == [str(runtime.pid(made.id))]


def test_a_deep_path_is_made_and_removed(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    top = cgroup2_root() / made.id
    made.linux["cgroupsPath"] = f"/{made.id}/one/two"
    try:
        accepts(runtime.run(made))
        assert not (top / "one/two").exists()
    finally:
        remove_cgroup(top)


def test_without_a_path_there_is_still_a_group_of_its_own(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    del made.linux["cgroupsPath"]
    name = runtime.sleeping(made)
    line = next(
        row for row in Path(f"/proc/{runtime.pid(name)}/cgroup").read_text().splitlines() if row[:3] == "0::"
    )
    path = cgroup2_root() / line[4:]
    assert members(path) == [str(runtime.pid(name))]
    accepts(runtime.delete(name, force=True))
    assert not path.exists()


@pytest.mark.vm
def test_pausing_freezes_every_process(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    accepts(runtime.call("pause", name))
    assert "frozen 1" in (runtime.cgroup(made) / "cgroup.events").read_text()
    accepts(runtime.call("resume", name))
    eventually(lambda: "frozen 0" in (runtime.cgroup(made) / "cgroup.events").read_text(), "never thawed")


@pytest.mark.vm
def test_kill_all_reaches_every_process(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().without_namespace("pid").shell("sleep 1000 & sleep 1000 & : > /ready; wait")
    name = runtime.started(made)
    eventually((made.rootfs / "ready").exists, "never ready")
    assert len(members(runtime.cgroup(made))) == 3
    accepts(runtime.kill(name, "KILL", "--all"))
    eventually(lambda: members(runtime.cgroup(made)) == [], "some survived")


def test_force_delete_reaches_every_process_without_a_pid_namespace(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = bundle().without_namespace("pid").shell("(trap '' TERM; sleep 1000) & touch /ready; wait")
    name = runtime.started(made)
    eventually((made.rootfs / "ready").exists, "never ready")
    pids = members(runtime.cgroup(made))
    accepts(runtime.delete(name, force=True))
    assert not runtime.cgroup(made).exists()
    alive = [
        pid
        for pid in pids
        if Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()
    ]
    assert alive == []


def test_deleting_a_container_kills_what_it_left_behind(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().without_namespace("pid").shell("sleep 1000 & touch /ready")
    name = runtime.started(made)
    eventually((made.rootfs / "ready").exists, "never ready")
    runtime.wait_stopped(name)
    accepts(runtime.delete(name, force=True))
    eventually(lambda: not runtime.cgroup(made).exists(), "the group was left")


@pytest.mark.vm
def test_groups_made_below_are_removed_too(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    (runtime.cgroup(made) / "a/b").mkdir(parents=True)
    accepts(runtime.delete(name, force=True))
    assert not runtime.cgroup(made).exists()


def test_a_vanished_group_is_no_error_for_delete(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    name = runtime.started(made)
    runtime.wait_stopped(name)
    if runtime.cgroup(made).exists():
        runtime.cgroup(made).rmdir()
    accepts(runtime.delete(name))


def test_an_unlimited_value_needs_no_controller(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["resources"] |= {"memory": {"limit": -1, "swap": -1}, "pids": {"limit": 0}}
    done = runtime.run(made)
    lacking = unmet("controller:memory") or unmet("controller:pids")
    expected = runtime.recorded_exit("no-limit-to-lift", 0) if lacking else 0
    assert done.returncode == expected, done.stderr


def test_update_changes_a_unified_file(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    text = json.dumps({"unified": {"cgroup.max.descendants": "9"}})
    accepts(runtime.call("update", "--resources", "-", name, text=text))
    assert (runtime.cgroup(made) / "cgroup.max.descendants").read_text() == "9\n"


@pytest.mark.requires("runtime:ours|crun")  # the option is crun's
def test_a_container_can_run_without_a_cgroup_of_its_own(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("cat", "/proc/self/cgroup")
    del made.linux["cgroupsPath"]
    argv = ["--cgroup-manager", "disabled", "run", "--bundle", str(made.save().path), made.id]
    done = runtime.call(*argv)
    accepts(done)
    assert made.id not in done.stdout


@pytest.mark.requires("userns")
def test_a_mapped_container_owns_its_group_and_not_its_limits(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().map_users().namespace("cgroup")
    options = next(entry for entry in made.mounts if entry["destination"] == "/sys/fs/cgroup")["options"]
    options.remove("ro")
    runtime.sleeping(made)
    group = runtime.cgroup(made)
    if runtime.deviates("keeps-groups"):
        assert group.stat().st_uid == 0
        return
    owned = {path.name for path in group.iterdir() if path.stat().st_uid == 100000}
    assert group.stat().st_uid == 100000
    assert {"cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} <= owned
    assert not owned & {"cgroup.freeze", "cgroup.kill", "cgroup.max.depth"}


@pytest.mark.requires("userns")
@pytest.mark.parametrize("missing", ["namespace", "write"])
def test_a_group_that_is_not_the_containers_to_write_stays_the_hosts(
    runtime: Runtime, bundle: MakeBundle, missing: str
) -> None:
    made = bundle().map_users()
    options = next(entry for entry in made.mounts if entry["destination"] == "/sys/fs/cgroup")["options"]
    if missing == "namespace":
        options.remove("ro")
    else:
        made.namespace("cgroup")
    runtime.sleeping(made)
    assert runtime.cgroup(made).stat().st_uid == (100000 if runtime.deviates("gives-away-groups") else 0)
