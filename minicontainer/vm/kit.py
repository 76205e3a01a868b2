"""Gather what a fleet is made from: image, QEMU, toolkit, file server, and a frozen guest to go on from.

All of it comes from the cache when it is there; the first time on a machine this takes a minute and says so.

See minicontainer/vm/image.py, emulator.py, toolkit.py and snapshot.py, each of which makes one of these.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from minicontainer.errors import Conflict, Error, NotFound
from minicontainer.vm import emulator, image, image_prune, nodes, share, snapshot, ssh, toolkit
from minicontainer.vm.conversation import GuestError
from minicontainer.vm.emulator import Emulator
from minicontainer.vm.image import Image
from minicontainer.vm.machine import Machine
from minicontainer.vm.nodes import Fleet, FleetRecord
from minicontainer.vm.qemu import LOOPBACK, Disk, Forward, Hardware, Plan
from minicontainer.vm.snapshot import Frozen

Tell = Callable[[str], None]
SSH = 22
LEAST_MEMORY, LEAST_DISK = 256, 256 << 20  # MiB to boot in; bytes for an ext4 with something in it
ROOM = 128 << 20  # bytes that a node writes before its user has done anything
MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Kit:
    """What all nodes of a fleet are made from."""

    fleet: Fleet
    record: FleetRecord
    image: Image
    emulator: Emulator
    toolkit: Path
    frozen: Frozen | None = None
    file_server: tuple[str, ...] = ()  # the words that start virtiofsd


def plan(kit: Kit, name: str, number: int) -> Plan:
    """Plan a node as it is to be when it boots from its own disk."""
    record = kit.record
    published = [Forward(each.host_port, each.guest_port) for each in record.publish if each.node == name]
    size = record.disk >> 20
    scratch_disk = [Disk(kit.fleet.disk(name), "scratch", size=size)] if size else []
    return Plan(
        kit.image,
        kit.fleet.runtime,
        name,
        Hardware(record.memory, record.cpus),
        disks=(Disk(kit.toolkit, "toolkit", read_only=True), *scratch_disk),
        number=number,
        lan=kit.fleet.runtime / f"{name}.lan",
        forwards=(Forward(0, SSH), *published),  # 0: a free port, which QEMU tells
        online=record.online,
        words=(f"minicontainer.init={record.init}",),
        share=kit.fleet.runtime / f"{name}.share" if record.share else None,
    )


def check(record: FleetRecord, directory: Path) -> None:
    """Refuse at once what cannot become anything: a port in use, no room, no memory. Raises Error."""
    check_memory(record)
    room = nodes.free_room(directory)
    if room < record.nodes * ROOM:
        raise Error(
            f"not enough room in {directory}: {room >> 20} MiB free, {record.nodes * ROOM >> 20} MiB needed",
            "remove something, or set XDG_STATE_HOME to a directory on a larger file system",
        )
    for each in record.publish:
        check_port(each.host_port)


def check_memory(record: FleetRecord) -> None:
    """Refuse more than the machine has; less may be promised twice, for guests seldom use all of theirs."""
    lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
    has = sum(int(lines[name].split()[0]) for name in ("MemTotal", "SwapTotal")) >> 10
    if record.memory * record.nodes > has:
        many = (
            f"{record.nodes} nodes with {record.memory} MiB each need"
            if record.nodes > 1
            else "the node needs"
        )
        raise Error(
            f"{many} {record.memory * record.nodes} MiB of memory, this machine has {has}",
            "give less --memory",
        )


def check_port(number: int) -> None:
    """Raise Conflict when somebody listens on a port of the loopback already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, number))
        except PermissionError:
            raise Error(f"port {number} may not be used by this user", "take one from 1024 on") from None
        except OSError:
            raise Conflict(
                f"port {number} of this machine is in use", "publish another one with -p"
            ) from None


def gather(fleet: Fleet, record: FleetRecord, tell: Tell) -> tuple[Kit, str]:
    """Gather everything for nodes that boot, and the toolkit's digest. Raises Error, Unsupported."""
    made = image_below(record, tell)
    found = emulator.find(made, tell)
    tell(found.describe())
    server = tuple(share.find_server(tell)) if record.share else ()
    bundle = fleet.state / "toolkit.tar"
    digest = toolkit.pack(bundle, tests=False)
    record = msgspec.structs.replace(record, image=made.key)
    return Kit(fleet, record, made, found, bundle, file_server=server), digest


def image_below(record: FleetRecord, tell: Tell) -> Image:
    """Find the image that the disks were written on; for new disks, obtain the one of today. Raises Error."""
    if not record.image:
        return image.obtain(tell)
    try:
        return image.find(record.image)
    except NotFound:
        raise NotFound(
            "the image that the nodes' disks lie on is gone", "`minicontainer vm down -y` deletes them"
        ) from None


def gather_new(fleet: Fleet, record: FleetRecord, tell: Tell) -> Kit:
    """Gather everything for a new fleet: its keys too, and a frozen guest. Raises Error, Unsupported."""
    kit, digest = gather(fleet, record, tell)
    image_prune.note_use(kit.image, fleet.state)
    ssh.make_keys(fleet, record.names())
    return replace(kit, frozen=freeze(kit, digest, tell))


def freeze(kit: Kit, digest: str, tell: Tell) -> Frozen | None:
    """Find or make the frozen guest that new nodes go on from; None where that is not wanted or fails."""
    if not kit.record.snapshot:
        return None
    if kit.record.share:
        tell("no frozen guest is used: one that shares a directory cannot be frozen")
        return None
    template = replace(plan(kit, "template", 0), lan=None, forwards=())
    try:
        return snapshot.cached(template, kit.emulator, digest, no_more, tell)
    except GuestError as problem:
        tell(f"every node boots by itself: freezing one failed ({problem.message.partition(';')[0]})")
        return None


def no_more(_machine: Machine) -> None:
    """Prepare nothing: a guest is frozen as it has come up."""
