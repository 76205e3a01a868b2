"""Frozen guests: boot once, stop in the middle of waiting, and go on from there as often as wanted.

    template:  memory is the file `ram`, shared;  freeze writes the devices' state to `state`
    clone:     maps `ram` copy-on-write, reads `state`, gets a clock and random numbers of its own

Ten clones share one file of memory. A clone needs the same QEMU, processor, memory and devices as its
template, so all of these are in the key; a frozen guest is never sent to another machine.

See qemu-qmp-ref(7), "migrate" and x-ignore-shared; minicontainer/vm/qmp.py.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from minicontainer.vm import scratch
from minicontainer.vm.conversation import GuestError
from minicontainer.vm.emulator import Emulator
from minicontainer.vm.image import cache, locked
from minicontainer.vm.machine import Machine
from minicontainer.vm.qemu import Plan

KEPT = 3  # frozen guests in the cache: each is a few hundred MiB


@dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen guest on the disk."""

    place: Path

    @property
    def ram(self) -> Path:
        """Its memory: sparse, as large as the guest's."""
        return self.place / "ram"

    @property
    def state(self) -> Path:
        """Its devices."""
        return self.place / "state"

    @property
    def scratch(self) -> Path:
        """Its scratch disk, if it had one: a clone gets a copy, for the memory knows what is on it."""
        return self.place / "scratch"

    def remove(self) -> None:
        """Delete it; clones that run keep what they have mapped."""
        shutil.rmtree(self.place, ignore_errors=True)


def freeze(plan: Plan, emulator: Emulator, place: Path, prepare: Callable[[Machine], None]) -> Frozen:
    """Boot `plan` as a template, let `prepare` warm it, and freeze it into `place`. Raises GuestError."""
    frozen = Frozen(place)
    try:
        return freeze_into(frozen, plan, emulator, prepare)
    except BaseException:
        frozen.remove()
        raise


def freeze_into(frozen: Frozen, plan: Plan, emulator: Emulator, prepare: Callable[[Machine], None]) -> Frozen:
    """Do the work of `freeze` in a directory that the caller removes on failure."""
    frozen.place.mkdir(parents=True, exist_ok=True)
    own = {"scratch": frozen.scratch}
    disks = tuple(replace(disk, path=own.get(disk.serial, disk.path)) for disk in plan.disks)
    for disk in disks:
        if disk.serial == "scratch":
            scratch.make(disk.path, disk.size)
    template = replace(plan, ram=frozen.ram, state=None, disks=disks)
    machine = Machine(template, emulator.command, emulator.backend)
    machine.start()
    try:
        prepare(machine)
        machine.sh("sync")
        machine.control().save(frozen.state, machine.check_alive)
    finally:
        machine.kill()
    return frozen


def thaw(plan: Plan, frozen: Frozen) -> Plan:
    """Plan a clone, and write its scratch disk where the plan names one. Raises Error."""
    for disk in plan.disks:
        if disk.serial == "scratch":
            scratch.copy(frozen.scratch, disk.path)
    return replace(plan, ram=frozen.ram, state=frozen.state)


def key(plan: Plan, emulator: Emulator, contents: str) -> str:
    """Name what clone and template have in common; `contents` stands for what `prepare` puts in."""
    devices = [f"{disk.serial}:{disk.read_only}:{disk.size}" for disk in plan.disks]
    parts = [
        *(*emulator.command, str(emulator.version), emulator.backend.accelerator, emulator.backend.cpu),
        *(plan.image.key, str(plan.image.initramfs), str(plan.hardware), *plan.words, *devices, contents),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def cached(
    plan: Plan,
    emulator: Emulator,
    contents: str,
    prepare: Callable[[Machine], None],
    tell: Callable[[str], None],
) -> Frozen:
    """Find the frozen guest that suits `plan`, or make it. Raises GuestError when it cannot be made.

    One process makes it at a time; a killed one leaves only what the next one clears.
    """
    place = cache() / "frozen"
    place.mkdir(parents=True, exist_ok=True)
    name = key(plan, emulator, contents)
    with locked(place, tell):
        found = place / name
        if not (found / "state").exists():
            clear_unfinished(place)
            unfinished = freeze(plan, emulator, place / f"{name}.unfinished", prepare)
            unfinished.place.rename(found)
            forget_old(place)
        os.utime(found)
    return Frozen(found)


def start(
    plan: Plan,
    emulator: Emulator,
    contents: str,
    prepare: Callable[[Machine], None],
    tell: Callable[[str], None],
) -> Machine:
    """Start a guest from a frozen one; where that fails, say so and boot it. Raises GuestError, Error.

    `prepare` has been done in it either way; `contents` names what that puts in.
    """
    try:
        machine = Machine(
            thaw(plan, cached(plan, emulator, contents, prepare, tell)), emulator.command, emulator.backend
        )
        machine.start()
    except GuestError as problem:
        tell(f"{plan.name}: no frozen guest to go on from, so it boots ({problem.message.splitlines()[0]})")
        forget(plan, emulator, contents)
        return boot(plan, emulator, prepare)
    return machine


def boot(plan: Plan, emulator: Emulator, prepare: Callable[[Machine], None]) -> Machine:
    """Start a guest the long way. Raises GuestError, Error."""
    for disk in plan.disks:
        if disk.serial == "scratch":
            scratch.make(disk.path, disk.size)
    machine = Machine(plan, emulator.command, emulator.backend)
    machine.start()
    try:
        prepare(machine)
    except BaseException:
        machine.kill()
        raise
    return machine


def forget(plan: Plan, emulator: Emulator, contents: str) -> None:
    """Remove a frozen guest that cannot be thawed."""
    shutil.rmtree(cache() / "frozen" / key(plan, emulator, contents), ignore_errors=True)


def clear_unfinished(place: Path) -> None:
    """Remove what a killed freeze has left."""
    for each in place.glob("*.unfinished"):
        shutil.rmtree(each, ignore_errors=True)


def forget_old(place: Path) -> None:
    """Keep the few that were used last."""
    frozen = sorted(
        (each for each in place.iterdir() if each.is_dir()), key=lambda each: each.stat().st_mtime
    )
    for each in frozen[:-KEPT]:
        shutil.rmtree(each, ignore_errors=True)
