"""The keeper's process, with a program in QEMU's place: what it starts it ends, whoever is killed, when."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from minicontainer.errors import Error
from minicontainer.vm import leash, nodes, protocol, ssh
from minicontainer.vm.backend import Backend
from minicontainer.vm.conversation import Conversation, Lines
from minicontainer.vm.emulator import Emulator
from minicontainer.vm.image import Image
from minicontainer.vm.keeper import Order
from minicontainer.vm.kit import Kit
from minicontainer.vm.nodes import Fleet, FleetRecord, Publish
from minicontainer.vm.protocol import NoKeeperError
from tests.runtime.waiting import eventually
from tests.vm.guests import short_place

pytestmark = pytest.mark.requires("tool:mke2fs", "tool:ssh-keygen")
FAKE = Path(__file__).with_name("fake_qemu.py")
CHECKOUT = Path(__file__).parents[2]
# What `vm up` does once everything is gathered, in a process that can be killed.
UP = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import msgspec
from minicontainer.vm import leash, nodes
from minicontainer.vm.keeper import Order
order = msgspec.json.decode(sys.argv[2], type=Order, dec_hook=lambda kind, text: kind(text))
lock = nodes.seize(order.kit.fleet)
print("begun", flush=True)
leash.bring_up(order, lock, lambda line: print(line, flush=True))
print("on its own", flush=True)
"""


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with short_place() as place:
        made = Fleet(place / "state" / "vm" / "default", place / "run" / "minicontainer-vm" / "default")
        yield made
        end_processes(made)


def processes(fleet: Fleet) -> list[int]:
    """Find what was started for this fleet: its directory is on their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(fleet.runtime) in path.read_text() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def end_processes(fleet: Fleet) -> None:
    for pid in processes(fleet):
        os.kill(pid, signal.SIGKILL)


def order(fleet: Fleet, behaviour: str = "well", number: int = 2, *, fresh: bool = True) -> Order:
    """What `vm up` would order; the keys are made for real, an image is not needed."""
    record = FleetRecord(
        nodes=number, disk=16 << 20, publish=(Publish(node="node1", host_port=80, guest_port=80),)
    )
    nodes.make(fleet.state)
    if fresh:
        ssh.make_keys(fleet, record.names())
    nowhere = Path("/nonexistent")
    image = Image(nowhere, nowhere, nowhere, nowhere, "suite", "architecture", "key")
    emulator = Emulator(
        [sys.executable, str(FAKE), behaviour], (10, 0), Backend("tcg", "tcg", "max", "a test")
    )
    kit = Kit(fleet, record, image, emulator, fleet.state / "toolkit.tar")
    return Order(kit=kit, names=[], fresh=fresh)


def bring_up(wanted: Order) -> list[str]:
    told: list[str] = []
    lock = nodes.seize(wanted.kit.fleet, 30)
    try:
        leash.bring_up(wanted, lock, told.append)
    finally:
        os.close(lock)
    return told


def states(fleet: Fleet) -> dict[str, str]:
    return {node["name"]: node["state"] for node in protocol.call(fleet, protocol.List())["nodes"]}


def pid_of(fleet: Fleet, name: str) -> int:
    return next(n["pid"] for n in protocol.call(fleet, protocol.List())["nodes"] if n["name"] == name)


def take_down(fleet: Fleet) -> None:
    """What `vm down` does."""
    with contextlib.suppress(NoKeeperError):
        protocol.call(fleet, protocol.Down())
    with nodes.seized(fleet, 30):
        fleet.remove()


def demand_nothing_left(fleet: Fleet) -> None:
    eventually(lambda: not processes(fleet), f"still there: {processes(fleet)}")
    assert not fleet.state.exists()
    assert not fleet.runtime.exists()


def test_nodes_come_up_are_listed_and_go_down(fleet: Fleet) -> None:
    told = bring_up(order(fleet))
    assert {"node1: booting", "node1 is up: 10.77.0.1", "node2 is up: 10.77.0.2"} <= set(told)
    assert states(fleet) == {"node1": "running", "node2": "running"}
    assert fleet.node("node1").running
    assert fleet.node("node2").ssh_port == 34567
    assert fleet.record().nodes == 2
    assert nodes.is_owned(fleet)
    take_down(fleet)
    demand_nothing_left(fleet)


def test_a_stopped_fleet_keeps_its_disks_and_starts_again(fleet: Fleet) -> None:
    bring_up(order(fleet))
    told: list[str] = []
    protocol.call(fleet, protocol.Stop(), told.append)
    assert sorted(told) == ["node1 is off", "node1: powering off", "node2 is off", "node2: powering off"]
    eventually(lambda: not nodes.is_owned(fleet), "the keeper did not end")
    assert not fleet.runtime.exists()
    assert not fleet.node("node1").running
    disk = fleet.disk("node1").stat()
    bring_up(order(fleet, fresh=False))
    assert fleet.disk("node1").stat().st_ino == disk.st_ino
    assert states(fleet) == {"node1": "running", "node2": "running"}
    take_down(fleet)
    demand_nothing_left(fleet)


def test_one_node_is_stopped_and_started_beside_the_others(fleet: Fleet) -> None:
    bring_up(order(fleet))
    protocol.call(fleet, protocol.Stop(nodes=["node2"]))
    assert states(fleet) == {"node1": "running", "node2": "stopped"}
    protocol.call(fleet, protocol.Start(nodes=["node2"]))
    assert states(fleet) == {"node1": "running", "node2": "running"}
    with pytest.raises(Error, match="there is no node node3"):
        protocol.call(fleet, protocol.Stop(nodes=["node3"]))
    take_down(fleet)


def test_a_node_that_was_killed_is_dead_and_starts_again(fleet: Fleet) -> None:
    bring_up(order(fleet))
    os.kill(pid_of(fleet, "node2"), signal.SIGKILL)
    eventually(lambda: states(fleet) == {"node1": "running", "node2": "dead"}, "nobody noticed")
    assert "killed by signal 9" in json.dumps(protocol.call(fleet, protocol.List()))
    protocol.call(fleet, protocol.Start(nodes=["node2"]))
    assert states(fleet)["node2"] == "running"
    assert fleet.node("node2").written  # it could not be asked
    take_down(fleet)


def do(fleet: Fleet, deed: str) -> None:
    """Let the guest do something to itself that it cannot answer for."""
    channel = protocol.connect(fleet)
    with channel:
        protocol.converse(channel, protocol.Agent(node="node1"))
        Lines(channel).write({"id": 1, "op": "run", "argv": [deed]})
        eventually(lambda: states(fleet) != {"node1": "running"}, "nothing has happened")


@pytest.mark.parametrize(("deed", "state"), [("poweroff", "stopped"), ("panic", "dead")])
def test_a_guest_that_powers_itself_off_is_stopped_and_one_that_panics_is_dead(
    fleet: Fleet, deed: str, state: str
) -> None:
    bring_up(order(fleet, number=1))
    do(fleet, deed)
    assert states(fleet) == {"node1": state}
    protocol.call(fleet, protocol.Start())
    assert states(fleet) == {"node1": "running"}
    assert protocol.call(fleet, protocol.Changed())["changed"]["node1"]  # nobody had asked it before
    take_down(fleet)


def test_a_guest_whose_disk_has_no_room_is_paused_and_can_be_stopped(fleet: Fleet) -> None:
    bring_up(order(fleet, number=1))
    agent = talk(fleet, "node1")
    with pytest.raises(ConnectionError):  # a command would wait for ever
        agent.run("run", {"argv": ["fill"]}, wait=30)
    agent.lines.close()
    eventually(lambda: states(fleet) == {"node1": "paused"}, "nobody noticed")
    assert "no room is left" in json.dumps(protocol.call(fleet, protocol.List()))
    protocol.call(fleet, protocol.Stop(nodes=["node1"]))
    eventually(lambda: not nodes.is_owned(fleet), "the last node is off, and the keeper lives")
    assert not fleet.node("node1").running
    take_down(fleet)


def test_a_node_that_does_not_power_off_loses_its_plug(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = order(fleet, "stubborn", 1)
    bring_up(wanted)
    os.kill(
        pid_of(fleet, "node1"), signal.SIGSTOP
    )  # it would take half a minute to give up: down does not wait
    take_down(fleet)
    demand_nothing_left(fleet)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [("fails", "Could not set up host forwarding rule"), ("panics", "Kernel panic - not syncing: no init")],
)
def test_a_node_that_does_not_come_up_says_why_and_leaves_nothing(
    fleet: Fleet, behaviour: str, said: str
) -> None:
    with pytest.raises(Error, match=said):
        bring_up(order(fleet, behaviour))
    demand_nothing_left(fleet)


def test_a_node_that_does_not_start_again_keeps_its_disk(fleet: Fleet) -> None:
    bring_up(order(fleet))
    protocol.call(fleet, protocol.Stop())
    with pytest.raises(Error, match="Kernel panic"):
        bring_up(order(fleet, "panics", fresh=False))
    eventually(lambda: not nodes.is_owned(fleet), "the keeper did not end")
    assert fleet.disk("node1").exists()
    assert not fleet.node("node1").running
    assert not fleet.runtime.exists()


def test_when_the_keeper_is_killed_its_machines_die_with_it(fleet: Fleet) -> None:
    bring_up(order(fleet))
    machines = [pid_of(fleet, name) for name in ("node1", "node2")]
    keeper = int(Path(f"/proc/{machines[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(keeper, signal.SIGKILL)
    eventually(lambda: not processes(fleet), "machines survived their keeper")
    eventually(lambda: not nodes.is_owned(fleet), "the lock is still held")
    assert fleet.node("node1").running  # and with no keeper that means dead
    with pytest.raises(NoKeeperError):
        states(fleet)
    take_down(fleet)
    demand_nothing_left(fleet)


def test_a_keeper_that_is_asked_to_end_powers_its_nodes_off(fleet: Fleet) -> None:
    bring_up(order(fleet, number=1))
    machine = pid_of(fleet, "node1")
    os.kill(int(Path(f"/proc/{machine}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGTERM)
    eventually(lambda: not nodes.is_owned(fleet), "the keeper did not end")
    assert not fleet.node("node1").running
    eventually(lambda: not processes(fleet), "a machine is left")


# --- the leash -----------------------------------------------------------------------------------


def start_up(wanted: Order) -> subprocess.Popen[str]:
    words = [json.dumps([str(CHECKOUT), *sys.path]), msgspec.json.encode(wanted, enc_hook=str).decode()]
    return subprocess.Popen([sys.executable, "-c", UP, *words], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ending_up_while_a_node_comes_up_takes_everything_down(fleet: Fleet, number: int) -> None:
    with start_up(order(fleet, "silent")) as up:
        assert up.stdout
        while "booting" not in up.stdout.readline():
            assert up.poll() is None
        eventually(lambda: fleet.control.exists() and len(processes(fleet)) >= 2, "no machine was started")
        up.send_signal(number)
        up.wait(30)
    eventually(lambda: not fleet.state.exists(), "the keeper did not clean up")
    demand_nothing_left(fleet)


def test_killing_up_at_any_moment_leaves_nothing_after_down(
    fleet: Fleet, rounds: Callable[[int, int], int]
) -> None:
    started = time.monotonic()
    with start_up(order(fleet)) as up:
        assert up.stdout
        assert "on its own" in up.stdout.read()
    whole = time.monotonic() - started
    take_down(fleet)
    number = rounds(4, 20)
    for moment in range(number):
        with start_up(order(fleet)) as up:
            time.sleep(whole * (moment + 0.5) / number)
            up.kill()
        take_down(fleet)
        demand_nothing_left(fleet)


def test_two_commands_cannot_start_the_same_fleet(fleet: Fleet) -> None:
    with start_up(order(fleet, "silent")) as up:
        assert up.stdout
        while "booting" not in up.stdout.readline():
            assert up.poll() is None
        with pytest.raises(Error, match="another command is at work"):
            nodes.seize(fleet, 0)
        up.kill()
    take_down(fleet)
    demand_nothing_left(fleet)


# --- commands ------------------------------------------------------------------------------------


def talk(fleet: Fleet, name: str) -> Conversation:
    channel = protocol.connect(fleet)
    try:
        protocol.converse(channel, protocol.Agent(node=name))
    except BaseException:
        channel.close()
        raise
    return Conversation(Lines(channel))


def test_commands_reach_the_agents_through_the_keeper(fleet: Fleet) -> None:
    bring_up(order(fleet))
    agents = [talk(fleet, "node1"), talk(fleet, "node1"), talk(fleet, "node2")]
    results: dict[int, Any] = {}

    def run(at: int) -> None:
        results[at] = agents[at].run("run", {"argv": ["echo", str(at)]}, wait=30)

    threads = [threading.Thread(target=run, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[at].out for at in range(3)] == [b"0", b"1", b"2"]
    for agent in agents:
        agent.lines.close()
    take_down(fleet)


def test_a_node_that_does_not_run_has_no_agent(fleet: Fleet) -> None:
    bring_up(order(fleet))
    protocol.call(fleet, protocol.Stop(nodes=["node2"]))
    with pytest.raises(Error, match="node2 does not run: it is stopped") as problem:
        talk(fleet, "node2")
    assert "vm start node2" in problem.value.hint
    take_down(fleet)


def test_a_command_is_told_when_its_node_dies(fleet: Fleet) -> None:
    bring_up(order(fleet))
    agent = talk(fleet, "node1")
    threading.Timer(0.3, os.kill, (pid_of(fleet, "node1"), signal.SIGKILL)).start()
    with pytest.raises(ConnectionError):
        agent.run("run", {"argv": ["sleep"]}, wait=30)
    agent.lines.close()
    take_down(fleet)


def test_cables_are_made_bad_and_mended(fleet: Fleet) -> None:
    bring_up(order(fleet))

    def cables() -> list[str]:
        return [node["cable"] for node in protocol.call(fleet, protocol.List())["nodes"]]

    assert cables() == ["ok", "ok"]
    protocol.call(fleet, protocol.Cable(node="node2", cut=True))
    assert cables() == ["ok", "cut"]
    protocol.call(fleet, protocol.Cable(node="node2", loss=0.25, delay=0.1))
    assert cables() == ["ok", "loses 25%, 100 ms late"]
    protocol.call(fleet, protocol.Cable(node="node2"))
    assert cables() == ["ok", "ok"]
    take_down(fleet)


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"nonsense\n", b'{"op": "explode"}\n', b'{"op": "stop", "nodes": 5}\n']
)
def test_nonsense_on_the_control_socket_harms_nobody(fleet: Fleet, line: bytes) -> None:
    bring_up(order(fleet, number=1))
    with protocol.connect(fleet) as channel:
        channel.sendall(line)
        channel.shutdown(1)
        assert channel.recv(100) == b""
    assert states(fleet) == {"node1": "running"}
    take_down(fleet)
