"""`ctr run` and `ctr task` through containerd's runc shim."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest

from tests.containerd.engine import IMAGE, Containerd
from tests.needs import met
from tests.runtime.runtimes import recorded_deviations
from tests.runtime.waiting import eventually

pytestmark = pytest.mark.requires(
    *("root", "cgroup2", "filesystem:overlay", "tool:busybox", "tool:nsenter"),
    *("tool:containerd", "tool:ctr", "tool:containerd-shim-runc-v2"),
)

# ctr sets the size after it has started the program.
SIZED = "until stty size 2>/dev/null | grep -q '33 77'; do sleep 0.02; done; echo siz$((1))d\n"


def test_run_passes_the_streams_and_the_exit_code(containerd: Containerd) -> None:
    done = containerd.run(IMAGE, "streams", "sh", "-c", "head -n 1; echo err >&2; exit 7", text="typed\n")
    assert (done.returncode, done.stdout) == (7, "typed\n")
    assert done.stderr.splitlines()[0] == "err"
    assert containerd.containers() == []


def test_run_on_a_terminal_is_interactive(containerd: Containerd) -> None:
    with containerd.terminal(*containerd.run_words("--rm", "--tty", IMAGE, "tty", "sh")) as terminal:
        terminal.type("tty; test -c /dev/console && echo he$((1))re\n")
        assert "/dev/pts/0" in terminal.read_until("he1re")
        terminal.type(SIZED)
        terminal.read_until("siz1d")
        terminal.type("exit 9\n")
        assert terminal.finish() == 9


def test_a_program_that_is_not_there_is_named(containerd: Containerd) -> None:
    done = containerd.run(IMAGE, "missing", "nonexistent")
    assert done.returncode == 1
    assert "OCI runtime create failed" in done.stderr
    assert "nonexistent" in done.stderr
    assert "not found in $PATH" in done.stderr
    assert containerd.tasks() == {}


def test_a_task_lives_in_the_background(containerd: Containerd, sleeping: str) -> None:
    assert containerd.tasks() == {sleeping: "RUNNING"}
    done = containerd.call(
        "task", "exec", "--exec-id", "one", sleeping, "sh", "-c", "cat /proc/1/cmdline; exit 3"
    )
    assert (done.returncode, done.stdout) == (3, "sleep\x001000\x00")
    pids = [line.split()[0] for line in containerd.succeed("task", "ps", sleeping).splitlines()[1:]]
    listed = {line.split()[0]: line.split()[1] for line in containerd.succeed("task", "ls").splitlines()[1:]}
    assert pids == [listed[sleeping]]
    containerd.succeed("task", "pause", sleeping)
    assert containerd.tasks() == {sleeping: "PAUSED"}
    containerd.succeed("task", "resume", sleeping)
    assert containerd.tasks() == {sleeping: "RUNNING"}
    containerd.succeed("task", "kill", "--signal", "SIGKILL", sleeping)
    eventually(lambda: containerd.tasks()[sleeping] == "STOPPED", "the task never stopped")
    assert containerd.call("task", "kill", sleeping).returncode != 0
    containerd.call("task", "rm", sleeping)  # exits with the task's code in some versions
    assert containerd.tasks() == {}
    containerd.succeed("container", "rm", sleeping)


def test_exec_on_a_terminal_is_interactive(containerd: Containerd, sleeping: str) -> None:
    with containerd.terminal("task", "exec", "--tty", "--exec-id", "two", sleeping, "sh") as terminal:
        terminal.type("tty; echo he$((1))re\n")
        assert "/dev/pts/0" in terminal.read_until("he1re")
        terminal.type(SIZED)
        terminal.read_until("siz1d")
        terminal.type("exit 5\n")
        assert terminal.finish() == 5


def test_a_program_that_cannot_be_executed_harms_nothing(containerd: Containerd, sleeping: str) -> None:
    done = containerd.call("task", "exec", "--exec-id", "three", sleeping, "nonexistent")
    assert done.returncode != 0
    assert "not found in $PATH" in done.stderr
    assert containerd.succeed("task", "exec", "--exec-id", "four", sleeping, "echo", "unharmed") == "unharmed"


def test_signals_reach_the_task(containerd: Containerd) -> None:
    loop = "trap 'echo got it; exit 4' USR1; echo ready; while :; do sleep 0.02; done"
    with containerd.terminal(
        *containerd.run_words("--rm", "--tty", IMAGE, "signalled", "sh", "-c", loop)
    ) as terminal:
        terminal.read_until("ready")
        containerd.succeed("task", "kill", "--signal", "SIGUSR1", "signalled")
        terminal.read_until("got it")
        assert terminal.finish() == 4


def test_options_reach_the_process(containerd: Containerd) -> None:
    outside = containerd.folder / "outside"
    outside.mkdir()
    (outside / "file").write_text("from outside\n")
    seen = containerd.inside(
        *("--read-only", "--cap-drop", "CAP_CHOWN", "--cwd", "/tmp", "--env", "A=one", "--seccomp"),
        *("--mount", f"type=bind,src={outside},dst=/v,options=rbind:ro"),
        where="pwd",
        env="echo $A",
        root="touch /tmp/x; touch /v/x",
        volume="cat /v/file",
        status="grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status",
        host="hostname",
        shm="touch /dev/shm/x && echo yes",
    )
    assert seen["where"] == "/tmp"
    assert seen["env"] == "one"
    assert seen["root"].count("Read-only file system") == 2
    assert seen["volume"] == "from outside"
    status = seen["status"].split()
    assert int(status[1], 16) & 0b11 == 0b10  # dac_override, but not chown
    assert status[2:] == ["NoNewPrivs:", "1", "Seccomp:", "2"]
    assert seen["shm"] == "yes"


def test_a_missing_working_directory_is_made_in_a_read_only_root(containerd: Containerd) -> None:
    done = containerd.run("--read-only", "--cwd", "/made/for/it", IMAGE, "elsewhere", "pwd")
    assert (done.returncode, done.stdout) == (0, "/made/for/it\n"), done.stderr


def test_exec_is_the_user_that_is_asked_for(containerd: Containerd, sleeping: str) -> None:
    words = ["task", "exec", "--exec-id", "eight", "--user", "1000:2000", "--cwd", "/home", sleeping]
    done = containerd.call(*words, "sh", "-c", "id -u; id -g; pwd; touch /home/x")
    assert done.stdout.split() == ["1000", "2000", "/home"]
    assert "Permission denied" in done.stderr


def test_events_tell_of_a_life(containerd: Containerd) -> None:
    with containerd.terminal("events") as events:
        # nothing says when the subscription stands: ask until the first event is heard
        eventually(
            lambda: containerd.run(IMAGE, "early", "true").returncode == 0 and events.shows("/tasks/exit"),
            "no event was ever told",
        )
        containerd.succeed(*containerd.run_words("--detach", IMAGE, "told", "sleep", "1000"))
        containerd.succeed("task", "exec", "--exec-id", "seven", "told", "true")
        containerd.succeed("task", "pause", "told")
        containerd.succeed("task", "resume", "told")
        containerd.succeed("task", "kill", "--signal", "SIGKILL", "told")
        eventually(lambda: events.shows('"exit_status":137'), "its end was never told")
        # but not "delete": containerd 2's shim often ends before it has told of it, whatever the runtime
        for kind in ("create", "start", "exec-added", "exec-started", "paused", "resumed", "exit"):
            told = f'/tasks/{kind} {{"container_id":"told"'
            eventually(partial(events.shows, told), f"never told: {told}")


def test_a_checkpoint_is_refused_and_harms_nothing(containerd: Containerd, sleeping: str) -> None:
    done = containerd.call("task", "checkpoint", sleeping)
    assert done.returncode != 0
    assert "checkpoint" in done.stderr or "criu" in done.stderr
    assert containerd.tasks() == {sleeping: "RUNNING"}


def test_namespaces_of_another_container_are_shared_if_asked_for(
    containerd: Containerd, sleeping: str
) -> None:
    pid = containerd.succeed("task", "ls").splitlines()[1].split()[1]
    flags = [
        word for kind in ("pid", "ipc", "uts") for word in ("--with-ns", f"{kind}:/proc/{pid}/ns/{kind}")
    ]
    seen = containerd.inside(
        *flags, first="cat /proc/1/cmdline | tr '\\0' ' '; echo", ipc="readlink /proc/self/ns/ipc"
    )
    assert seen["first"] == "sleep 1000 "
    assert seen["ipc"] == containerd.succeed(
        "task", "exec", "--exec-id", "six", sleeping, "readlink", "/proc/self/ns/ipc"
    )


def test_privileged_and_host_namespaces_are_granted(containerd: Containerd) -> None:
    seen = containerd.inside(
        "--privileged",
        "--net-host",
        caps="grep CapEff /proc/self/status",
        net="readlink /proc/self/ns/net",
        mounts="mount -t tmpfs none /tmp && echo yes",
    )
    assert int(seen["caps"].split()[1], 16) & 1 << 21  # CAP_SYS_ADMIN
    assert seen["net"] == containerd.room.namespaces(["net"])["net"]
    assert seen["mounts"] == "yes"


def test_the_cgroup_is_containerds_and_goes_with_the_task(containerd: Containerd, sleeping: str) -> None:
    path = containerd.succeed(
        "task", "exec", "--exec-id", "five", sleeping, "grep", "^0::", "/proc/self/cgroup"
    )
    # ctr gives no cgroup namespace, so the container sees the whole path
    assert path.endswith(f"/minicontainer-test/{sleeping}")
    assert [group for group in containerd.room.new_cgroups() if group.name == sleeping]
    containerd.remove(sleeping)
    assert not [group for group in containerd.room.new_cgroups() if group.name == sleeping]


def test_a_killed_first_process_is_noticed(containerd: Containerd, sleeping: str) -> None:
    pid = int(containerd.succeed("task", "ls").splitlines()[1].split()[1])
    containerd.room.run("kill", f"-{signal.SIGKILL.value}", str(pid))
    eventually(lambda: containerd.tasks()[sleeping] == "STOPPED", "the task never stopped")


def test_a_root_file_system_of_ones_own_needs_no_image(containerd: Containerd) -> None:
    rootfs = containerd.folder / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "bin/sh").write_bytes(Path("/usr/bin/busybox").read_bytes())
    (rootfs / "bin/sh").chmod(0o755)
    done = containerd.run("--rootfs", str(rootfs), "own", "/bin/sh", "-c", "echo $$")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.skipif(met("controller:cpu"), reason="where the controller is, the default is simply written")
def test_a_default_value_asks_for_nothing(containerd: Containerd) -> None:
    done = containerd.call(
        "run", "--rm", "--runc-binary", str(containerd.real_runtime), IMAGE, "shares", "echo", "hi"
    )
    if containerd.kind in recorded_deviations()["default-shares"]["peer"]:
        assert done.returncode == 1
        assert "cpu" in done.stderr
    else:
        assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr


@pytest.mark.skipif(met("controller:memory"), reason="where the controller is, the limit is kept")
def test_a_limit_that_cannot_be_kept_is_refused_by_name(containerd: Containerd) -> None:
    done = containerd.run("--memory-limit", str(64 << 20), IMAGE, "limited", "true")
    assert done.returncode == 1
    # the peers' words are about a file, which podman takes for a command that is not found
    words = "controller memory is not available" if containerd.kind == "ours" else "memory.max"
    assert words in done.stderr
    assert containerd.tasks() == {}


@pytest.mark.vm
@pytest.mark.requires("controller:memory", "controller:pids")
def test_metrics_and_limits_are_the_cgroups(containerd: Containerd) -> None:
    words = containerd.run_words(
        "--detach", "--memory-limit", str(64 << 20), IMAGE, "limited", "sleep", "1000"
    )
    containerd.succeed(*words)
    lines = [line.split() for line in containerd.succeed("task", "metrics", "limited").splitlines()]
    metrics = {line[0]: line[1] for line in lines if len(line) == 2}
    assert metrics["memory.usage_limit"] == str(64 << 20)
    assert int(metrics["pids.current"]) == 1
