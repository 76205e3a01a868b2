"""How the words of `minicontainer vm` are read: numbers, sizes, ports, the names of nodes.

See docs/vm.md.
"""

from __future__ import annotations

import signal
import sys

from minicontainer.cli.limits import read_bytes
from minicontainer.errors import Error, NotFound
from minicontainer.vm import kit, share
from minicontainer.vm.nodes import DEFAULT_DISK, DEFAULT_MEMORY, MOST_NODES, FleetRecord, Publish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value

MIB = 1 << 20
MOST_CPUS = 64
LARGEST_PORT = 65535
INITS = ("plain", "systemd")
PUBLISH_SHORT, PUBLISH_LONG = 2, 3  # the parts of HOST:GUEST and NODE:HOST:GUEST
TERMINATED = 128 + signal.SIGTERM


def tell(line: str) -> None:
    """Show progress, beside the output of commands."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def end_in_order() -> None:
    """Let SIGTERM and SIGHUP end this command as an exception does, so that it puts everything back."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)


def read_wishes(values: dict[str, Value]) -> FleetRecord:
    """Read the options of `vm up`. Raises Error."""
    nodes = read_count(text(values, "nodes") or "1", "--nodes", MOST_NODES)
    init = text(values, "init") or "plain"
    if init not in INITS:
        raise Error(f"--init {init}: there is plain and systemd")
    shared = text(values, "share")
    published = values.get("publish")
    return FleetRecord(
        nodes=nodes,
        memory=read_size(values, "memory", DEFAULT_MEMORY * MIB, kit.LEAST_MEMORY * MIB) // MIB,
        cpus=read_count(text(values, "cpus") or "1", "--cpus", MOST_CPUS),
        disk=read_size(values, "disk", DEFAULT_DISK, kit.LEAST_DISK) // MIB * MIB,
        publish=read_ports(published if isinstance(published, list) else [], nodes),
        share=share.parse(shared) if shared else None,
        online=bool(values.get("online")),
        snapshot=not values.get("no_snapshot"),
        init=init,
    )


def text(values: dict[str, Value], name: str) -> str:
    """Give an option's word, "" if it was not given."""
    value = values.get(name)
    return value if isinstance(value, str) else ""


def read_count(word: str, option: str, most: int) -> int:
    """Read a number from 1 to `most`. Raises Error."""
    number = int(word) if word.isascii() and word.isdigit() and len(word) <= len(str(most)) else 0
    if not 1 <= number <= most:
        raise Error(f"{option} {word}: a number from 1 to {most} is needed")
    return number


def read_size(values: dict[str, Value], name: str, usual: int, least: int) -> int:
    """Read a size in bytes, as 512m or 1.5G. Raises Error."""
    word = text(values, name)
    size = read_bytes(word, f"--{name}") if word else usual
    if size < least:
        raise Error(f"--{name} {word}: at least {least // MIB}m are needed")
    return size


def read_ports(words: list[str], nodes: int) -> tuple[Publish, ...]:
    """Read [NODE:]HOSTPORT:GUESTPORT as often as given. Raises Error."""
    found: list[Publish] = []
    for word in words:
        parts = word.split(":")
        if len(parts) not in (PUBLISH_SHORT, PUBLISH_LONG):
            raise Error(f"--publish {word}: [NODE:]PORT:PORT is needed, as 8080:80 or node2:8080:80")
        node = node_name(parts[0], nodes) if len(parts) == PUBLISH_LONG else "node1"
        host, guest = (read_count(part, f"--publish {word}: port", LARGEST_PORT) for part in parts[-2:])
        if host in {each.host_port for each in found}:
            raise Error(f"--publish {word}: port {host} is published already")
        found.append(Publish(node=node, host_port=host, guest_port=guest))
    return tuple(found)


def node_name(word: str, nodes: int) -> str:
    """Read the name of a node, node2 or 2, of a fleet of `nodes`. Raises NotFound."""
    number = word.removeprefix("node")
    if number.isascii() and number.isdigit() and not number.startswith("0") and int(number[:3]) <= nodes:
        return f"node{number}"
    there = "there is node1" if nodes == 1 else f"there are node1 to node{nodes}"
    raise NotFound(f"there is no node {word}", there)
