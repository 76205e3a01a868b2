"""explain must not lie: what is told of a real run is what strace saw of it, call by call.

Both forms of the story are held to it: what `minicontainer run --explain` prints, and what
`minicontainer-runtime --trace-fd` writes. Every call of `tests.explain.calls.WATCHED` counts, in every
process, from the command's first call to its end, in the container's processes up to the execve of the
program.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.explain.stories import STRACE, Process, differences, printed, read_page, read_strace, read_trace
from tests.runtime.bundles import Bundle, make_lower
from tests.runtime.waiting import eventually

pytestmark = pytest.mark.requires("root", "tool:strace", "cgroup2")
COMMANDS = Path(sys.executable).parent
TIMEOUT = 60
Edit = Callable[[Bundle], object]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that the users of a user namespace may pass through."""
    made = tmp_path_factory.mktemp("story")
    for above in (made, *made.parents[:2]):
        above.chmod(0o755)
    return made


def run_under_strace(log: Path, *command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STRACE, "-o", log, *command],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        **options,
    )  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def warm() -> None:
    """Let what is made once (the image, the caches, the interpreter's view) be there."""
    subprocess.run([COMMANDS / "minicontainer", "run", "busybox", "true"], check=True, timeout=TIMEOUT)


# --- minicontainer run --explain ---------------------------------------------------------------

RUNS = {
    "plain": ["busybox", "true"],
    "failing": ["busybox", "sh", "-c", "exit 3"],
    "another user": ["--user", "1000:50", "--workdir", "/tmp", "--hostname", "web", "busybox", "id"],
    "read-only": ["--read-only", "--env", "A=1", "busybox", "true"],
    "no such program": ["busybox", "/no/such/program"],
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())
@pytest.mark.usefixtures("warm")
def test_what_explain_prints_is_what_strace_saw(folder: Path, options: list[str]) -> None:
    done = run_under_strace(folder / "log", COMMANDS / "minicontainer", "run", "--explain", *options)
    page = done.stderr.split("\nminicontainer: ")[0]
    told, seen = read_page(page), printed(read_strace(folder / "log"))
    assert differences(told, seen) == []
    assert_it_tells_of_a_container(told)


def test_the_story_up_to_execve_stands_before_the_programs_output(folder: Path, warm: None) -> None:
    both = folder / "both"
    with both.open("w") as output:
        command = [COMMANDS / "minicontainer", "run", "--explain", "busybox", "echo", "the program speaks"]
        subprocess.run(command, stdout=output, stderr=output, check=True, timeout=TIMEOUT)  # fmt: skip
    before, _, after = both.read_text().partition("\nthe program speaks\n")
    assert "execve(" in before.splitlines()[-1]
    assert "unlinkat(" in after
    assert "execve(" not in after


# --- minicontainer-runtime --trace-fd ----------------------------------------------------------


def unprivileged(bundle: Bundle) -> None:
    """Everything that is decided about a process, at once."""
    bundle.process.update(
        rlimits=[{"type": "RLIMIT_NOFILE", "hard": 512, "soft": 256}],
        oomScoreAdj=100,
        user={"uid": 1000, "gid": 1000, "additionalGids": [50], "umask": 0o77},
        scheduler={"policy": "SCHED_BATCH", "nice": 5},
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4},
    )
    bundle.config["domainname"] = "example.org"
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.linux["personality"] = {"domain": "LINUX"}


def filtered(bundle: Bundle) -> None:
    """A seccomp filter of its own."""
    rule = {"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}


def hooked(bundle: Bundle) -> None:
    """A program at each of the six points."""
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    bundle.config["hooks"] = {kind: [{"path": "/bin/true", "env": ["A=1"]}] for kind in kinds}


def other_clock(bundle: Bundle) -> None:
    """A time namespace, which needs a process in between."""
    bundle.namespace("time").linux["timeOffsets"] = {"monotonic": {"secs": 100, "nanosecs": 0}}


def mounts(bundle: Bundle) -> None:
    """Volumes and a read-only root."""
    bundle.mounts.append(
        {"destination": "/data", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}
    )
    bundle.mounts.append(
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    )
    bundle.config["root"]["readonly"] = True


def copied_up(bundle: Bundle) -> None:
    """A directory with a file of two names, a link and a directory, whose copy is laid over it."""
    top = bundle.rootfs / "srv"
    (top / "below").mkdir(parents=True)
    (top / "below/file").write_text("content")
    (top / "other name").hardlink_to(top / "below/file")
    (top / "link").symlink_to("below")
    os.mkfifo(top / "pipe")
    os.setxattr(top / "below/file", "trusted.mark", b"1")
    bundle.mounts.append(
        {"destination": "/srv", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    )


def more_devices(bundle: Bundle) -> None:
    """A device with an owner, and a /dev of the image's own with a wrong ptmx in it."""
    device = {
        "path": "/dev/fuse",
        "type": "c",
        "major": 10,
        "minor": 229,
        "fileMode": 0o600,
        "uid": 7,
        "gid": 8,
    }
    bundle.without_mount("/dev").linux["devices"] = [device]
    (bundle.rootfs / "dev/ptmx").symlink_to("/dev/null")
    (bundle.rootfs / "dev/console").touch()


def in_a_terminal(bundle: Bundle) -> None:
    """A terminal with a size."""
    bundle.process.update(terminal=True, consoleSize={"height": 20, "width": 90})


def joined(bundle: Bundle) -> None:
    """Namespaces that are there already."""
    bundle.namespace("network", "/proc/self/ns/net").namespace("ipc", "/proc/self/ns/ipc")


BUNDLES: dict[str, Edit] = {
    "plain": lambda bundle: bundle,
    "a process without rights": unprivileged,
    "ambient capabilities": lambda bundle: bundle.capabilities("NET_BIND_SERVICE", "KILL", ambient=True),
    "seccomp": filtered,
    "hooks": hooked,
    "mounts": mounts,
    "tmpcopyup": copied_up,
    "devices": more_devices,
    "a terminal": in_a_terminal,
    "joined namespaces": joined,
    "a cgroup namespace": lambda bundle: bundle.namespace("cgroup"),
    "a user namespace": lambda bundle: bundle.map_users(),
    "a time namespace": other_clock,
    "the host's PID namespace": lambda bundle: bundle.without_namespace("pid"),
    "a program that is not there": lambda bundle: bundle.args("/no/such/program"),
}


def trace_of_run(folder: Path, edit: Edit) -> tuple[list[Process], list[Process]]:
    """Run a bundle; return what was told and what strace saw."""
    bundle = Bundle(folder / "bundle", make_lower(folder / "lower"))
    edit(bundle)
    bundle.save()
    trace = os.open(folder / "trace", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    try:
        run_under_strace(
            folder / "log", COMMANDS / "minicontainer-runtime", "--root", str(folder / "state"),
            "--trace-fd", str(trace), "run", "--bundle", str(bundle.path), bundle.id, pass_fds=[trace],
        )  # fmt: skip
    finally:
        os.close(trace)
    return read_trace((folder / "trace").read_text()), read_strace(folder / "log", notes=[str(folder)])


@pytest.mark.parametrize("edit", BUNDLES.values(), ids=BUNDLES.keys())
@pytest.mark.usefixtures("warm")
def test_what_is_written_to_the_trace_file_is_what_strace_saw(folder: Path, edit: Edit) -> None:
    told, seen = trace_of_run(folder, edit)
    assert differences(told, seen) == []
    assert_it_tells_of_a_container(told)


LIVES: dict[str, Edit] = {
    "plain": lambda bundle: bundle,
    "a user namespace": lambda bundle: bundle.map_users().namespace("cgroup"),
}


@pytest.mark.parametrize("edit", LIVES.values(), ids=LIVES.keys())
@pytest.mark.usefixtures("warm")
def test_every_command_of_a_containers_life_is_told_truly(folder: Path, edit: Edit) -> None:
    bundle = Bundle(folder / "bundle", make_lower(folder / "lower")).args("sleep", "100")
    edit(bundle)
    bundle.save()
    fuse = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
    (folder / "limits").write_text(json.dumps({"devices": [fuse], "unified": {"cgroup.max.depth": "5"}}))
    life = {
        "start": ["start", bundle.id],
        "exec": ["exec", bundle.id, "true"],
        "exec as another": ["exec", "--tty", "--user", "5:6", "--cap", "CAP_KILL", bundle.id, "true"],
        "update": ["update", "--resources", str(folder / "limits"), bundle.id],
        "pause": ["pause", bundle.id],
        "resume": ["resume", bundle.id],
        "kill": ["kill", bundle.id, "KILL"],
        "delete": ["delete", "--force", bundle.id],
    }
    # strace stays with the container's process from `create` to its end, and so does the trace file.
    with traced(folder, "create", ["create", "--bundle", str(bundle.path), bundle.id]) as whole_life:
        try:
            eventually(lambda: status(folder, bundle.id) == "created", "it was never created")
            for name, words in life.items():
                with traced(folder, name, words) as command:
                    assert (name, command.wait(TIMEOUT)) == (name, 0)
        finally:
            runtime(folder, "delete", "--force", bundle.id)
            whole_life.wait(TIMEOUT)
    for name in ("create", *life):
        told = read_trace((folder / name / "trace").read_text())
        assert (name, differences(told, read_strace(folder / name / "log", notes=[str(folder)]))) == (
            name,
            [],
        )


@pytest.mark.parametrize("preserved", [0, 1], ids=["", "though it is among the preserved ones"])
@pytest.mark.usefixtures("warm")
def test_no_program_ever_sees_the_trace_file(folder: Path, preserved: int) -> None:
    """Neither the container's program nor that of exec nor a hook."""
    listing = "ls -l /proc/self/fd; read line"
    bundle = Bundle(folder / "bundle", make_lower(folder / "lower")).shell(listing)
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"ls -l /proc/self/fd >{folder}/of-the-hook"]}
    bundle.config["hooks"] = {"createRuntime": [hook]}
    bundle.save()
    command = told_to(folder / "the-trace", folder, preserved)
    run = [*command("run"), "--bundle", bundle.path, bundle.id]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(run, text=True, **streams) as process:  # type: ignore[call-overload]
        eventually(lambda: status(folder, bundle.id) == "running", "it never ran")
        visit = [*command("exec"), bundle.id, "ls", "-l", "/proc/self/fd"]
        visited = subprocess.check_output(visit, text=True, timeout=TIMEOUT)
        seen, _ = process.communicate("\n", TIMEOUT)
    for lists in (seen, visited, (folder / "of-the-hook").read_text()):
        assert " 1 -> " in lists
        assert "the-trace" not in lists
    assert [event for event in (folder / "the-trace").read_text().splitlines() if "execve" in event]


@pytest.mark.parametrize("number", ["99", "x", "-1", "99999999999", "0"])
def test_a_trace_file_that_cannot_be_written_is_an_error(number: str) -> None:
    command = [COMMANDS / "minicontainer-runtime", "--trace-fd", number, "list"]
    with Path("/dev/null").open("rb") as reading:
        done = subprocess.run(command, stdin=reading, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f'"{number}" is not a descriptor that is open for writing' in done.stderr
    assert "Traceback" not in done.stderr


def told_to(trace: Path, folder: Path, preserved: int) -> Callable[[str], list[str | Path]]:
    """Give the beginning of the runtime's command line; descriptor 3 is the trace file."""
    shell = ["sh", "-c", 'exec "$@" 3>>"$0"', trace]
    begin = [*shell, COMMANDS / "minicontainer-runtime", "--root", folder / "state", "--trace-fd", "3"]
    return lambda command: [*begin, command, "--preserve-fds", str(preserved)]


@contextlib.contextmanager
def traced(folder: Path, name: str, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command of the runtime under strace and with a trace file, its output in a file."""
    (folder / name).mkdir()
    with (folder / name / "trace").open("ab") as trace, (folder / name / "output").open("wb") as output:
        command = [
            COMMANDS / "minicontainer-runtime",
            "--root",
            folder / "state",
            "--trace-fd",
            str(trace.fileno()),
        ]
        with subprocess.Popen(
            [*STRACE, "-o", folder / name / "log", *command, *words],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[trace.fileno()],
        ) as process:  # fmt: skip
            yield process


def runtime(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call the runtime, unwatched."""
    command = [COMMANDS / "minicontainer-runtime", "--root", folder / "state", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)


def status(folder: Path, container: str) -> str:
    """Give the status of a container, or nothing where there is none."""
    done = runtime(folder, "state", container)
    return str(json.loads(done.stdout)["status"]) if done.returncode == 0 else ""


def assert_it_tells_of_a_container(told: list[Process]) -> None:
    """Two equal lists could both be empty: these calls are in every story of a container."""
    names = {call.name for process in told for call in process.calls}
    assert {
        "clone3",
        "move_mount",
        "fsopen",
        "pivot_root",
        "umount2",
        "capset",
        "prctl",
        "setresuid",
    } <= names


@pytest.mark.usefixtures("warm")
def test_a_call_that_the_runtime_hides_is_found(folder: Path) -> None:
    """The real story without one of its lines is not true any more, whichever line that is."""
    told, seen = trace_of_run(folder, lambda bundle: bundle)
    assert differences(told, seen) == []
    for process in told:
        for number in range(0, len(process.calls), 7):
            whole = process.calls
            process.calls = whole[:number] + whole[number + 1 :]
            # Of two equal neighbours strace cannot tell which was left out, but that one was.
            assert differences(told, seen) != []
            process.calls = whole
