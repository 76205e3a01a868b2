"""One machine from `vm up` to `vm down`, as a person uses it; and what is left when somebody is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.runtime.waiting import eventually
from tests.vm import fleets
from tests.vm.fleets import Home
from tests.vm.guests import short_place

pytestmark = [pytest.mark.requires("vm", "tool:ssh-keygen"), pytest.mark.timeout(600)]
SMALL = ("--memory", "512m")


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    with short_place() as place:
        (place / "file").write_text("from the host\n")
        yield place


@pytest.fixture(scope="module")
def one(shared: Path) -> Iterator[Home]:
    """One node that shares a directory, and so boots instead of going on from a frozen guest."""
    with fleets.home() as home:
        told = home.vm("up", *SMALL, "--share", f"{shared}:ro")
        assert told.returncode == 0, told.stderr
        assert "one that shares a directory cannot be frozen" in told.stderr
        assert "node1 is up: 10.77.0.1" in told.stderr
        yield home


# --- vm run --------------------------------------------------------------------------------------


def test_streams_stay_apart_and_the_exit_code_is_the_commands(one: Home) -> None:
    done = one.vm("run", "--", "sh", "-c", "cat; echo wrong >&2; exit 7", input="given", stdin=None)
    assert (done.returncode, done.stdout, done.stderr) == (7, "given", "wrong\n")


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["no-such-program"], 127, "no-such-program: not found"),
        (["/etc/passwd"], 126, "/etc/passwd: permission denied"),
        (["sh", "-c", "kill -9 $$"], 137, ""),
    ],
)
def test_a_command_that_fails_to_start_or_is_killed_has_dockers_codes(
    one: Home, command: list[str], code: int, said: str
) -> None:
    done = one.vm("run", *command)
    assert done.returncode == code
    assert said in done.stderr


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "INT"), (signal.SIGTERM, "TERM")])
def test_a_signal_reaches_the_command_in_the_node(one: Home, number: int, name: str) -> None:
    script = f"trap 'echo {name}; exit 5' {name}; echo ready; while :; do sleep 0.1; done"
    with one.start("run", "sh", "-c", script, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as command:
        assert command.stdout
        assert command.stdout.readline() == "ready\n"
        command.send_signal(number)
        assert command.stdout.read() == f"{name}\n"
        assert command.wait(60) == 5


def test_a_command_whose_client_is_killed_is_killed_too(one: Home) -> None:
    with one.start("run", "sh", "-c", "echo ready; exec sleep 12345", stdout=subprocess.PIPE) as command:
        assert command.stdout
        assert command.stdout.readline() == "ready\n"
        command.kill()
    eventually(lambda: one.vm("run", "pgrep", "-f", "sleep 12345").returncode == 1, "it lives on")


def test_two_commands_run_at_the_same_time(one: Home) -> None:
    with one.start(
        "run", "sh", "-c", "echo ready; cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout
        assert first.stdout.readline() == "ready\n"
        assert one.good("run", "echo", "second") == "second\n"
        assert first.communicate("still there")[0] == "still there"
        assert first.returncode == 0


def test_a_reader_that_has_had_enough_ends_the_command(one: Home) -> None:
    with one.start("run", "yes", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as command:
        assert command.stdout
        assert command.stdout.readline() == "y\n"
        command.stdout.close()
        assert command.wait(60) == 141
    eventually(lambda: one.vm("run", "pgrep", "-x", "yes").returncode == 1, "it goes on")


def test_hardware_cannot_be_chosen_for_a_node_that_is_there(one: Home) -> None:
    done = one.vm("run", "--memory", "2g", "true")
    assert (done.returncode, "--memory is for a new node" in done.stderr) == (125, True)


# --- what else is done with a node ---------------------------------------------------------------


@pytest.mark.requires("tool:ssh")
def test_ssh_asks_nothing_and_checks_the_host_key(one: Home) -> None:
    assert one.good("ssh", "node1", "hostname") == "node1\n"
    assert one.vm("ssh", "node1", "exit 9").returncode == 9
    known = one.place / "state/minicontainer/vm/default/known_hosts"
    right = known.read_text()
    one.good("run", "true")
    for connection in (one.place / "run/minicontainer-vm/default").glob("*.ssh"):
        subprocess.run(
            ["ssh", "-F", "none", "-S", connection, "-O", "exit", "node1"], check=True, capture_output=True
        )
    known.write_text(right[:-20] + "A" * 19 + "\n")
    assert one.vm("ssh", "node1", "hostname").returncode == 255
    known.write_text(right)


def test_files_go_in_and_come_out_unchanged(one: Home, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "random").write_bytes(os.urandom(3 << 20))
    (tree / "script").write_text("#!/bin/sh\n")
    (tree / "script").chmod(0o755)
    (tree / "link").symlink_to("script")
    one.good("cp", str(tree), "node1:/srv/copy")
    one.good("cp", "node1:/srv/copy", str(tmp_path / "back"))
    assert (tmp_path / "back/deep/random").read_bytes() == (tree / "deep/random").read_bytes()
    assert (tmp_path / "back/script").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "back/link").readlink() == Path("script")
    assert one.good("run", "stat", "-c", "%U", "/srv/copy/script") == "root\n"
    missing = one.vm("cp", "node1:/no/such", str(tmp_path))
    assert (missing.returncode, len(missing.stderr.splitlines())) == (1, 1)


def test_a_directory_shared_read_only_cannot_be_written_whatever_the_guest_does(
    one: Home, shared: Path
) -> None:
    assert one.good("run", "cat", "/share/file") == "from the host\n"
    remounted = (
        "mount -o remount,rw /share; umount /share; mount -t virtiofs share /share; echo bad > /share/file"
    )
    assert "Read-only file system" in one.vm("run", "sh", "-c", remounted).stderr
    assert (shared / "file").read_text() == "from the host\n"
    (shared / "later").write_text("later\n")
    assert one.good("run", "cat", "/share/later") == "later\n"


def test_the_toolkit_is_there(one: Home) -> None:
    assert one.good("run", "minicontainer", "version").startswith("minicontainer version ")


def test_the_console_is_kept_and_can_be_followed(one: Home) -> None:
    assert "guest: ready after" in one.good("console")
    with one.start("console", "-f", stdout=subprocess.PIPE) as console:
        assert console.stdout
        one.good("run", "sh", "-c", "echo a word to the console > /dev/console")
        while "a word to the console" not in (line := console.stdout.readline()):
            assert line
        console.send_signal(signal.SIGINT)
        assert console.wait(60) == 130


def test_down_without_a_terminal_refuses_once_something_was_written(one: Home) -> None:
    one.good("run", "sh", "-c", "echo precious > /root/data; sync")
    refused = one.vm("down")
    assert refused.returncode == 1
    assert "/root/data" in refused.stderr
    assert one.states() == ["running"]


def test_data_survives_a_stop(one: Home) -> None:
    one.good("run", "sh", "-c", "echo precious > /root/data; sync")
    one.good("stop")
    assert one.states() == ["stopped"]
    assert one.processes() == []
    assert one.vm("run", "-n", "1", "true").returncode == 125
    assert one.vm("down").returncode == 1  # what was written is still known
    one.good("start")
    assert one.good("run", "cat", "/root/data") == "precious\n"
    assert one.good("run", "cat", "/share/file") == "from the host\n"


def test_a_node_whose_keeper_is_killed_is_dead_and_can_be_started_again(one: Home) -> None:
    one.good("run", "sh", "-c", "echo precious > /root/data; echo more > /root/more; sync")
    machine = one.nodes()["node1"]["pid"]
    keeper = int(Path(f"/proc/{machine}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(keeper, signal.SIGKILL)
    eventually(lambda: one.processes() == [], "something survived the keeper")
    assert one.states() == ["dead"]
    one.good("start")
    assert one.good("run", "cat", "/root/data", "/root/more") == "precious\nmore\n"


# --- nothing is left -----------------------------------------------------------------------------


@pytest.fixture
def home() -> Iterator[Home]:
    with fleets.home() as made:
        yield made


def test_down_does_not_ask_when_nothing_was_written(home: Home) -> None:
    home.good("up", *SMALL)
    home.good("run", "sh", "-c", "echo nothing to keep > /tmp/file; echo nor this > /var/log/file")
    assert home.vm("up").returncode == 1
    home.good("down")
    home.demand_nothing_left()


def test_without_a_fleet_run_starts_a_node_for_the_command(home: Home) -> None:
    done = home.vm("run", *SMALL, "sh", "-c", "hostname; exit 3")
    assert (done.returncode, done.stdout) == (3, "node1\n")
    home.demand_nothing_left()


def test_a_temporary_node_goes_with_its_command_however_that_ends(home: Home) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with home.start(
            "run", *SMALL, "sh", "-c", "echo ready; sleep 1000", stdout=subprocess.PIPE
        ) as command:
            assert command.stdout
            assert command.stdout.readline() == "ready\n"
            command.send_signal(number)
            command.wait(60)
        eventually(lambda: home.processes() == [], "the node lives on")
        home.good("down")
        home.demand_nothing_left()


def test_kill_9_of_up_at_any_moment_leaves_nothing_after_down(
    home: Home, rounds: Callable[[int, int], int]
) -> None:
    started = time.monotonic()
    home.good("up", *SMALL)
    whole = time.monotonic() - started
    home.good("down", "-y")
    number = rounds(3, 10)
    for moment in range(number):
        with home.start("up", *SMALL, stderr=subprocess.DEVNULL) as up:
            time.sleep(whole * (moment + 0.5) / number)
            up.kill()
        home.good("down", "-y")
        home.demand_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_up_cleans_up_at_once(home: Home, number: int) -> None:
    with home.start("up", *SMALL, stderr=subprocess.PIPE) as up:
        assert up.stderr
        while "node1" not in up.stderr.readline():
            assert up.poll() is None
        up.send_signal(number)
        assert up.wait(60) == 128 + number
    home.demand_nothing_left()


@pytest.mark.requires("root", "tool:setpriv")
def test_an_ordinary_user_cannot_see_what_is_in_there(home: Home) -> None:
    home.good("up", *SMALL)
    for place in ("state/minicontainer/vm/default/key", "run/minicontainer-vm/default/control"):
        looking = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "ls",
            f"{home.place}/{place}",
        ]
        assert subprocess.run(looking, capture_output=True, check=False).returncode
    home.good("down", "-y")
