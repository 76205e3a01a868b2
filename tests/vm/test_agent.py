"""The guest's agent and the host's side of the conversation, over a socket pair instead of a virtual port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainer.vm.conversation import Conversation, GuestError, Input, Lines
from tests.runtime.waiting import eventually

AGENT = Path(__file__).parents[2] / "minicontainer/vm/guest/agent.py"
SERVE = "import runpy, sys; runpy.run_path(sys.argv[1])['Agent'](int(sys.argv[2])).serve()"
WAIT = 60.0


@pytest.fixture
def wire() -> Iterator[tuple[Conversation, subprocess.Popen[bytes]]]:
    ours, its = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", SERVE, str(AGENT), str(its.fileno())], pass_fds=[its.fileno()]
    )
    its.close()
    yield Conversation(Lines(ours)), process
    ours.close()
    process.kill()
    process.wait()


@pytest.fixture
def agent(wire: tuple[Conversation, subprocess.Popen[bytes]]) -> Conversation:
    return wire[0]


def sh(script: str, **more: object) -> dict[str, object]:
    return {"argv": ["/bin/sh", "-c", script], **more}


def test_a_program_gives_its_outputs_apart_and_its_exit_code(agent: Conversation) -> None:
    done = agent.run("run", sh("echo out; echo err >&2; exit 7"), wait=WAIT)
    assert (done.exit, done.out, done.err) == (7, b"out\n", b"err\n")


def test_a_signal_is_128_and_its_number(agent: Conversation) -> None:
    assert agent.run("run", sh("kill -9 $$"), wait=WAIT).exit == 128 + signal.SIGKILL


def test_environment_and_directory_are_those_asked_for(agent: Conversation, tmp_path: Path) -> None:
    done = agent.run("run", sh('echo "$A"; pwd', env={"A": "1 2"}, cwd=str(tmp_path)), wait=WAIT)
    assert done.out.decode().splitlines() == ["1 2", str(tmp_path)]


def test_a_program_that_is_not_there_is_an_error_and_the_agent_lives_on(agent: Conversation) -> None:
    with pytest.raises(GuestError, match="No such file"):
        agent.run("run", {"argv": ["/does/not/exist"]}, wait=WAIT)
    assert agent.ask("ping", wait=WAIT)["exit"] == 0


@pytest.mark.parametrize("op", ["nonsense", "__init__"])
def test_a_request_that_there_is_not_is_an_error(agent: Conversation, op: str) -> None:
    with pytest.raises(GuestError, match="could not do it"):
        agent.ask(op, wait=WAIT)


def test_much_input_and_output_move_at_the_same_time(agent: Conversation) -> None:
    text = os.urandom(1 << 20) * 5
    done = agent.run("run", {"argv": ["cat"]}, Input(text), wait=WAIT)
    assert done.exit == 0
    assert done.out == text


def test_input_comes_from_a_descriptor_as_it_appears(agent: Conversation) -> None:
    reading, writing = os.pipe()
    said: list[bytes] = []

    def answer(_name: str, piece: bytes) -> None:
        said.append(piece)
        if len(said) == 1:
            os.write(writing, b"second\n")
            os.close(writing)

    os.write(writing, b"first\n")
    done = agent.run("run", {"argv": ["cat"]}, Input(fd=reading), answer, WAIT)
    os.close(reading)
    assert done.exit == 0
    assert b"".join(said) == b"first\nsecond\n"


def test_who_does_not_read_its_input_does_not_block_anybody(agent: Conversation) -> None:
    done = agent.run("run", sh("exec <&-; echo closed"), Input(bytes(5 << 20)), wait=WAIT)
    assert (done.exit, done.out) == (0, b"closed\n")


def test_a_signal_reaches_the_whole_group(agent: Conversation) -> None:
    agent.signals.append(signal.SIGTERM)
    done = agent.run("run", sh("sleep 1000 & wait"), wait=WAIT)
    assert done.exit == 128 + signal.SIGTERM


def test_a_program_in_the_background_is_not_waited_for(agent: Conversation, tmp_path: Path) -> None:
    done = agent.run("run", sh(f"sleep 1000 & echo $! > {tmp_path}/pid"), wait=WAIT)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert done.exit == 0


def test_a_module_runs_in_a_fork_that_has_what_was_warmed(agent: Conversation, tmp_path: Path) -> None:
    (tmp_path / "warmed.py").write_text("import os\nmade_by = os.getpid()\n")
    (tmp_path / "asks.py").write_text(
        "import os, sys, warmed\nprint(warmed.made_by == os.getppid(), sys.argv[1:])\nsys.exit(5)\n"
    )
    agent.ask("warm", wait=WAIT, modules=["warmed"], path=[str(tmp_path)])
    words = {"module": "asks", "args": ["a", "b"], "cwd": str(tmp_path)}
    done = agent.run("python", words, wait=WAIT)
    assert (done.exit, done.out) == (5, b"True ['a', 'b']\n")


def test_a_module_that_raises_says_so(agent: Conversation) -> None:
    done = agent.run("python", {"module": "no_such_module"}, wait=WAIT)
    assert done.exit == 1
    assert b"no_such_module" in done.err


def test_what_runs_ends_with_the_host(
    wire: tuple[Conversation, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    agent, _process = wire
    sleeper = tmp_path / "pid"

    def ask() -> None:
        with pytest.raises(OSError):
            agent.run("run", sh(f"echo $$ > {sleeper}; exec sleep 1000"), wait=WAIT)

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: sleeper.exists() and sleeper.read_text().endswith("\n"), "it never began")
    pid = int(sleeper.read_text())
    agent.lines.channel.shutdown(socket.SHUT_RDWR)
    thread.join()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "it runs still")


def test_time_that_runs_out_is_a_timeout(agent: Conversation) -> None:
    with pytest.raises(TimeoutError):
        agent.run("run", sh("exec sleep 1000"), wait=0.2)


def test_the_guest_is_looked_at_while_one_waits(agent: Conversation) -> None:
    began = time.monotonic()

    def check() -> None:
        if time.monotonic() > began + 0.1:
            raise GuestError("dead")

    agent.check_alive = check
    with pytest.raises(GuestError, match="dead"):
        agent.run("run", sh("exec sleep 1000"), wait=WAIT)
