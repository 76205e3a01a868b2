"""`minicontainer run --memory --cpus --pids-limit` on a machine whose controllers all belong to cgroup v2.

Each limit is read back inside the container, then reached; what is told of it must be what the kernel did.

See cgroups(7), <Documentation/admin-guide/cgroup-v2.rst>; docker-run(1).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.explain.stories import STRACE, differences, printed, read_page, read_strace
from tests.runtime.runtimes import cgroup2_root

pytestmark = [
    pytest.mark.vm,
    pytest.mark.requires(
        *("root", "unified", "controller:memory", "controller:cpu", "controller:cpuset", "controller:pids")
    ),
]
BESIDE = Path(sys.executable).with_name("minicontainer")
# Not by a link: the launcher would have to ask readlink(1) where it lies, a process that tells no story.
COMMAND = str((BESIDE if BESIDE.exists() else Path(str(shutil.which("minicontainer")))).resolve())
TIMEOUT = 100
KILLED = re.compile(
    r"minicontainer: the kernel killed 1 process: the memory limit of 64 MiB was reached "
    r"\(memory\.events: oom [1-9]\d*, oom_kill 1\)\n"
)
GREEDY = ("tail", "/dev/zero")  # one line without an end, all of it kept


@pytest.fixture(scope="module", autouse=True)
def _image() -> None:
    """Let the image be there: making it at its first use is told on standard error."""
    subprocess.run([COMMAND, "run", "busybox", "true"], check=True, timeout=TIMEOUT)


def mini(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a container to its end."""
    return subprocess.run(
        [COMMAND, "run", *words], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def inside(script: str, *options: str) -> str:
    """Give what a shell says in a container with these options, beginning among its cgroup's files."""
    done = mini(*options, "busybox", "sh", "-c", f"cd /sys/fs/cgroup && {script}")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def groups_of_ours() -> list[str]:
    return [path.name for path in cgroup2_root().iterdir() if path.name.startswith("minicontainer-")]


@pytest.mark.parametrize(
    "words", [GREEDY, ("sh", "-c", "x=a; while :; do x=$x$x; done")], ids=["tail", "shell"]
)
def test_who_takes_more_than_its_memory_is_killed_and_the_kernels_count_is_told(
    words: tuple[str, ...],
) -> None:
    done = mini("--memory", "64m", "busybox", *words)
    assert (done.returncode, done.stdout) == (137, "")
    assert KILLED.fullmatch(done.stderr), done.stderr
    assert groups_of_ours() == []


def test_a_program_whose_child_was_killed_goes_on_and_the_kill_is_told() -> None:
    done = mini("--memory", "64m", "busybox", "sh", "-c", f"{' '.join(GREEDY)}; echo child $?")
    assert (done.returncode, done.stdout) == (0, "child 137\n")
    assert KILLED.search(done.stderr), done.stderr


def test_on_a_terminal_the_kill_is_told_too() -> None:
    done = mini("-t", "--memory", "64m", "busybox", *GREEDY)
    assert done.returncode == 137
    assert KILLED.fullmatch(done.stderr), done.stderr


def test_who_stays_below_the_limit_is_told_nothing() -> None:
    assert inside("head -c 1000000 /dev/zero | tail -c 1", "--memory", "64m") == "\0"


def test_six_megabytes_are_enough_to_start() -> None:
    assert inside("cat memory.max", "--memory", "6m") == "6291456\n"


def test_swap_is_what_is_left_of_the_sum() -> None:
    asked = {(): "67108864", ("64m",): "0", ("96m",): "33554432", ("-1",): "max"}
    for total, expected in asked.items():
        options = ["--memory", "64m", *(["--memory-swap", *total] if total else [])]
        assert inside("cat memory.swap.max", *options) == f"{expected}\n", total


def test_every_limit_reaches_its_file() -> None:
    options = ("-m", "64m", "--cpus", "0.5", "-c", "512", "--cpuset-cpus", "0", "--pids-limit", "20")
    found = inside("cat memory.max cpu.max cpu.weight cpuset.cpus pids.max", *options)
    assert found.splitlines() == ["67108864", "50000 100000", "59", "0", "20"]


def test_no_limit_is_no_limit() -> None:
    options = ("-m", "0", "--memory-swap", "-1", "--cpus", "0", "--pids-limit", "-1")
    assert inside("cat memory.max cpu.max pids.max", *options).splitlines() == ["max", "max 100000", "max"]


def test_a_spinner_is_held_back() -> None:
    script = "while grep -q 'nr_throttled 0' cpu.stat; do :; done; grep nr_throttled cpu.stat"
    name, count = inside(script, "--cpus", "0.05").split()
    assert name == "nr_throttled"
    assert int(count) > 0


def test_a_fork_bomb_stays_small() -> None:
    bomb = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do (sleep 1000 &) || true; done 2>/dev/null"
    peak, word, refused = inside(f"{bomb}; cat pids.peak; cat pids.events", "--pids-limit", "8").split()
    assert (peak, word) == ("8", "max")
    assert int(refused) > 0
    assert groups_of_ours() == []


def test_controllers_are_handed_down_from_the_root() -> None:
    control = cgroup2_root() / "cgroup.subtree_control"
    control.write_text("-cpuset")
    try:
        assert inside("cat cpuset.cpus", "--cpuset-cpus", "0") == "0\n"
        assert "cpuset" in control.read_text().split()
    finally:
        control.write_text("+cpuset")


def test_a_caller_in_the_root_group_can_limit_too() -> None:
    enter = f'echo $$ > {cgroup2_root()}/cgroup.procs && exec "$@"'
    words = [COMMAND, "run", "--memory", "64m", "busybox", "cat", "/sys/fs/cgroup/memory.max"]
    done = subprocess.run(
        ["sh", "-c", enter, "sh", *words], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "67108864\n", "")


@pytest.mark.requires("tool:strace")
def test_explain_tells_of_limits_what_strace_saw(tmp_path: Path) -> None:
    assert mini("busybox", "true").returncode == 0  # what is made once is there
    options = "--explain --memory 64m --cpus 0.5 --pids-limit 20"
    words = [COMMAND, "run", *options.split(), "busybox", "true"]
    done = subprocess.run(
        [*STRACE, "-o", tmp_path / "log", *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told, seen = read_page(done.stderr), printed(read_strace(tmp_path / "log"))
    assert differences(told, seen) == []
    for name in ("memory.swap.max", "memory.max", "cpu.max", "pids.max"):
        assert f">/{name}, " in done.stderr
