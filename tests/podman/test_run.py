"""`podman run` in the foreground: streams, terminals, exit codes, and the words of failures."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tempfile

import pytest

from tests.podman import NEEDS
from tests.podman.engine import IMAGE, Podman

pytestmark = pytest.mark.requires(*NEEDS)


def test_run_passes_the_streams_and_the_exit_code(podman: Podman) -> None:
    assert podman.succeed("run", "--rm", "-i", IMAGE, "cat", text="typed\nlines\n") == "typed\nlines"
    done = podman.call("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert podman.call("run", "--rm", "--init", IMAGE, "sh", "-c", "kill -9 $$").returncode == 137


def test_run_ends_a_pipe_that_nobody_reads(podman: Podman) -> None:
    assert podman.succeed("run", "--rm", IMAGE, "sh", "-c", "yes | head -n 1") == "y"


def test_run_on_a_terminal_is_interactive(podman: Podman) -> None:
    with podman.terminal("run", "--rm", "-it", IMAGE, "sh") as terminal:
        terminal.type("stty size; tty; test -t 0 && test -t 1 && echo is$((1))terminal\n")
        shown = terminal.read_until("is1terminal")
        assert "33 77" in shown
        assert "/dev/pts/0" in shown
        terminal.type(
            "ls -l /proc/self/fd/0 /dev/console | wc -l; "
            "stat -c %a:%u /dev/pts/0 /dev/console; echo d$((1))ne\n"
        )
        assert "620:0" in terminal.read_until("d1ne")
        terminal.type("echo rea$((1))y; cat\n")
        terminal.read_until("rea1y\r\n")
        terminal.type("typed\n")
        terminal.read_until("typed\r\ntyped")  # by the terminal, then by cat, which now surely runs
        terminal.type("\x03")
        terminal.read_until("/ # ")  # the prompt: the interrupt has ended cat, and the shell goes on
        terminal.type("exit 9\n")
        assert terminal.finish() == 9


def test_run_on_a_terminal_follows_its_size(podman: Podman) -> None:
    with podman.terminal(
        "run",
        "--rm",
        "-it",
        IMAGE,
        "sh",
        "-c",
        "echo rea$((1))y; trap 'stty size' WINCH; "
        "while ! stty size | grep -q '11 22'; do sleep 0.05; done; echo follow$((1))d",
    ) as terminal:
        terminal.read_until("rea1y")
        terminal.resize(11, 22)
        terminal.read_until("follow1d")
        assert terminal.finish() == 0


def test_a_terminal_belongs_to_the_user_of_the_process(podman: Podman) -> None:
    with podman.terminal(
        "run", "--rm", "-it", "--user", "bob", IMAGE, "sh", "-c", "stat -c %U:%a $(tty)"
    ) as terminal:
        assert terminal.finish() == 0
        assert "bob:620" in terminal.shown


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        pytest.param(["nonexistent"], 127, "not found in $path", id="not-in-path"),
        pytest.param(["/bin/nonexistent"], 127, "no such file or directory", id="no-such-file"),
        pytest.param(["/etc/not-a-program"], 126, "permission denied", id="not-executable"),
        pytest.param(["/etc"], 126, "", id="a-folder"),
    ],
)
def test_a_program_that_cannot_start_gives_podmans_code(
    podman: Podman, command: list[str], code: int, words: str
) -> None:
    done = podman.call("run", "--rm", "--name", "stillborn", IMAGE, *command)
    assert done.returncode == code, done.stderr
    assert words in done.stderr.lower()
    assert len(done.stderr.strip().splitlines()) == 1
    assert podman.call("container", "exists", "stillborn").returncode == 1


def test_podmans_own_errors_give_125(podman: Podman) -> None:
    assert podman.call("run", "--rm", "--no-such-flag", IMAGE, "true").returncode == 125
    assert podman.call("run", "--rm", "--sysctl", "kernel.hostname=x", IMAGE, "true").returncode == 125


def test_a_container_that_could_not_start_is_removed_like_any_other(podman: Podman) -> None:
    assert podman.call("run", "--name", "stillborn", IMAGE, "nonexistent").returncode == 127
    assert podman.inspect("stillborn", ".State.Status") in {"created", "initialized"}
    podman.succeed("rm", "stillborn")


def test_the_images_settings_reach_the_process(podman: Podman) -> None:
    with tempfile.NamedTemporaryFile("rb") as layer:
        podman.succeed(
            "export", "--output", layer.name, podman.succeed("create", "--name", "origin", IMAGE, "true")
        )
        podman.remove("origin")
        settings = [
            "WORKDIR /w/orkdir",
            "USER bob",
            "ENV FROM_IMAGE=yes",
            'ENTRYPOINT ["sh","-c"]',
            'CMD ["pwd; id -un; echo $FROM_IMAGE $HOME"]',
        ]
        changes = [word for setting in settings for word in ("--change", setting)]
        podman.succeed("import", "--quiet", *changes, layer.name, "configured")
    assert podman.succeed("run", "--rm", "configured") == "/w/orkdir\nbob\nyes /home"
    assert podman.succeed("run", "--rm", "--workdir", "/tmp", "configured", "pwd") == "/tmp"
    assert podman.succeed("run", "--rm", "--entrypoint", "echo", "configured", "a", "b") == "a b"
    podman.succeed("rmi", "configured")


MOVE = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def test_descriptors_pass_only_when_preserved(podman: Podman) -> None:
    with tempfile.TemporaryFile("w+") as first, tempfile.TemporaryFile("w+") as second:
        for file, text in ((first, "three\n"), (second, "four\n")):
            file.write(text)
            file.seek(0)
        high = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 20) for file in (first, second)]
        command = podman.argv(
            "run", "--rm", "--preserve-fds", "2", IMAGE, "sh", "-c", "cat <&3; cat <&4; ls /proc/self/fd"
        )
        mover = [sys.executable, "-c", MOVE, *map(str, high)]
        done = podman.call_argv([*mover, *command], pass_fds=high)
        for number in high:
            os.close(number)
    assert done.stdout.split() == ["three", "four", "0", "1", "2", "3", "4", "5"]  # 5 is ls's own
    assert podman.succeed("run", "--rm", IMAGE, "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]


def test_hooks_run_at_their_stages_with_the_state(podman: Podman) -> None:
    folder = podman.folder / "hooks.d"
    folder.mkdir()
    stages = ["createRuntime", "createContainer", "poststart", "poststop"]
    if podman.version < (5,):
        stages.insert(0, "prestart")  # which the newer ones know no more
    for stage in stages:
        command = f"cat > {folder}/{stage}.state; echo {stage} >> {folder}/order"
        hook = {"path": "/bin/sh", "args": ["sh", "-c", command]}
        when = {"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": [stage]}
        (folder / f"{stage}.json").write_text(json.dumps(when))
    assert podman.succeed("--hooks-dir", str(folder), "run", "--rm", IMAGE, "echo", "ran") == "ran"
    assert (folder / "order").read_text().split() == stages
    states = {stage: json.loads((folder / f"{stage}.state").read_text()) for stage in stages}
    assert states["poststop"]["status"] == "stopped"
    assert states["createRuntime"]["pid"] > 0
    assert all(state["bundle"].startswith(str(podman.folder)) for state in states.values())


def test_podman_info_knows_the_runtime(podman: Podman) -> None:
    assert podman.succeed("info", "--format", "{{.Host.OCIRuntime.Path}}") == str(podman.runtime)
    assert podman.succeed("info", "--format", "{{.Host.OCIRuntime.Version}}") != ""


def test_debug_output_of_the_runtime_disturbs_nothing(podman: Podman) -> None:
    assert podman.succeed("--runtime-flag", "debug", "run", "--rm", IMAGE, "echo", "quiet") == "quiet"
