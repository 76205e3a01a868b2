"""Guests for tests: one image, one QEMU and one frozen guest for everybody who asks."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from minicontainer.vm import emulator, image, snapshot
from minicontainer.vm.machine import Machine
from minicontainer.vm.qemu import Disk, Hardware, Plan

HARDWARE = Hardware(memory=512)


@functools.cache
def the_image() -> image.Image:
    """The image, built once and kept in the cache."""
    return image.obtain(print)


@functools.cache
def the_emulator() -> emulator.Emulator:
    """QEMU and its backend."""
    return emulator.find(the_image(), print)


@contextmanager
def short_place() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="mcvm-", dir="/tmp") as place:
        yield Path(place)


def plan(place: Path, name: str = "guest", **changes: object) -> Plan:
    """A small guest without a toolkit."""
    return replace(Plan(the_image(), place, name, HARDWARE), **changes)


def machine(planned: Plan) -> Machine:
    """The guest that is planned."""
    return Machine(planned, the_emulator().command, the_emulator().backend)


def thawed(frozen: snapshot.Frozen, place: Path, name: str = "guest", **changes: object) -> Machine:
    """A clone of a frozen guest."""
    return machine(snapshot.thaw(plan(place, name, **changes), frozen))


def scratch_disk(place: Path, size: int = 64) -> Disk:
    """A disk for changes."""
    return Disk(place / "scratch", "scratch", size=size)
