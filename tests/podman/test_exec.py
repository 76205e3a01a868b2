"""`podman exec`: the second process of a container is like the first, unless it asks to differ."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.podman import NEEDS
from tests.podman.engine import IMAGE, Podman
from tests.runtime.runtimes import recorded_deviations
from tests.runtime.waiting import eventually

pytestmark = pytest.mark.requires(*NEEDS)

LIKE_THE_FIRST = {
    "caps": "grep Cap /proc/self/status",
    "secure": "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status",
    "namespaces": "readlink /proc/self/ns/*",
    "cgroup": "grep ^0:: /proc/self/cgroup",
    "limits": "grep -E 'open files|processes' /proc/self/limits",
    "umask": "umask",
    "oom": "cat /proc/self/oom_score_adj",
    "who": "id -u; id -g; id -G | tr ' ' '\\n' | sort -u",
    "where": "pwd",
    "environment": "env | grep -v -E '^(HOSTNAME|SHLVL|TERM|_)=' | sort",
}


@pytest.fixture(scope="module")
def shared(podman: Podman) -> Iterator[str]:
    """Give a container that only sleeps, with settings that an exec must meet again."""
    settings = [
        "--cap-drop",
        "all",
        "--cap-add",
        "chown,kill",
        "--security-opt",
        "no-new-privileges",
        "--umask",
        "0027",
        "--workdir",
        "/tmp",
        "--env",
        "FIRST=1",
        "--oom-score-adj",
        "777",
        "--ulimit",
        "nofile=512:512",
        "--ulimit",
        "nproc=2048:2048",
    ]
    script = "\n".join(f"{{ {line}\n}} > /tmp/{name} 2>&1" for name, line in LIKE_THE_FIRST.items())
    podman.started(
        "--name", "shared-exec", *settings, IMAGE, "sh", "-c", f"{script}\ntouch /tmp/ready; exec sleep 1000"
    )
    eventually(
        lambda: podman.call("exec", "shared-exec", "test", "-e", "/tmp/ready").returncode == 0, "never ready"
    )
    yield "shared-exec"
    podman.remove("shared-exec")


def test_exec_gets_what_the_first_process_has(podman: Podman, shared: str) -> None:
    first = podman.inside_running(shared, **{name: f"cat /tmp/{name}" for name in LIKE_THE_FIRST})
    second = podman.inside_running(shared, **LIKE_THE_FIRST)
    if podman.kind in recorded_deviations()["exec-forgets"]["peer"]:
        umask = "0022" if podman.version < (5,) else first["umask"]  # since 5 podman says it again
        assert (second.pop("umask"), second.pop("oom")) == (umask, "0")
        second |= {"umask": first["umask"], "oom": first["oom"]}
    assert second == first
    assert "NoNewPrivs:\t1" in first["secure"]
    assert first["oom"] == "777"
    assert first["where"] == "/tmp"


def test_exec_passes_the_streams_and_the_exit_code(podman: Podman, shared: str) -> None:
    done = podman.call("exec", "-i", shared, "sh", "-c", "cat; echo err >&2; exit 7", text="typed\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "typed\n", "err\n")
    assert podman.call("exec", shared, "sh", "-c", "kill -9 $$").returncode == 137


def test_exec_differs_where_it_is_told_to(podman: Podman, shared: str) -> None:
    seen = podman.inside_running(
        shared,
        "--user",
        "1000:2000",
        "--workdir",
        "/home",
        "--env",
        "SECOND=2",
        who="id",
        where="pwd",
        environment="echo $FIRST $SECOND $HOME",
    )
    assert seen["who"].startswith("uid=1000(bob) gid=2000(team)")
    assert seen["where"] == "/home"
    assert seen["environment"] == "1 2 /home"
    caps = podman.inside_running(shared, "--privileged", caps="grep CapEff /proc/self/status")["caps"]
    assert int(caps.split()[1], 16) > 0x21  # more than chown and kill


def test_exec_on_a_terminal_is_interactive(podman: Podman, shared: str) -> None:
    with podman.terminal("exec", "-it", shared, "sh") as terminal:
        terminal.type("stty size; tty; echo he$((1))re\n")
        shown = terminal.read_until("he1re")
        assert "33 77" in shown
        assert "/dev/pts/0" in shown
        terminal.type("exit 4\n")
        assert terminal.finish() == 4


def test_exec_in_the_background_goes_on_alone(podman: Podman, shared: str) -> None:
    podman.succeed("exec", "--detach", shared, "sh", "-c", "echo done > /tmp/background")
    eventually(
        lambda: podman.call("exec", shared, "cat", "/tmp/background").stdout == "done\n",
        "it never wrote its file",
    )


@pytest.mark.parametrize(
    ("flags", "command", "code"),
    [
        pytest.param([], ["nonexistent"], 127, id="not-in-path"),
        pytest.param([], ["/bin/nonexistent"], 127, id="no-such-file"),
        pytest.param([], ["/etc/not-a-program"], 126, id="not-executable"),
        pytest.param(["--workdir", "/nowhere"], ["true"], 127, id="no-such-folder"),
    ],
)
def test_an_exec_that_cannot_start_gives_podmans_code(
    podman: Podman, shared: str, flags: list[str], command: list[str], code: int
) -> None:
    done = podman.call("exec", *flags, shared, *command)
    assert done.returncode == code, done.stderr
    assert done.stderr
    assert podman.succeed("exec", shared, "echo", "unharmed") == "unharmed"


def test_exec_ends_with_its_container(podman: Podman) -> None:
    podman.started("--name", "ending", IMAGE, "sleep", "1000")
    with podman.terminal("exec", "-it", "ending", "sh") as terminal:
        terminal.type("echo in$((1))side\n")
        terminal.read_until("in1side")
        podman.succeed("stop", "--time", "0", "ending")
        assert terminal.finish() == 137
    podman.remove("ending")
