"""Two commands for one container at once, and a container that is held or ends while a command is at it.

Nobody waits for ever, nobody takes another container of the same name for its own, and nobody runs a program
outside of the container because the container has just ended (R36).
See: runtime-spec, runtime.md "Lifecycle"; flock(2); proc(5), "/proc/pid/ns".
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from minicontainer.errors import Conflict, Refused
from minicontainer.runtime.caller import let_start_when_ready
from minicontainer.runtime.channel import channel_pair, failure_report
from minicontainer.runtime.container import Container
from minicontainer.runtime.execute import foreign_namespaces
from minicontainer.runtime.first_process import FirstProcess, converse
from minicontainer.runtime.lifecycle import CreateRequest
from tests.runtime.checks import accepts, refuses
from tests.runtime.waiting import DEADLINE, eventually

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime


@pytest.mark.requires("root", "cgroup2")
def test_a_container_that_is_held_before_its_start_is_paused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("sleep", "1000")
    accepts(runtime.create(made))
    accepts(runtime.call("pause", made.id))
    if runtime.deviates("held-before-start"):
        assert runtime.status(made.id) == "created"
        return
    assert runtime.status(made.id) == "paused"
    refuses(runtime, runtime.start(made.id), "cannot start")
    entering = runtime.exec(made.id, "true")
    assert entering.returncode != 0
    assert "paused" in entering.stderr
    accepts(runtime.call("resume", made.id))
    assert runtime.status(made.id) == "created"
    accepts(runtime.start(made.id))
    assert runtime.status(made.id) == "running"


@pytest.mark.requires("root", "cgroup2")
def test_run_tells_the_exit_code_though_another_command_has_deleted_the_container(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = bundle().args("sleep", "1000")
    running = runtime.spawn_run(made)
    eventually(lambda: runtime.call("state", made.id).returncode == 0, "it never came to be")
    eventually(lambda: runtime.status(made.id) == "running", "it never ran")
    deleting = runtime.delete(made.id, force=True)
    assert running.wait(DEADLINE) == 128 + signal.SIGKILL
    if not runtime.deviates("delete-beside-run"):
        accepts(deleting)


@pytest.mark.requires("root", "cgroup2")
def test_run_leaves_a_later_container_of_the_same_name_alone(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("sleep", "1000")
    running = runtime.spawn_run(made)
    eventually(lambda: runtime.call("state", made.id).returncode == 0, "it never came to be")
    eventually(lambda: runtime.status(made.id) == "running", "it never ran")
    running.send_signal(signal.SIGSTOP)
    accepts(runtime.delete(made.id, force=True))
    accepts(runtime.create(made))
    accepts(runtime.start(made.id))
    running.send_signal(signal.SIGCONT)
    assert running.wait(DEADLINE) == 128 + signal.SIGKILL
    if runtime.deviates("delete-beside-run"):
        refuses(runtime, runtime.call("state", made.id), "does not exist")
        return
    assert runtime.status(made.id) == "running"


def waits_for_lock(folder: Path) -> bool:
    """Tell whether somebody waits for the lock of a folder."""
    number = f":{folder.stat().st_ino} "
    return any("->" in line and number in line for line in Path("/proc/locks").read_text().splitlines())


def test_who_waited_for_a_container_that_was_deleted_locks_the_one_that_has_its_name_now(
    tmp_path: Path,
) -> None:
    first, waiting = Container(str(tmp_path), "web"), Container(str(tmp_path), "web")
    first.reserve()
    thread = threading.Thread(target=waiting.take_lock)
    thread.start()
    eventually(lambda: waits_for_lock(tmp_path / "web"), "nobody waited")
    (tmp_path / "web").rename(tmp_path / "aside")  # so that the two cannot have one inode number
    (tmp_path / "web").mkdir()
    (tmp_path / "aside").rmdir()
    first.unlock()
    thread.join(DEADLINE)
    assert os.fstat(waiting.lock).st_ino == (tmp_path / "web").stat().st_ino
    assert not first.lock_again()
    for container in (first, waiting):
        os.close(container.lock)


@pytest.mark.parametrize("died_first", [True, False])
def test_the_last_words_of_who_dies_before_it_is_ready_are_heard(died_first: bool) -> None:
    ours, theirs = channel_pair()
    first = FirstProcess(0, -1, ours)
    request = CreateRequest("/nowhere", "web", ".")
    if not died_first:
        let_start_when_ready(request, first, None)
    theirs.say(failure_report(Refused("the root is upside down")))
    theirs.close()
    if died_first:
        let_start_when_ready(request, first, None)
    with pytest.raises(Refused, match="upside down"):
        converse(first, lambda: None, lambda _: None)
    ours.close()


def test_a_process_that_has_ended_has_no_namespaces_that_could_be_taken_for_ours() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        with pytest.raises(Conflict, match="container not running"):
            foreign_namespaces(child)
    finally:
        os.waitpid(child, 0)
