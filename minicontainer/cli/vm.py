"""`minicontainer vm up, start, stop, down`: machines come, rest, and go.

    vm up ---> running <--vm start/stop--> stopped           vm down: from anywhere to nothing

What is on the disk decides, never what an earlier command remembered: each of these may have been killed.

See docs/vm.md; minicontainer/vm/keeper.py.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from minicontainer.cli.vm_words import end_in_order, node_name, read_wishes, tell
from minicontainer.errors import Conflict, Error, NotFound
from minicontainer.vm import keeper, kit, leash, nodes, protocol, temporary
from minicontainer.vm.keeper import Order
from minicontainer.vm.nodes import Fleet
from minicontainer.vm.protocol import NoKeeperError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value

KEEPER_ENDS = 90.0  # seconds for a keeper that takes its nodes down, or for another command to end
SHOWN = 5  # of the files that would be lost


def up(values: dict[str, Value]) -> int:
    """Make a fleet and start it; if that fails, nothing is left."""
    wishes = read_wishes(values)
    end_in_order()
    fleet = nodes.find()
    temporary.sweep()
    refuse_if_there_is_one(fleet)
    with nodes.seized(fleet) as lock:
        try:
            refuse_if_there_is_one(fleet)
            clear(fleet)
            kit.check(wishes, fleet.state)
            made = kit.gather_new(fleet, wishes, tell)
            leash.bring_up(Order(kit=made, names=[], fresh=True), lock, tell)
        except BaseException:
            if nodes.holds(lock, fleet) and not fleet.exists():
                fleet.remove()
            raise
    tell("`minicontainer vm ssh` opens a shell, `minicontainer vm down` deletes everything")
    return 0


def refuse_if_there_is_one(fleet: Fleet) -> None:
    """Raise Conflict when `vm up` has been here before."""
    if fleet.exists():
        raise Conflict(
            "there are virtual machines already",
            "`minicontainer vm list` shows them, `vm start` starts and `vm down` deletes them",
        )


def clear(fleet: Fleet) -> None:
    """Remove what a killed `vm up` has left, but not the directory whose lock we hold."""
    nodes.remove_tree(fleet.runtime)
    for each in fleet.state.iterdir():
        if each.is_dir():
            nodes.remove_tree(each)
        else:
            each.unlink()


def start(values: dict[str, Value]) -> int:
    """Start nodes; their disks are as they were."""
    end_in_order()
    fleet = nodes.find()
    record = existing(fleet)
    names = [node_name(word, record.nodes) for word in words(values)]
    try:
        protocol.call(fleet, protocol.Start(nodes=names), tell)
    except NoKeeperError:
        start_keeper(fleet, names)
    return 0


def start_keeper(fleet: Fleet, names: list[str]) -> None:
    """Start a keeper for a fleet that has none. Raises Error."""
    with nodes.seized(fleet, KEEPER_ENDS) as lock:
        record = existing(fleet)
        kit.check(record, fleet.state)
        made, _ = kit.gather(fleet, record, tell)
        leash.bring_up(Order(kit=made, names=names, fresh=False), lock, tell)


def existing(fleet: Fleet) -> nodes.FleetRecord:
    """Read what `vm up` was asked for. Raises NotFound when it was not."""
    if not fleet.exists():
        raise NotFound("there are no virtual machines", "`minicontainer vm up` makes some")
    return fleet.record()


def stop(values: dict[str, Value]) -> int:
    """Power nodes off; their disks are kept."""
    fleet = nodes.find()
    record = existing(fleet)
    names = [node_name(word, record.nodes) for word in words(values)]
    try:
        protocol.call(fleet, protocol.Stop(nodes=names), tell)
        if not names:
            os.close(nodes.seize(fleet, KEEPER_ENDS))  # when the keeper has ended, too
    except NoKeeperError:
        with nodes.seized(fleet, KEEPER_ENDS):  # it does not run, or ends at the moment
            nodes.remove_place(fleet.runtime)
    return 0


def down(values: dict[str, Value]) -> int:
    """Stop and delete everything, after asking if something would be lost."""
    fleet = nodes.find()
    temporary.sweep()
    if not fleet.state.exists() and not fleet.runtime.exists():
        tell("there are no virtual machines")
        return 0
    if not values.get("yes") and fleet.exists():
        ask_first(would_be_lost(fleet))
    # Without one, it was killed, or another command starts or ends it: the lock tells when that is over.
    with contextlib.suppress(NoKeeperError):
        protocol.call(fleet, protocol.Down())
    with nodes.seized(fleet, KEEPER_ENDS):
        fleet.remove()
    tell("the virtual machines are deleted")
    return 0


def would_be_lost(fleet: Fleet) -> dict[str, list[str]]:
    """Find what users have written to the disks since `vm up`: a few files for each node."""
    try:
        return dict(protocol.call(fleet, protocol.Changed())["changed"])
    except NoKeeperError:
        known = [node for node in fleet.nodes() if node.running or node.written]
        return {node.name: ["(something, before it was last stopped)"] for node in known}


def ask_first(changed: dict[str, list[str]]) -> None:
    """Ask whether what was written may be deleted. Raises Conflict if not, or if nobody can be asked."""
    written = {name: files for name, files in changed.items() if files}
    if not written:
        return
    for name, files in written.items():
        tell(f"written on {name}: {', '.join(files[:SHOWN])}")
    if not sys.stdin.isatty():
        raise Conflict("something was written to the disks, and there is no terminal to ask", "`vm down -y`")
    sys.stderr.write("Delete it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Conflict("nothing was deleted")


def words(values: dict[str, Value]) -> list[str]:
    """Give the names of nodes on the command line."""
    given = values.get("node")
    return given if isinstance(given, list) else []


def keep(values: dict[str, Value]) -> int:
    """Be a keeper: the hidden command that `vm up` and `vm start` begin."""
    numbers = [str(values[name]) for name in ("leash", "lock")]
    if not all(number.isdigit() and Path("/proc/self/fd", number).exists() for number in numbers):
        raise Error("`vm keeper` is started by `vm up` alone", "see docs/vm.md")
    leash_end, lock = map(int, numbers)
    return keeper.main(leash_end, lock)
