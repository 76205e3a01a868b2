"""Resource limits, scheduling, memory policy and keyrings, against the tools of util-linux and /proc."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from pathlib import Path

import pytest

from minicontainer.errors import KernelError
from minicontainer.linux.keyrings import KEY_USR_SEARCH, describe, join_session_keyring, permissions
from minicontainer.linux.rlimits import NUMBERS, RLIM_INFINITY, RLIMITS, limits_of, prlimit64
from minicontainer.linux.scheduling import (
    MEMORY_FLAGS,
    MEMORY_MODES,
    PERSONALITIES,
    POLICIES,
    SCHEDULER_FLAGS,
    numbers_of,
    personality,
    sched_setaffinity,
    sched_setattr,
    set_io_priority,
    set_mempolicy,
)
from tests.linux.children import in_child, sleeping_child, status


def told_by(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


# --- limits ------------------------------------------------------------------------------------


def test_the_names_are_those_of_the_resource_module() -> None:
    known = {name: getattr(resource, name) for name in RLIMITS if hasattr(resource, name)}
    assert len(known) > 12
    assert {name: NUMBERS[name] for name in known} == known


def test_limits_are_read_as_the_resource_module_reads_them() -> None:
    for name in ("RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_STACK"):
        soft, hard = (RLIM_INFINITY if n == -1 else n for n in resource.getrlimit(NUMBERS[name]))
        assert limits_of(0, NUMBERS[name]) == (soft, hard)


@pytest.mark.requires("tool:prlimit")
def test_both_limits_of_another_process_are_set() -> None:
    with sleeping_child() as pid:
        prlimit64(pid, NUMBERS["RLIMIT_NOFILE"], 100, 200)
        assert told_by("prlimit", "-p", str(pid), "-n", "--noheadings", "-o", "SOFT,HARD").split() == [
            "100",
            "200",
        ]
        assert limits_of(pid, NUMBERS["RLIMIT_NOFILE"]) == (100, 200)
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (100, 200)


def test_without_a_limit_is_the_largest_number() -> None:
    def scene() -> tuple[int, int]:
        prlimit64(0, NUMBERS["RLIMIT_CPU"], RLIM_INFINITY, RLIM_INFINITY)
        return resource.getrlimit(resource.RLIMIT_CPU)

    assert in_child(scene) == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def test_a_soft_limit_above_the_hard_one_is_refused() -> None:
    with pytest.raises(KernelError) as caught:
        prlimit64(0, NUMBERS["RLIMIT_NOFILE"], 10, 5)
    assert str(caught.value).startswith(
        "prlimit64(0, RLIMIT_NOFILE, {rlim_cur=10, rlim_max=5}, NULL): EINVAL"
    )


# --- scheduling --------------------------------------------------------------------------------


@pytest.mark.requires("tool:chrt")
def test_policy_niceness_and_flags_are_set() -> None:
    def scene() -> tuple[str, int, int]:
        reset = SCHEDULER_FLAGS["SCHED_FLAG_RESET_ON_FORK"]
        sched_setattr(0, (POLICIES["SCHED_BATCH"], reset, 5, 0, 0, 0, 0))
        return told_by("chrt", "-p", str(os.getpid())), os.nice(0), os.sched_getscheduler(0)

    told, niceness, policy = in_child(scene)
    assert "SCHED_BATCH|SCHED_RESET_ON_FORK" in told
    assert niceness == 5
    assert policy == os.SCHED_BATCH | os.SCHED_RESET_ON_FORK


@pytest.mark.requires("root", "tool:chrt")
def test_a_real_time_priority_is_set() -> None:
    def scene() -> str:
        sched_setattr(0, (POLICIES["SCHED_RR"], 0, 0, 7, 0, 0, 0))
        return told_by("chrt", "-p", str(os.getpid()))

    told = in_child(scene)
    assert "SCHED_RR" in told
    assert told.endswith("priority: 7")


@pytest.mark.requires("root", "tool:chrt")
def test_a_deadline_is_set_in_nanoseconds() -> None:
    deadline = (POLICIES["SCHED_DEADLINE"], 0, 0, 0, 1_000_000, 20_000_000, 30_000_000)
    with sleeping_child(lambda: sched_setattr(0, deadline)) as pid:
        assert "1000000/20000000/30000000" in told_by("chrt", "-p", str(pid))


def test_the_policies_are_those_of_the_os_module() -> None:
    for name in ("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_IDLE"):
        assert POLICIES[name] == getattr(os, name)


@pytest.mark.requires("root", "tool:ionice")
@pytest.mark.parametrize(
    ("io_class", "priority", "told"),
    [
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_RT", 2, "realtime: prio 2"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ],
)
def test_the_io_priority_is_set(io_class: str, priority: int, told: str) -> None:
    def scene() -> str:
        set_io_priority(io_class, priority)
        return told_by("ionice", "-p", str(os.getpid()))

    assert in_child(scene) == told


@pytest.mark.requires("tool:taskset")
def test_a_process_runs_on_its_processors() -> None:
    last = max(os.sched_getaffinity(0))

    def scene() -> tuple[set[int], str]:
        sched_setaffinity(0, [last])
        return os.sched_getaffinity(0), told_by("taskset", "-cp", str(os.getpid()))

    processors, told = in_child(scene)
    assert processors == {last}
    assert told.endswith(f": {last}")


@pytest.mark.requires("arch:x86_64")
def test_a_32_bit_personality_shows_in_uname() -> None:
    def scene() -> tuple[int, str]:
        return personality(PERSONALITIES["LINUX32"]), told_by("uname", "-m")

    assert in_child(scene) == (0, "i686")


def test_memory_is_bound_to_nodes() -> None:
    def scene() -> tuple[str, str]:
        set_mempolicy(MEMORY_MODES["MPOL_BIND"] | MEMORY_FLAGS["MPOL_F_STATIC_NODES"], [0])
        bound = Path("/proc/self/numa_maps").read_text().split()[1]
        set_mempolicy(MEMORY_MODES["MPOL_DEFAULT"], [])
        return bound, Path("/proc/self/numa_maps").read_text().split()[1]

    assert in_child(scene) == ("bind=static:0", "default")


@pytest.mark.parametrize(
    ("text", "numbers"), [("0", [0]), ("0-3,8", [0, 1, 2, 3, 8]), ("5,1-2,1", [1, 2, 5]), (" 1 , 3 ", [1, 3])]
)
def test_lists_of_processors_are_read(text: str, numbers: list[int]) -> None:
    assert numbers_of(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1-", "0-99999999999", "1,,2"])
def test_what_is_no_list_of_processors_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        numbers_of(text)


def test_the_kernel_writes_lists_that_we_read() -> None:
    assert set(numbers_of(status("Cpus_allowed_list")["Cpus_allowed_list"])) == os.sched_getaffinity(0)


# --- keyrings ----------------------------------------------------------------------------------


def test_a_session_keyring_is_new_and_searchable() -> None:
    def scene() -> tuple[str, int, bool]:
        first = join_session_keyring("_ses.one")
        second = join_session_keyring("_ses.two")
        return (
            describe(second),
            permissions(second),
            f"{second:08x}" in Path("/proc/keys").read_text() != first,
        )

    described, bits, listed = in_child(scene)
    assert described.startswith("keyring;")
    assert described.endswith(";_ses.two")
    assert bits & KEY_USR_SEARCH
    assert listed


def test_the_callers_keyring_cannot_be_reached_any_more() -> None:
    def scene() -> tuple[int, int]:
        before = join_session_keyring("_ses.before")
        after = in_child(lambda: join_session_keyring("_ses.after"))
        return before, after

    before, after = in_child(scene)
    assert before != after


def test_a_key_that_is_not_there_has_no_description() -> None:
    with pytest.raises(OSError) as caught:
        describe(2**31 - 1)
    assert caught.value.errno == errno.ENOKEY
