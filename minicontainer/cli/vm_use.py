"""`minicontainer vm ssh` and `vm run`: doing something in a node.

ssh is for people. `vm run` goes through the agent, which answers before there is a network: three streams
kept apart, the exit code passed on, signals too. If no node is up, it starts one for the command.

See docker-run(1), "Exit Status", for 125, 126 and 127; ssh(1).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from minicontainer.cli.failure import report
from minicontainer.cli.vm_words import end_in_order, node_name, read_wishes, tell, text
from minicontainer.errors import Error
from minicontainer.linux.process import execve
from minicontainer.vm import nodes, protocol, temporary
from minicontainer.vm import ssh as keys
from minicontainer.vm.conversation import Conversation, Ended, GuestError, Input, Lines
from minicontainer.vm.nodes import Fleet, NodeRecord
from minicontainer.vm.protocol import NoKeeperError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value

STDOUT, STDERR = 1, 2
BROKEN_PIPE = 128 + signal.SIGPIPE
ENOUGH = 3  # signals: whoever sends that many wants to leave, whatever the guest says


def ssh(values: dict[str, Value]) -> int:
    """Become ssh, connected to a node."""
    fleet = nodes.find()
    node = running_node(fleet, text(values, "node") or "node1")
    command = values["command"]
    line = keys.command_line(fleet, node, command if isinstance(command, list) else [])
    execve(line[0], line, dict(os.environ))
    return 0


def running_node(fleet: Fleet, word: str) -> NodeRecord:
    """Find a node that runs, by name. Raises NoKeeperError, NotFound, Error."""
    found = protocol.call(fleet, protocol.List())["nodes"]
    name = node_name(word, len(found))
    state = next(node["state"] for node in found if node["name"] == name)
    if state != "running":
        raise Error(f"{name} does not run: it is {state}", f"`minicontainer vm start {name}`")
    return fleet.node(name)


def run(values: dict[str, Value]) -> int:
    """Run a command in a node; the exit code is the command's, or docker's for our own failures."""
    try:
        return run_somewhere(values)
    except Error as problem:
        return report(problem, "run")
    except BrokenPipeError:
        return BROKEN_PIPE


def run_somewhere(values: dict[str, Value]) -> int:
    """Use the fleet that is up, else a node for this command alone."""
    given = values["command"]
    command = given if isinstance(given, list) else []
    fleet, wanted = nodes.find(), text(values, "node")
    end_in_order()
    try:
        with protocol.connect(fleet) as channel:
            refuse_hardware(values)
            name = node_name(wanted, fleet.record().nodes) if wanted else "node1"
            protocol.converse(channel, protocol.Agent(node=name))
            return follow(Conversation(Lines(channel)), command)
    except NoKeeperError:
        if wanted:
            raise
    wishes = read_wishes({**values, "disk": None})
    with temporary.node(wishes.without_disk(), tell) as machine:
        return follow(machine.agent, command)


def refuse_hardware(values: dict[str, Value]) -> None:
    """Refuse words about a node that there is already."""
    for name in ("memory", "cpus", "share"):
        if values.get(name):
            raise Error(f"--{name} is for a new node, and there are nodes already", "give it to `vm up`")


def follow(agent: Conversation, command: list[str]) -> int:
    """Run a command to its end over an agent, as if it ran here."""
    words = {"argv": command, "env": {"HOME": "/root"}, "cwd": "/root"}
    try:
        with signals_passed_on(agent):
            ended: Ended = agent.run("run", words, our_input(), write, wait=protocol.FOR_EVER)
    except GuestError as problem:
        raise not_started(problem, command) from None
    except BrokenPipeError:
        raise
    except (OSError, ValueError):
        raise Error(
            "the node has gone", "`minicontainer vm list` and `minicontainer vm console` tell more"
        ) from None
    return ended.exit


def not_started(problem: GuestError, command: list[str]) -> Error:
    """Put a program that could not be started in the words that have docker's exit codes."""
    for name, words in (("FileNotFoundError", "not found"), ("PermissionError", "permission denied")):
        if name in problem.message:
            return Error(f"exec: {command[0]}: {words}")
    return problem


def our_input() -> Input:
    """Hand on our standard input, if there is one."""
    try:
        os.fstat(0)
    except OSError:
        return Input()
    return Input(fd=0)


def write(name: str, piece: bytes) -> None:
    """Write the command's output to ours."""
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(STDERR if name == "err" else STDOUT, rest) :]


@contextlib.contextmanager
def signals_passed_on(agent: Conversation) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM reach the command in the guest; the third in a row ends us instead."""
    came: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        came.append(number)
        if len(came) >= ENOUGH:
            raise SystemExit(128 + number)
        agent.signals.append(number)

    before = {
        number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
