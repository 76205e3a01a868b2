"""What a fleet's keeper and the commands say to each other: JSON lines over the keeper's unix socket.

    command  {"op": "stop", "nodes": ["node2"]}
    keeper   {"told": "node2: powering off"}...  then {"done": {...}}  or  {"failed": TEXT, "hint": TEXT}

    command  {"op": "agent", "node": "node1"}         keeper {"done": {}}
             and from then on the lines are those of the agent, minicontainer/vm/conversation.py

See msgspec's documentation on tagged unions; unix(7).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import msgspec

from minicontainer.errors import Error
from minicontainer.vm.conversation import Lines
from minicontainer.vm.nodes import Fleet

FOR_EVER = 1e9  # seconds: a keeper that is gone closes the connection, so nobody waits in vain
LONGEST_LINE = 1 << 22  # bytes from a command, or from an agent


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag=str.lower):
    """Anything that a command asks for."""


class List(Request, frozen=True):
    """Say how each node is."""


class Start(Request, frozen=True):
    """Start nodes that do not run; no names: all of them."""

    nodes: list[str] = []


class Stop(Request, frozen=True):
    """Power nodes off; no names: all of them, and then the keeper ends too."""

    nodes: list[str] = []


class Changed(Request, frozen=True):
    """Say for each node which files its user has changed."""


class Down(Request, frozen=True):
    """Pull the plug of every node and end; the files are left to whoever asks."""


class Cable(Request, frozen=True):
    """Make a node's cable as bad, or as good, as this."""

    node: str
    cut: bool = False
    loss: float = 0.0
    delay: float = 0.0


class Agent(Request, frozen=True):
    """Connect this connection to a node's agent."""

    node: str


class NodeState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a node is: what `vm list` shows."""

    name: str
    state: str
    address: str
    ports: list[str]
    cable: str
    memory: str
    cpus: int
    pid: int | None = None
    why: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the keeper's: something on the way, or the end of a request."""

    told: str | None = None
    done: dict[str, Any] | None = None
    failed: str | None = None
    hint: str = ""


REQUEST = msgspec.json.Decoder(List | Start | Stop | Changed | Down | Cable | Agent)
ANSWER = msgspec.json.Decoder(Answer)


class NoKeeperError(Error):
    """Nobody keeps the fleet: its nodes do not run."""


def connect(fleet: Fleet) -> socket.socket:
    """Connect to the keeper. Raises NoKeeperError."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.connect(str(fleet.control))
    except OSError:
        channel.close()
        raise NoKeeperError("no virtual machine is running", "`minicontainer vm up`, or `vm start`") from None
    return channel


def call(fleet: Fleet, request: Request, tell: Callable[[str], None] = lambda _line: None) -> dict[str, Any]:
    """Ask the keeper for something and wait until it is done. Raises NoKeeperError, Error."""
    with connect(fleet) as channel:
        return converse(channel, request, tell)


def converse(
    channel: socket.socket, request: Request, tell: Callable[[str], None] = lambda _line: None
) -> dict[str, Any]:
    """Ask over a connection, which stays open."""
    lines = Lines(channel)
    try:
        lines.write(msgspec.to_builtins(request))
        while True:
            answer = msgspec.convert(lines.read(FOR_EVER), Answer)
            if answer.told is not None:
                tell(answer.told)
            if answer.failed is not None:
                raise Error(answer.failed, answer.hint)
            if answer.done is not None:
                return answer.done
    except (OSError, ValueError):  # ValueError: half a line
        raise NoKeeperError(
            "the keeper of the virtual machines has gone", "`minicontainer vm down`"
        ) from None
