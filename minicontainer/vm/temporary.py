"""A node for one command: started, used and deleted by one process, without a keeper, a disk or a network.

    RUNTIME/minicontainer-vm/run-PID/     its sockets and toolkit; locked while the command lives

If the command is killed, the kernel kills QEMU, and the next command that comes along removes the directory.

See minicontainer/vm/snapshot.py; flock(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from minicontainer.vm import kit, nodes, settle, share, snapshot
from minicontainer.vm.kit import Kit, plan
from minicontainer.vm.machine import Machine
from minicontainer.vm.nodes import Fleet, FleetRecord

Tell = Callable[[str], None]
PREFIX = "run-"


@contextlib.contextmanager
def node(record: FleetRecord, tell: Tell) -> Iterator[Machine]:
    """Start a node for the block. Raises Error."""
    sweep()
    with directory() as place:
        kit.check(record, place)
        made, digest = kit.gather(Fleet(place, place), record, tell)
        with contextlib.ExitStack() as undo:
            machine = start(made, digest, tell, undo)
            undo.callback(machine.kill)  # nothing of it will be needed: no reason to wait for its power-off
            options = ("ro" if record.share.read_only else "rw") if record.share else ""
            settle.settle(machine, settle.Identity(number=1, online=record.online, share=options))
            yield machine


def start(made: Kit, digest: str, tell: Tell, undo: contextlib.ExitStack) -> Machine:
    """Go on from a frozen guest, or boot where a directory is shared."""
    wanted = replace(plan(made, "node1", 1), lan=None, forwards=())
    shared = made.record.share
    if shared is None or wanted.share is None:
        return snapshot.start(wanted, made.emulator, digest, kit.no_more, tell)
    log = wanted.place / "share.log"
    undo.callback(share.end, share.serve(list(made.file_server), shared, wanted.share, log))
    return snapshot.boot(wanted, made.emulator, kit.no_more)


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Give a directory that is locked, and removed in the end."""
    place = nodes.runtime_home() / f"{PREFIX}{os.getpid()}"
    with nodes.seized(Fleet(place, place)):
        try:
            yield place
        finally:
            nodes.remove_place(place)


def sweep() -> None:
    """Remove what killed commands have left."""
    for place in nodes.runtime_home().glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else removes it
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                nodes.remove_place(place)
            except BlockingIOError:
                pass  # its command lives
            finally:
                os.close(fd)
