"""The contract with whoever calls: descriptors, pid file, parents, environment, log; nothing between them.

Implements: what podman's conmon, containerd's shim and cri-o rely on; sd_listen_fds(3).
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts
from tests.runtime.test_process import status_field
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

LIST_DESCRIPTORS = "for f in /proc/$$/fd/*; do echo ${f##*/} $(readlink $f); done"


@pytest.fixture
def leaked(workspace: Path) -> Iterator[list[int]]:
    """Open descriptors 3 to 11 as a careless caller does: inheritable."""
    descriptors = []
    for number in range(3, 12):
        (workspace / f"leak-{number}").write_text("secret of the host")
        source = os.open(workspace / f"leak-{number}", os.O_RDONLY)
        descriptors.append(source)
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def as_numbers(descriptors: list[int], first: int = 3) -> None:
    """Put the descriptors at 3, 4, ... in the child that will execute the runtime."""
    copies = [os.dup(os.dup2(descriptor, 200 + place)) for place, descriptor in enumerate(descriptors)]
    for place, descriptor in enumerate(copies):
        os.dup2(descriptor, first + place, inheritable=True)


def listening(descriptors: list[int]) -> None:
    """Be a caller that systemd activated: two of the descriptors are sockets to listen on."""
    as_numbers(descriptors)
    os.environ |= {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())}


def shown(text: str) -> dict[int, str]:
    """Parse the lines that LIST_DESCRIPTORS prints; a shell keeps descriptor 10 and up for itself."""
    rows = [line.split(maxsplit=1) for line in text.splitlines()]
    return {int(row[0]): row[1] if len(row) > 1 else "" for row in rows}


@pytest.mark.parametrize("count", [0, 3])
def test_only_preserved_descriptors_reach_the_program(
    runtime: Runtime, bundle: MakeBundle, leaked: list[int], count: int
) -> None:
    made = bundle().shell(LIST_DESCRIPTORS)
    flags = ["--preserve-fds", str(count)] if count else []
    done = runtime.run(made, None, *flags, close_fds=False, preexec_fn=lambda: as_numbers(leaked))
    accepts(done)
    found = shown(done.stdout)
    passed = {number for number, target in found.items() if "leak-" in target}
    assert passed == set(range(3, 3 + count))


def test_only_preserved_descriptors_reach_exec(
    runtime: Runtime, bundle: MakeBundle, leaked: list[int]
) -> None:
    name = runtime.sleeping(bundle())
    done = runtime.exec(
        name, "sh", "-c", LIST_DESCRIPTORS, flags=["--preserve-fds", "1"],
        close_fds=False, preexec_fn=lambda: as_numbers(leaked),
    )  # fmt: skip
    accepts(done)
    assert {number for number, target in shown(done.stdout).items() if "leak-" in target} == {3}


def test_the_waiting_program_holds_nothing_of_the_callers(
    runtime: Runtime, bundle: MakeBundle, leaked: list[int]
) -> None:
    made = bundle()
    accepts(runtime.create(made, close_fds=False, preexec_fn=lambda: as_numbers(leaked)))
    names = [str(entry.readlink()) for entry in Path(f"/proc/{runtime.pid(made.id)}/fd").iterdir()]
    assert any("leak-" in name for name in names) == runtime.deviates("descriptors-before-start")


def test_a_preserved_descriptor_that_is_not_open_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    done = runtime.run(bundle(), None, "--preserve-fds", "5")
    assert (done.returncode == 0) == runtime.deviates("missing-preserved-descriptor")


def test_listen_descriptors_are_passed_on(runtime: Runtime, bundle: MakeBundle, leaked: list[int]) -> None:
    made = bundle().shell("env | grep LISTEN | sort; " + LIST_DESCRIPTORS)
    done = runtime.run(made, close_fds=False, preexec_fn=lambda: listening(leaked))
    accepts(done)
    lines = done.stdout.splitlines()
    assert ({"LISTEN_FDS=2", "LISTEN_PID=1"} <= set(lines)) != runtime.deviates("listen-fds")
    found = shown("\n".join(line for line in lines if not line.startswith("LISTEN")))
    assert {number for number, target in found.items() if "leak-" in target} == {3, 4}


def test_listen_descriptors_are_for_the_container_not_for_exec(
    runtime: Runtime, bundle: MakeBundle, leaked: list[int]
) -> None:
    name = runtime.sleeping(bundle())
    done = runtime.exec(
        name, "sh", "-c", LIST_DESCRIPTORS, close_fds=False, preexec_fn=lambda: listening(leaked)
    )
    accepts(done)
    passed = {number for number, target in shown(done.stdout).items() if "leak-" in target}
    assert passed == ({3, 4} if runtime.deviates("listen-fds-in-exec") else set())
    accepts(runtime.exec(name, "true", env={**os.environ, "LISTEN_FDS": "2"}))


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1, 2)], ids=str)
def test_a_stream_that_the_caller_has_closed_is_not_taken_for_something_else(
    runtime: Runtime, bundle: MakeBundle, closed: tuple[int, ...]
) -> None:
    made = bundle().shell("for n in 0 1 2; do readlink /proc/self/fd/$n; done > /seen; test -c /dev/stdin")

    def close_streams() -> None:
        for stream in closed:
            os.close(stream)

    done = runtime.run(made, preexec_fn=close_streams)
    assert (done.returncode == 0) != runtime.deviates("closed-streams")
    if done.returncode == 0:
        seen = (made.rootfs / "seen").read_text().splitlines()
        assert [seen[number] for number in closed if number != 1] == ["/dev/null"] * len(set(closed) - {1})


def test_the_pid_file_can_be_read_by_everybody_who_the_umask_lets(
    runtime: Runtime, bundle: MakeBundle, workspace: Path
) -> None:
    file = workspace / "pid"
    accepts(runtime.create(bundle(), None, "--pid-file", str(file), preexec_fn=lambda: os.umask(0o027)))
    expected = 0o700 if runtime.deviates("pid-file-mode") else 0o640
    assert file.stat().st_mode & 0o777 == expected


def test_the_pid_file_is_complete_when_create_returns(
    runtime: Runtime, bundle: MakeBundle, workspace: Path
) -> None:
    made = bundle()
    accepts(runtime.create(made, None, "--pid-file", str(workspace / "pid")))
    assert (workspace / "pid").read_text() == str(runtime.pid(made.id))


def test_the_container_becomes_a_child_of_the_callers_reaper(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    accepts(runtime.create(made))
    status = Path(f"/proc/{runtime.pid(made.id)}/status").read_text()
    assert status_field(status, "PPid") == str(os.getpid())


def test_the_reaper_sees_the_exit_code_of_the_program(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("exit 9")
    accepts(runtime.create(made))
    pid = runtime.pid(made.id)
    accepts(runtime.start(made.id))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_a_detached_exec_becomes_a_child_of_the_callers_reaper(
    runtime: Runtime, bundle: MakeBundle, workspace: Path
) -> None:
    name = runtime.sleeping(bundle())
    accepts(
        runtime.exec(name, "sh", "-c", "exit 5", flags=["--detach", "--pid-file", str(workspace / "pid")])
    )
    pid = int((workspace / "pid").read_text())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


def test_no_other_process_stays_between(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    before = living_children()
    accepts(runtime.create(made))
    assert living_children() - before == {str(runtime.pid(made.id))}


def living_children() -> set[str]:
    """List our own children that have not ended."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    states = {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2] for pid in children}
    return {pid for pid, state in states.items() if not state.startswith(" Z")}


def test_a_failed_create_leaves_no_process_that_holds_the_callers_pipe(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = bundle().args("/no/such")
    read, write = os.pipe()
    done = runtime.create(made, stdout=write)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == ""
    assert done.returncode == 1


def test_closed_synchronisation_descriptors_of_conmon_do_no_harm(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    env = os.environ | {"_OCI_SYNCPIPE": "3", "_OCI_STARTPIPE": "4", "XDG_RUNTIME_DIR": ""}
    accepts(runtime.run(bundle(), env=env))


def test_the_commands_work_without_any_environment(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.started(bundle().args("sleep", "1000"), env={})
    for command in (["pause"], ["resume"], ["kill"], ["delete", "--force"]):
        accepts(runtime.call(*command, name, env={}))


def test_a_notify_socket_is_bound_into_the_container(
    runtime: Runtime, bundle: MakeBundle, workspace: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(workspace / "notify"))
        made = bundle().shell("echo $NOTIFY_SOCKET; test -S $NOTIFY_SOCKET || test -d ${NOTIFY_SOCKET%/*}")
        env = os.environ | {"NOTIFY_SOCKET": str(workspace / "notify")}
        accepts(runtime.create(made, None, env=env))
        starting = runtime.spawn("start", made.id, env=env)
        listening.settimeout(1)
        runtime.wait_stopped(made.id)
        starting.terminate()
        starting.wait(60)
    assert (runtime.root.parent / "call-1.out").read_text() not in {"", "\n"}


def test_an_error_goes_to_the_log_as_json(runtime: Runtime, bundle: MakeBundle, workspace: Path) -> None:
    made = bundle().args("/no/such").save()
    log = workspace / "log"
    log.write_text('{"level":"info","msg":"older","time":"2020-01-01T00:00:00Z"}\n')
    done = runtime.call("--log", str(log), "--log-format=json", "create", "--bundle", str(made.path), made.id)
    assert done.returncode == 1
    if runtime.deviates("log-in-many-lines"):
        assert '"level": "error"' in log.read_text()
        return
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert entries[0]["msg"] == "older"
    last = [entry for entry in entries if entry["level"] == "error"][-1]
    assert "no such file or directory" in last["msg"].lower()
    assert last["time"][:2] == "20"


def test_an_error_goes_to_the_log_as_text(runtime: Runtime, workspace: Path) -> None:
    log = workspace / "log"
    assert runtime.call("--log", str(log), "state", "unknown").returncode == 1
    assert "does not exist" in log.read_text()


def test_the_state_root_is_made_private(runtime: Runtime, bundle: MakeBundle) -> None:
    runtime.root.rmdir()
    accepts(runtime.create(bundle()))
    assert runtime.root.stat().st_mode & 0o077 & ~0o011 == 0


def test_many_containers_can_be_created_at_once(runtime: Runtime, bundle: MakeBundle) -> None:
    bundles = [bundle().shell("exit 3") for _ in range(6)]
    running = [runtime.spawn_run(made) for made in bundles]
    assert [process.wait(60) for process in running] == [3] * 6
    eventually(lambda: not any(runtime.root.iterdir()) or runtime.kind != "ours", "state was left")
