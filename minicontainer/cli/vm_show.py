"""`minicontainer vm list`, `vm console` and `vm cable`: how nodes are, what they say, how they are joined.

See docs/vm.md.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import msgspec

from minicontainer.cli.vm_words import node_name, tell, text
from minicontainer.errors import Error, NotFound
from minicontainer.vm import nodes, protocol
from minicontainer.vm.nodes import Fleet, FleetRecord, NodeRecord
from minicontainer.vm.protocol import NodeState, NoKeeperError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value

COLUMNS = ("name", "state", "address", "ports", "cable", "memory", "cpus", "pid", "why")
FORMATS = ("table", "json")
GLANCE = 0.2  # seconds between two looks at a console
USUAL_LOSS, USUAL_DELAY = "20", "200"  # percent, milliseconds
MOST_DELAY = 60_000
HUNDRED = 100.0


def show(values: dict[str, Value]) -> int:
    """Show all nodes."""
    form = text(values, "format") or "table"
    if form not in FORMATS:
        raise Error(f"--format {form}: there is table and json")
    found = look(nodes.find())
    if form == "json":
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    elif found:
        sys.stdout.write(table([list(COLUMNS), *(row(node) for node in found)]))
    else:
        tell("there are no virtual machines")
    return 0


def look(fleet: Fleet) -> list[dict[str, Any]]:
    """Ask the keeper how the nodes are; without one, the records and the fleet's lock tell."""
    try:
        return list(protocol.call(fleet, protocol.List())["nodes"])
    except NoKeeperError:
        if not fleet.exists():
            return []
    record, owned = fleet.record(), nodes.is_owned(fleet)
    return [msgspec.to_builtins(unkept(node, record, owned=owned)) for node in fleet.nodes()]


def unkept(node: NodeRecord, record: FleetRecord, *, owned: bool) -> NodeState:
    """Say how a node is that no keeper answers for: one that should run is dead."""
    state = "busy" if owned else "dead" if node.running else "stopped"
    return NodeState(
        name=node.name,
        state=state,
        address=node.address,
        ports=[f"{each.host_port}:{each.guest_port}" for each in record.publish if each.node == node.name],
        cable="",
        memory=f"{record.memory} MiB",
        cpus=record.cpus,
        why="its keeper was killed" if state == "dead" else "",
    )


def row(node: dict[str, Any]) -> list[str]:
    """Write a node's cells."""
    cells = (node.get(column) for column in COLUMNS)
    return [",".join(cell) if isinstance(cell, list) else "" if cell is None else str(cell) for cell in cells]


def table(rows: list[list[str]]) -> str:
    """Lay rows out in columns, the first as the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [[cell.upper() for cell in rows[0]], *rows[1:]]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in rows)
    return "".join(line.rstrip() + "\n" for line in lines)


# --- console ------------------------------------------------------------------------------------


def console(values: dict[str, Value]) -> int:
    """Print a node's console, and go on with what comes."""
    fleet = nodes.find()
    if not fleet.exists():
        raise NotFound("there are no virtual machines", "`minicontainer vm up` makes some")
    name = node_name(text(values, "node") or "node1", fleet.record().nodes)
    at = print_from(fleet, name, 0)
    while values["follow"] and runs(fleet, name):
        time.sleep(GLANCE)
        at = print_from(fleet, name, at)
    if at == 0 and not values["follow"]:
        tell(f"{name} has said nothing: it went on from a frozen guest, whose boot nobody kept")
    print_from(fleet, name, at)
    return 0


def print_from(fleet: Fleet, name: str, at: int) -> int:
    """Print what is new in a console; returns where it ends now. One that has shrunk has begun anew."""
    try:
        with fleet.console(name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(at if at <= size else 0)
            sys.stdout.buffer.write(file.read())
            sys.stdout.buffer.flush()
            return file.tell()
    except FileNotFoundError:
        return 0


def runs(fleet: Fleet, name: str) -> bool:
    """Tell whether more may come from a node."""
    return any(
        node["name"] == name and node["state"] in ("running", "starting", "stopping") for node in look(fleet)
    )


# --- cable --------------------------------------------------------------------------------------


def cut(values: dict[str, Value]) -> int:
    """Cut a node off."""
    return afflict(values, cut=True)


def lossy(values: dict[str, Value]) -> int:
    """Lose a share of the frames."""
    loss = read_number(text(values, "loss").removesuffix("%") or USUAL_LOSS, "--loss", HUNDRED)
    return afflict(values, loss=loss / HUNDRED)


def slow(values: dict[str, Value]) -> int:
    """Delay each frame."""
    delay = read_number(text(values, "delay").removesuffix("ms") or USUAL_DELAY, "--delay", MOST_DELAY)
    return afflict(values, delay=delay / 1000)


def mend(values: dict[str, Value]) -> int:
    """Undo all of it."""
    return afflict(values)


def afflict(values: dict[str, Value], **faults: Any) -> int:
    """Tell the keeper what is wrong with a node's cable now."""
    fleet = nodes.find()
    if not fleet.exists():
        raise NoKeeperError("no virtual machine is running", "`minicontainer vm up`")
    name = node_name(text(values, "node"), fleet.record().nodes)
    protocol.call(fleet, protocol.Cable(node=name, **faults))
    return 0


def read_number(word: str, option: str, most: float) -> float:
    """Read a number from 0 to `most`. Raises Error."""
    try:
        number = float(word)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise Error(f"{option} {word}: a number from 0 to {most:.0f} is needed")
    return number
