"""A container in the background: from `create` to `rm`, and all that podman does to it between."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.podman import NEEDS
from tests.podman.engine import IMAGE, Podman
from tests.runtime.waiting import eventually

pytestmark = pytest.mark.requires(*NEEDS)

COUNTING = ["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n > /count; sleep 0.02; done"]
OBEDIENT = [
    "sh",
    "-c",
    "trap 'echo got TERM; exit 3' TERM; trap 'echo got USR1' USR1; echo ready; while :; do sleep 0.02; done",
]

Detached = Callable[..., str]


def wait_for_log(podman: Podman, name: str, line: str) -> None:
    """Wait until the container has printed the line."""
    eventually(lambda: line in podman.succeed("logs", name).splitlines(), f"the log never had {line!r}")


def test_each_step_of_a_life_is_a_call_of_its_own(podman: Podman) -> None:
    podman.succeed("create", "--name", "steps", IMAGE, "sh", "-c", "echo one; echo two >&2; exit 5")
    assert podman.inspect("steps", ".State.Status") == "created"
    podman.succeed("init", "steps")
    assert podman.inspect("steps", ".State.Status") == "initialized"
    assert podman.succeed("logs", "steps") == ""
    podman.succeed("start", "steps")
    assert podman.succeed("wait", "steps") == "5"
    assert podman.inspect("steps", ".State.Status") == "exited"
    done = podman.call("logs", "steps")
    assert (done.stdout, done.stderr) == ("one\n", "two\n")
    again = podman.call("start", "--attach", "steps")
    assert (again.returncode, again.stdout, again.stderr) == (5, "one\n", "two\n")
    podman.succeed("rm", "steps")
    assert podman.call("inspect", "steps").returncode != 0


def test_stop_asks_first_and_kills_later(podman: Podman, detached: Detached) -> None:
    obedient = detached(IMAGE, *OBEDIENT)
    wait_for_log(podman, obedient, "ready")
    podman.succeed("stop", "--time", "30", obedient)
    assert podman.inspect(obedient, ".State.ExitCode") == "3"
    assert "got TERM" in podman.succeed("logs", obedient)
    deaf = detached(IMAGE, "sleep", "1000")
    podman.succeed("stop", "--time", "0", deaf)
    assert podman.inspect(deaf, ".State.ExitCode") == "137"


def test_kill_sends_any_signal(podman: Podman, detached: Detached) -> None:
    name = detached(IMAGE, *OBEDIENT)
    wait_for_log(podman, name, "ready")
    podman.succeed("kill", "--signal", "USR1", name)
    wait_for_log(podman, name, "got USR1")
    assert podman.inspect(name, ".State.Status") == "running"
    podman.succeed("kill", name)
    assert podman.succeed("wait", name) == "137"
    assert podman.call("kill", name).returncode != 0
    assert podman.call("stop", name).returncode == 0


def test_kill_without_a_pid_namespace_reaches_all_processes(podman: Podman, detached: Detached) -> None:
    name = detached("--pid", "host", IMAGE, "sh", "-c", "sleep 7654 & sleep 7655 & echo ready; wait")
    wait_for_log(podman, name, "ready")
    podman.succeed("stop", "--time", "0", name)
    podman.remove(name)
    # leaves_no_trace would find the sleeping ones; this says which test they are from
    lines = podman.succeed("run", "--rm", "--pid", "host", IMAGE, "ps").splitlines()
    assert not [line for line in lines if "sleep 765" in line]


def test_pause_freezes_and_unpause_thaws(podman: Podman, detached: Detached) -> None:
    name = detached(IMAGE, *COUNTING)
    eventually(lambda: podman.call("exec", name, "test", "-s", "/count").returncode == 0, "it never counted")
    podman.succeed("pause", name)
    assert podman.inspect(name, ".State.Status") == "paused"
    merged = podman.inspect(name, ".GraphDriver.Data.UpperDir")
    frozen = podman.room.read(f"{merged}/count")
    assert podman.call("pause", name).returncode != 0
    assert podman.call("exec", name, "true").returncode != 0
    assert podman.room.read(f"{merged}/count") == frozen
    podman.succeed("unpause", name)
    eventually(lambda: podman.room.read(f"{merged}/count") not in {frozen, ""}, "it never counted on")
    podman.succeed("pause", name)
    podman.succeed("rm", "--force", "--time", "0", name)


def test_a_running_container_is_restarted_attached_to_and_copied_from(
    podman: Podman, detached: Detached
) -> None:
    name = detached("-i", IMAGE, "sh", "-c", "echo ready; read line; echo heard $line")
    podman.succeed("restart", "--time", "0", name)
    wait_for_log(podman, name, "ready")
    (podman.folder / "given").write_text("to the container\n")
    podman.succeed("cp", str(podman.folder / "given"), f"{name}:/tmp/given")
    assert podman.succeed("exec", name, "cat", "/tmp/given") == "to the container"
    podman.succeed("exec", name, "sh", "-c", "mkdir /tmp/tree; echo from > /tmp/tree/leaf")
    podman.succeed("cp", f"{name}:/tmp/tree", str(podman.folder / "tree"))
    assert (podman.folder / "tree/leaf").read_text() == "from\n"
    assert "heard you" in podman.succeed("attach", name, text="you\n").splitlines()
    assert podman.succeed("wait", name) == "0"
    podman.succeed("cp", f"{name}:/tmp/given", str(podman.folder / "back"))
    assert (podman.folder / "back").read_text() == "to the container\n"


def test_a_copy_reaches_into_a_tmpfs_and_a_volume(podman: Podman, detached: Detached) -> None:
    name = detached("--tmpfs", "/memory", IMAGE, "sleep", "1000")
    (podman.folder / "into").write_text("kept in memory\n")
    podman.succeed("cp", str(podman.folder / "into"), f"{name}:/memory/into")
    assert podman.succeed("exec", name, "cat", "/memory/into") == "kept in memory"


def test_top_lists_the_processes(podman: Podman, detached: Detached) -> None:
    name = detached("--user", "bob", IMAGE, "sh", "-c", "sleep 1000 & exec sleep 2000")
    eventually(lambda: podman.succeed("top", name, "args").count("sleep") == 2, "the second sleep never came")
    lines = podman.succeed("top", name, "user", "args", "capeff", "seccomp").splitlines()[1:]
    assert sorted(line.split() for line in lines) == [
        ["bob", "sleep", "1000", "none", "filter"],
        ["bob", "sleep", "2000", "none", "filter"],
    ]


def test_a_health_check_says_how_it_is(podman: Podman, detached: Detached) -> None:
    name = detached(
        "--health-cmd",
        "test -f /healthy",
        "--health-interval",
        "disable",
        "--health-retries",
        "1",
        IMAGE,
        "sleep",
        "1000",
    )
    assert podman.call("healthcheck", "run", name).returncode == 1
    assert podman.inspect(name, ".State.Health.Status") == "unhealthy"
    podman.succeed("exec", name, "touch", "/healthy")
    podman.succeed("healthcheck", "run", name)
    assert podman.inspect(name, ".State.Health.Status") == "healthy"


def test_a_policy_restarts_what_fails_and_only_so_often(podman: Podman) -> None:
    counting = "echo started >> /count; exit 3"
    podman.started("--name", "failing", "--restart", "on-failure:2", IMAGE, "sh", "-c", counting)
    eventually(
        lambda: podman.inspect("failing", ".RestartCount}} {{.State.Status") == "2 exited",
        "it was not given up",
    )
    assert podman.inspect("failing", ".State.ExitCode") == "3"
    podman.succeed("cp", "failing:/count", str(podman.folder / "count"))
    assert (podman.folder / "count").read_text().split() == ["started"] * 3
    podman.remove("failing")


def test_a_container_that_must_always_run_comes_back(podman: Podman, detached: Detached) -> None:
    name = detached("--restart", "always", IMAGE, "sleep", "1000")
    first = podman.inspect(name, ".State.Pid")
    podman.room.run("kill", "-KILL", first)
    eventually(lambda: podman.inspect(name, ".State.Pid") not in {first, "0"}, "it did not come back")
    assert podman.succeed("exec", name, "cat", "/proc/1/cmdline") == "sleep\x001000\x00"
    podman.succeed("stop", "--time", "0", name)
    assert podman.inspect(name, ".State.Status") == "exited"


def test_a_checkpoint_is_refused_and_harms_nothing(podman: Podman, detached: Detached) -> None:
    name = detached(IMAGE, "sleep", "1000")
    done = podman.call("container", "checkpoint", name)
    assert done.returncode == 125
    assert "checkpoint" in done.stderr or "criu" in done.stderr  # newer podmans look for the program first
    assert podman.succeed("exec", name, "echo", "unharmed") == "unharmed"


def test_several_containers_live_side_by_side(podman: Podman, detached: Detached) -> None:
    names = [detached(IMAGE, "sleep", str(1000 + n)) for n in range(3)]
    for n, name in enumerate(names):
        assert f"sleep {1000 + n}" in podman.succeed("exec", name, "ps", "-o", "args")
    podman.succeed("stop", "--time", "0", *names)
    assert [podman.inspect(name, ".State.ExitCode") for name in names] == ["137"] * 3


@pytest.mark.vm
@pytest.mark.requires("controller:memory", "controller:cpu", "controller:pids")
def test_stats_measure_and_update_changes_the_limits(podman: Podman, detached: Detached) -> None:
    limits = ["--memory", "64m", "--memory-swap", "64m", "--pids-limit", "50", "--cpus", "0.5"]
    name = detached(*limits, IMAGE, "sh", "-c", "sleep 1000 & exec sleep 2000")
    form = "{{.MemUsage}};{{.PIDs}}"
    usage, pids = podman.succeed("stats", "--no-stream", "--format", form, name).split(";")
    assert usage.endswith("67.11MB")
    assert pids == "2"
    podman.succeed("update", "--memory", "128m", "--memory-swap", "128m", "--cpus", "1", name)
    seen = podman.inside_running(
        name,
        memory="cat /sys/fs/cgroup/memory.max",
        cpu="cat /sys/fs/cgroup/cpu.max",
        devices="cat /dev/null > /dev/null; echo stay",
    )
    assert seen == {"memory": str(128 << 20), "cpu": "100000 100000", "devices": "stay"}


@pytest.mark.vm
@pytest.mark.requires("controller:memory")
def test_a_container_that_takes_too_much_memory_is_killed(podman: Podman) -> None:
    hog = "tail /dev/zero"
    done = podman.call(
        "run", "--name", "hog", "--memory", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", hog
    )
    assert done.returncode == 137
    assert podman.inspect("hog", ".State.OOMKilled") == "true"
