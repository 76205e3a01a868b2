"""`minicontainer run`, as a person uses it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minicontainer.image.store.place import default_root
from tests.needs import met
from tests.runtime.bundles import make_lower
from tests.runtime.runtimes import cgroup2_root
from tests.runtime.waiting import eventually

COMMAND = Path(sys.executable).parent / "minicontainer"
RUNTIME = Path(sys.executable).parent / "minicontainer-runtime"
TIMEOUT = 60
BUNDLES = Path("/run/minicontainer/bundles")
pytestmark = pytest.mark.requires("root", "cgroup2")


def mini(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *words], capture_output=True, text=True, timeout=TIMEOUT, check=False, **options
    )  # type: ignore[call-overload]


def output(*words: str) -> str:
    done = mini("run", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def _image() -> None:
    """Let the image be there: making it at its first use is told on standard error."""
    subprocess.run([COMMAND, "run", "busybox", "true"], check=True, timeout=TIMEOUT)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "root file system"
    yield make_lower(made)
    shutil.rmtree(made)


def test_the_first_container_says_hello() -> None:
    assert output("busybox", "echo", "hello") == "hello\n"


def test_the_exit_code_is_the_programs() -> None:
    assert mini("run", "busybox", "sh", "-c", "exit 7").returncode == 7


def test_a_program_that_a_signal_ended_has_128_and_its_number() -> None:
    name = f"signalled-{os.getpid()}"
    words = [COMMAND, "run", "--name", name, "busybox", "sh", "-c", "echo started; sleep 1000"]
    with subprocess.Popen(words, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        subprocess.run([RUNTIME, "kill", name, "KILL"], check=True, timeout=TIMEOUT)
        assert process.wait(TIMEOUT) == 137


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["busybox", "/no/such"], 127, "no such file or directory"),
        (["busybox", "no-such"], 127, "executable file not found in $PATH"),
        (["busybox", "/etc"], 126, "permission denied"),
        (["NoSuch/Image", "true"], 125, "repository name (Image) must be lowercase"),
        ([], 125, "no image is named\nhint: "),
        (["--user", "bob", "busybox"], 125, "unable to find user bob: no matching entries in passwd file"),
        (["--name", "a/b", "busybox"], 125, "is not a name for a container"),
        (["--rootfs", "/no/such", "sh"], 125, "--rootfs /no/such: No such file or directory"),
        (["--rootfs", "/etc/passwd", "sh"], 125, "Not a directory"),
        (["-m", "lots", "busybox"], 125, 'invalid argument "lots" for "-m, --memory" flag: invalid size:'),
        (["--memory", "5m", "busybox"], 125, "Minimum memory limit allowed is 6MB"),
        (["--cpus", "10000", "busybox"], 125, "range of CPUs is from 0.01 to "),
    ],
)
def test_a_mistake_is_said_in_one_line(words: list[str], code: int, said: str) -> None:
    done = mini("run", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("minicontainer: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_asked_for_is_given() -> None:
    script = "hostname; id -u; id -g; pwd; echo $A $B"
    words = [
        "--hostname",
        "web",
        "-u",
        "1000:50",
        "-w",
        "/tmp",
        "-e",
        "A=1",
        "-eB=2",
        "busybox",
        "sh",
        "-c",
        script,
    ]
    assert output(*words).split() == ["web", "1000", "50", "/tmp", "1", "2"]


def test_the_network_is_a_loopback_device_and_nothing_else() -> None:
    listed = output("busybox", "sh", "-c", "ip -o link; ip -o addr show lo")
    assert [line.split()[1] for line in listed.splitlines() if "link/" in line] == ["lo:"]
    assert "127.0.0.1/8" in listed


def test_standard_input_reaches_the_program() -> None:
    assert mini("run", "-i", "busybox", "cat", input="typed\n").stdout == "typed\n"


def test_without_i_standard_input_is_left_to_whoever_reads_next() -> None:
    script = f"{COMMAND} run busybox cat; cat"
    done = subprocess.run(["sh", "-c", script], input="typed\n", capture_output=True, text=True, check=True)
    assert done.stdout == "typed\n"
    closed = subprocess.run(["sh", "-c", f"{COMMAND} run busybox ls -l /proc/self/fd/0 <&-"],
                            capture_output=True, text=True, check=True)  # fmt: skip
    assert closed.stdout.endswith("-> /dev/null\n")


@pytest.mark.parametrize(
    ("words", "controller"),
    [(["--memory", "64m"], "memory"), (["--cpus", "0.5"], "cpu"), (["--pids-limit", "50"], "pids")],
)
def test_a_limit_is_given_or_its_missing_controller_is_named(words: list[str], controller: str) -> None:
    done = mini("run", *words, "busybox", "echo", "hello")
    if met(f"controller:{controller}"):
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    else:
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr.startswith(
            f"minicontainer: controller {controller} is not available in cgroup v2\n"
        )
        assert "hint: " in done.stderr


def test_what_has_no_limit_needs_no_controller() -> None:
    words = ["--memory", "0", "--memory-swap", "-1", "--cpus", "0", "--pids-limit", "-1", "-c", "1024"]
    assert output(*words, "busybox", "echo", "hello") == "hello\n"


def test_changes_do_not_reach_the_image() -> None:
    assert output("busybox", "sh", "-c", "echo x >/etc/changed && cat /etc/changed") == "x\n"
    assert output("busybox", "sh", "-c", "ls /etc/changed 2>&1 || true").startswith("ls: ")
    assert not list(Path(default_root(), "layers").glob("*/diff/etc/changed"))


def test_a_read_only_root_cannot_be_written_to() -> None:
    assert "Read-only file system" in output("--read-only", "busybox", "sh", "-c", "touch /x 2>&1 || true")


def test_a_directory_can_be_the_root_and_is_changed_itself(directory: Path) -> None:
    assert output("--rootfs", str(directory), "sh", "-c", "echo x >/made; cat /made") == "x\n"
    assert (directory / "made").read_text() == "x\n"


def test_a_directory_can_be_named_from_here(directory: Path) -> None:
    done = mini("run", "--rootfs", directory.name, "--read-only", "echo", "here", cwd=directory.parent)
    assert (done.stdout, done.returncode) == ("here\n", 0)


def test_a_terminal_is_one_inside() -> None:
    done = mini("run", "-t", "busybox", "sh", "-c", "test -t 0 && tty")
    assert (done.stdout.strip(), done.returncode) == ("/dev/pts/0", 0)


def test_nothing_is_left_and_the_bundle_is_readable_while_it_runs() -> None:
    name = f"left-{os.getpid()}"
    script = "echo started; read line"
    with subprocess.Popen([COMMAND, "run", "-i", "--name", name, "busybox", "sh", "-c", script], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "started\n"
        assert '"ociVersion"' in (BUNDLES / name / "config.json").read_text()
        assert (cgroup2_root() / f"minicontainer-{name}").is_dir()
        assert mini("run", "--name", name, "busybox", "true").returncode == 125
        process.communicate("\n", TIMEOUT)
    assert not (BUNDLES / name).exists()
    assert not (cgroup2_root() / f"minicontainer-{name}").exists()


def test_after_kill_9_the_next_run_and_delete_clear_everything() -> None:
    name = f"killed-{os.getpid()}"
    command = [COMMAND, "run", "--name", name, "busybox", "sh", "-c", "echo started; sleep 1000"]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
    try:
        with process:
            assert process.stdout
            assert process.stdout.readline() == "started\n"
            process.send_signal(signal.SIGKILL)
            process.wait(TIMEOUT)
            subprocess.run([RUNTIME, "delete", "--force", name], check=True, timeout=TIMEOUT)
        assert output("busybox", "true") == ""
        assert not (BUNDLES / name).exists()
    finally:
        shutil.rmtree(BUNDLES / name, ignore_errors=True)
    assert "/run/minicontainer/scratch" not in Path("/proc/self/mountinfo").read_text()


def test_signals_reach_the_program() -> None:
    script = "trap 'echo got it; exit 5' TERM; echo started; while :; do sleep 0.01; done"
    with subprocess.Popen(
        [COMMAND, "run", "busybox", "sh", "-c", script], text=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=TIMEOUT)[0] == "got it\n"
        assert process.returncode == 5


def test_explain_tells_a_story_that_was_recorded_before(tmp_path: Path) -> None:
    story = tmp_path / "story"
    story.write_text(
        '{"kind":"called","name":"setsid","arguments":[],"result":null,"errno":0,"pid":1,"role":"init","at":1}\n'
    )
    done = mini("explain", str(story))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "  setsid()")
    assert mini("explain", str(tmp_path / "none")).returncode == 1
    story.write_text("nonsense\n")
    assert mini("explain", str(story)).stderr.startswith("minicontainer: line 1: not an event")


def test_eight_at_once_do_not_disturb_each_other(rounds: Callable[[int, int], int]) -> None:
    commands = [[COMMAND, "run", "busybox", "echo", str(number)] for number in range(8)]
    for _ in range(rounds(5, 100)):
        processes = [subprocess.Popen(command, text=True, stdout=subprocess.PIPE) for command in commands]
        said = [process.communicate(timeout=TIMEOUT)[0] for process in processes]
        assert said == [f"{number}\n" for number in range(8)]


def test_another_user_is_told_that_root_is_needed() -> None:
    done = mini("run", "busybox", "true", user=65534, group=65534, extra_groups=[])
    assert done.returncode == 125
    assert "needs root" in done.stderr or "Permission denied" in done.stderr


def test_waiting_is_not_needed_for_the_kernel_to_forget_the_mounts() -> None:
    name = f"mounts-{uuid.uuid4().hex[:8]}"
    assert output("--name", name, "busybox", "true") == ""
    eventually(lambda: name not in Path("/proc/self/mountinfo").read_text(), "a mount was left")
