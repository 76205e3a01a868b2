"""Groups of the machine's own tree: no controllers are needed to fill, freeze, kill and remove them."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from minicontainer.errors import Conflict, KernelError, NotFound, Refused, SpecError
from minicontainer.linux import cgroups
from minicontainer.linux.process import SIGCHLD, clone3
from minicontainer.runtime import cgroup, cgroup_limits, cgroup_paths, cgroup_processes
from minicontainer.runtime.statistics import Watch, statistics
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Sleeper = Callable[[int], int]

pytestmark = pytest.mark.requires("root", "cgroup2")


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    """Give a function that makes a sleeping child in a group."""
    children = []

    def start(directory: int) -> int:
        pid, pidfd = clone3(0, SIGCHLD, directory)
        if pid == 0:
            try:
                while True:
                    time.sleep(100)
            finally:
                os._exit(1)
        children.append((pid, pidfd))
        return pid

    yield start
    for pid, pidfd in children:
        os.close(pidfd)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def group() -> Iterator[cgroup.Group]:
    """Give a new group."""
    made = cgroup.create_group(f"/test-{os.getpid()}/own", {})
    assert made is not None
    yield made
    cgroup_processes.kill_group(made.path)
    cgroup.remove_group(made.path, made.made)
    made.close()


def below(group: cgroup.Group, *names: str) -> int:
    """Make groups inside one another, and open the innermost."""
    directory = os.dup(group.directory)
    for name in names:
        inner = cgroups.make_group(directory, name)
        os.close(directory)
        directory = inner
    return directory


def test_a_group_is_made_used_and_removed(sleeper: Sleeper) -> None:
    path = cgroup_paths.cgroup_path({}, f"t{os.getpid()}", False)
    group = cgroup.create_group(path, {"cpu": {"shares": 1024}})
    assert group is not None
    assert cgroup_processes.processes(path) == []
    pid = sleeper(group.directory)
    group.close()
    assert cgroup_processes.processes(path) == [pid]
    assert cgroups.own_cgroup(pid) == path
    cgroup_processes.kill_group(path)
    assert cgroup_processes.wait_until_empty(path, 30)
    cgroup.remove_group(path, group.made)
    assert cgroup.planned_groups(path)[-1] == path


def test_everything_works_twice_and_on_nothing(group: cgroup.Group) -> None:
    for _ in range(2):
        cgroup.remove_group(group.path, group.made)
        cgroup_processes.kill_group(group.path)
        assert cgroup_processes.processes(group.path) == []
        assert not cgroup_processes.is_frozen(group.path)
        assert cgroup_processes.wait_until_empty(group.path, 0)
    assert cgroup.planned_groups(group.path) == group.made


def test_no_path_is_never_the_whole_machine() -> None:
    for path in (None, ""):
        cgroup_processes.kill_group(path)
        cgroup.remove_group(path, [])
        assert cgroup_processes.processes(path) == []
        assert cgroup_processes.group_for_exec(path, os.getpid()) == -1
        assert cgroup.create_group(path, {}) is None
    with pytest.raises(Refused, match="every process of the machine"):
        cgroup_processes.kill_group("/")


def test_kill_reaches_the_groups_that_the_container_made(group: cgroup.Group, sleeper: Sleeper) -> None:
    inner = below(group, "a", "b")
    pids = [sleeper(group.directory), sleeper(inner)]
    os.close(inner)
    assert sorted(cgroup_processes.processes(group.path)) == sorted(pids)
    cgroup_processes.kill_group(group.path)
    cgroup.remove_group(group.path, group.made)
    assert cgroup.planned_groups(group.path) == group.made


def test_kill_one_by_one_where_the_kernel_has_no_kill(
    group: cgroup.Group, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old_kernel(directory: int, name: str, value: str) -> None:
        raise KernelError(errno.ENOENT, "write_control", (directory, name, value))

    monkeypatch.setattr(cgroup_processes, "write_control", old_kernel)
    inner = below(group, "a")
    sleeper(group.directory)
    sleeper(inner)
    os.close(inner)
    cgroup_processes.kill_group(group.path)
    assert cgroup_processes.processes(group.path) == []


def test_frozen_processes_stop_and_can_be_killed(group: cgroup.Group, sleeper: Sleeper) -> None:
    sleeper(group.directory)
    cgroup_processes.freeze(group.path)
    assert cgroup_processes.is_frozen(group.path)
    assert "frozen 1" in cgroups.read_control(group.directory, "cgroup.events")
    cgroup_processes.thaw(group.path)
    assert not cgroup_processes.is_frozen(group.path)
    assert "frozen 0" in cgroups.read_control(group.directory, "cgroup.events")
    cgroup_processes.freeze(group.path)
    cgroup_processes.kill_group(group.path)
    assert cgroup_processes.wait_until_empty(group.path, 30)


def test_what_is_gone_cannot_be_frozen() -> None:
    for call in (cgroup_processes.freeze, cgroup_processes.thaw):
        with pytest.raises(NotFound, match="does not exist"):
            call("/test-no-such-group")


def test_a_group_that_does_not_end_is_named(group: cgroup.Group, sleeper: Sleeper) -> None:
    pid = sleeper(group.directory)
    with pytest.raises(Conflict, match=rf"{group.path} still has processes: \[{pid}\]"):
        cgroup.remove_group(group.path, group.made, 0.01)
    assert cgroup_processes.processes(group.path) == [pid]


def test_remove_waits_for_the_last_process(group: cgroup.Group, sleeper: Sleeper) -> None:
    pid = sleeper(group.directory)
    os.kill(pid, signal.SIGKILL)
    cgroup.remove_group(group.path, group.made)
    assert cgroup.planned_groups(group.path) == group.made


def test_a_used_group_is_refused_and_left_alone(group: cgroup.Group, sleeper: Sleeper) -> None:
    inner = below(group, "a")
    pid = sleeper(inner)
    os.close(inner)
    with pytest.raises(Conflict, match=r"not empty: 1 process\(es\) found"):
        cgroup.create_group(group.path, {})
    assert cgroup_processes.processes(group.path) == [pid]


def test_parents_that_others_use_stay_until_the_last_goes() -> None:
    top = f"/test-{os.getpid()}"
    first, second = (cgroup.create_group(f"{top}/{name}", {}) for name in "ab")
    assert first is not None
    assert second is not None
    assert (first.made, second.made) == ([top, f"{top}/a"], [f"{top}/b"])
    cgroup.remove_group(first.path, first.made)
    assert cgroup.planned_groups(second.path) == []
    cgroup.remove_group(second.path, [top, *second.made])
    assert cgroup.planned_groups(second.path) == [top, second.path]
    first.close()
    second.close()


def test_a_parent_that_is_removed_meanwhile_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    top = f"/test-{os.getpid()}"
    real = cgroups.make_group
    removals: list[bool] = []

    def racing(directory: int, name: str) -> int:
        if name == "own" and len(removals) < 3:
            removals.append(cgroup.remove_one(top))
        return real(directory, name)

    monkeypatch.setattr(cgroups, "make_group", racing)
    group = cgroup.create_group(f"{top}/own", {})
    assert group is not None
    group.close()
    assert removals == [True, True, True]
    assert cgroup.planned_groups(group.path) == []
    cgroup.remove_group(group.path, group.made)
    assert cgroup.planned_groups(top) == [top]


def test_a_group_below_a_threaded_one_is_threaded_too(group: cgroup.Group) -> None:
    outer = below(group, "threads")
    cgroups.write_control(outer, "cgroup.type", "threaded")
    os.close(outer)
    inner = cgroup.create_group(f"{group.path}/threads/inner", {})
    assert inner is not None
    assert cgroups.read_control(inner.directory, "cgroup.type") == "threaded\n"
    inner.close()


def test_a_threaded_group_is_killed_thread_by_thread(group: cgroup.Group, sleeper: Sleeper) -> None:
    inner = below(group, "threads")
    pid = sleeper(group.directory)
    cgroups.write_control(inner, "cgroup.type", "threaded")
    cgroups.write_control(inner, "cgroup.threads", str(pid))
    os.close(inner)
    cgroup_processes.kill_group(f"{group.path}/threads")
    assert cgroup_processes.wait_until_empty(group.path, 30)


# --- a controller -------------------------------------------------------------------------------------------

HUGE = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}


@pytest.mark.requires("controller:hugetlb")
def test_a_controller_reaches_the_group_through_all_its_parents() -> None:
    made = cgroup.create_group(f"/test-{os.getpid()}/a/b", HUGE)
    assert made is not None
    cgroup_limits.apply_resources(made, HUGE)
    assert cgroups.read_control(made.directory, "hugetlb.2MB.max") == "4194304\n"
    assert cgroups.read_control(made.directory, "hugetlb.2MB.rsvd.max") == "4194304\n"
    assert cgroups.read_control(made.directory, "cgroup.subtree_control") == ""
    made.close()
    cgroup.remove_group(made.path, made.made)


@pytest.mark.requires("controller:hugetlb")
def test_an_update_hands_a_controller_down_to_a_group_in_use(group: cgroup.Group, sleeper: Sleeper) -> None:
    sleeper(group.directory)
    assert not cgroups.has_control(group.directory, "hugetlb.2MB.max")
    cgroup_limits.apply_resources(group, HUGE, update=True)
    assert cgroups.read_control(group.directory, "hugetlb.2MB.max") == "4194304\n"
    assert statistics(group.path)["hugetlb"]["2MB"] == {"failcnt": 0}


@pytest.mark.requires("controller:hugetlb")
def test_a_parent_with_processes_can_hand_nothing_down(group: cgroup.Group, sleeper: Sleeper) -> None:
    sleeper(group.directory)
    with pytest.raises(KernelError) as caught:
        cgroup.create_group(f"{group.path}/inner", HUGE)
    assert (caught.value.errno, caught.value.arguments[1:]) == (
        errno.EBUSY, ("cgroup.subtree_control", "+hugetlb"),
    )  # fmt: skip
    assert list(cgroups.groups_below(group.directory)) == []


# --- exec ---------------------------------------------------------------------------------------------------


def joined(descriptor: int) -> str:
    """Say which group a descriptor is, as a path of the tree."""
    place = Path(f"/proc/self/fd/{descriptor}").readlink()
    os.close(descriptor)
    return str(place).removeprefix(cgroup_paths.root() or "?")


def test_a_further_process_joins_the_containers_own_group(group: cgroup.Group, sleeper: Sleeper) -> None:
    inner = below(group, "sub")
    pid = sleeper(inner)
    os.close(inner)
    assert joined(cgroup_processes.group_for_exec(group.path, pid)) == group.path
    assert joined(cgroup_processes.group_for_exec(group.path, pid, "sub")) == f"{group.path}/sub"
    assert joined(cgroup_processes.group_for_exec(group.path, pid, "/sub")) == f"{group.path}/sub"
    assert joined(cgroup_processes.group_for_exec(group.path, pid, "/")) == group.path


def test_a_group_that_hands_down_sends_it_to_the_first_process(
    group: cgroup.Group, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = below(group, "init.scope")
    pid = sleeper(inner)
    os.close(inner)
    monkeypatch.setattr(cgroup_processes, "hands_down", lambda _: True)
    assert joined(cgroup_processes.group_for_exec(group.path, pid)) == f"{group.path}/init.scope"


def test_a_sub_group_has_to_be_there_and_inside(group: cgroup.Group) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        cgroup_processes.group_for_exec(group.path, os.getpid(), "missing")
    with pytest.raises(SpecError, match="bad sub cgroup path"):
        cgroup_processes.group_for_exec(group.path, os.getpid(), "../..")
    assert cgroup_processes.group_for_exec(None, os.getpid()) == -1


# --- statistics ---------------------------------------------------------------------------------------------


def test_statistics_tell_what_is_used(group: cgroup.Group, sleeper: Sleeper) -> None:
    sleeper(group.directory)
    found = statistics(group.path)
    assert found["pids"]["current"] == 1
    assert set(found["cpu"]["usage"]) >= {"kernel", "user"}
    assert found["memory"]["kernel"] == {"limit": 0, "failcnt": 0}
    with pytest.raises(NotFound, match="does not exist"):
        statistics("/test-no-such-group")


def test_a_watch_tells_the_end_of_a_group(group: cgroup.Group, sleeper: Sleeper) -> None:
    pid = sleeper(group.directory)
    with Watch(group.path) as watch:
        assert watch.wait(0.01) == ""
        os.kill(pid, signal.SIGKILL)
        assert watch.wait(30) == "ended"
        cgroup.remove_group(group.path, group.made)
        assert watch.wait(30) == "ended"


# --- devices ------------------------------------------------------------------------------------------------


def reads(directory: int, path: str) -> int:
    """Open a device in a group; gives the errno, 0 for none."""
    pid, pidfd = clone3(0, SIGCHLD, directory)
    if pid == 0:
        number = 255
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            number = 0
        except OSError as problem:
            number = problem.errno or 255
        finally:
            os._exit(number)
    os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("rules", [[], [{"allow": False, "access": "rwm"}]])
def test_only_the_default_devices_open_and_an_update_keeps_that(
    group: cgroup.Group, rules: list[dict[str, object]]
) -> None:
    assert reads(group.directory, "/dev/kmsg") == 0
    cgroup_limits.apply_resources(group, {"devices": rules})
    for _ in range(2):
        assert reads(group.directory, "/dev/null") == 0
        assert reads(group.directory, "/dev/kmsg") == errno.EPERM
        cgroup_limits.apply_resources(group, {"devices": [{"allow": False, "access": "rwm"}]}, update=True)
    kmsg = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    cgroup_limits.apply_resources(group, {"devices": [kmsg]}, update=True)
    assert reads(group.directory, "/dev/kmsg") == 0
    assert reads(group.directory, "/dev/null") == 0
    eventually(lambda: cgroup_processes.processes(group.path) == [], "a child stayed in the group")
