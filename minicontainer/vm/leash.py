"""Starting a keeper and holding it until its nodes are up; what `vm up` and `vm start` do.

If this process is killed meanwhile, the leash falls, and the keeper takes everything down. Only the word "go"
lets it live on.

See minicontainer/vm/keeper.py, the other end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

import minicontainer
from minicontainer import launch
from minicontainer.errors import Error
from minicontainer.linux import programs
from minicontainer.vm import nodes, protocol
from minicontainer.vm.conversation import Lines
from minicontainer.vm.keeper import Order
from minicontainer.vm.nodes import Fleet
from minicontainer.vm.protocol import Answer

LOG = "keeper.log"
GO = b"go\n"


def bring_up(order: Order, lock: int, tell: Callable[[str], None]) -> None:
    """Start a keeper, which takes over the lock, and wait until its nodes are up. Raises Error."""
    fleet = order.kit.fleet
    nodes.remove_tree(fleet.runtime)  # what a killed keeper left: we hold the lock
    nodes.make(fleet.runtime)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            start(fleet, theirs.fileno(), lock)
        try:
            ours.sendall(msgspec.json.encode(order, enc_hook=str) + b"\n")
            listen(ours, fleet, tell)
            ours.sendall(GO)
        finally:
            wait_for_end(ours)


def start(fleet: Fleet, leash: int, lock: int) -> None:
    """Start the keeper's process, which is nobody's child once we have ended."""
    libraries = launch.libraries or str(Path(msgspec.__file__).parent.parent)
    program = str(Path(minicontainer.__path__[0]) / "launch.py")
    line = [sys.executable, "-I", "-S", "-X", "utf8", program, "minicontainer", libraries, "vm", "keeper"]
    log = os.open(
        fleet.state / LOG, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    try:
        programs.start_alone([*line, str(leash), str(lock)], outputs=log, pass_fds=(leash, lock))
    finally:
        os.close(log)


def listen(leash: socket.socket, fleet: Fleet, tell: Callable[[str], None]) -> None:
    """Hear what the keeper tells until all nodes are up. Raises Error when they do not come up."""
    lines = Lines(leash)
    while True:
        try:
            answer = msgspec.convert(lines.read(protocol.FOR_EVER), Answer)
        except ConnectionError:
            raise Error(f"the keeper of the virtual machines ended: {last_words(fleet)}") from None
        if answer.told is not None:
            tell(answer.told)
        if answer.failed is not None:
            raise Error(answer.failed, answer.hint)
        if answer.done is not None:
            return


def wait_for_end(leash: socket.socket) -> None:
    """Let go of the leash and wait until the keeper has, too: it goes on alone, or has cleaned up."""
    with contextlib.suppress(OSError):
        leash.shutdown(socket.SHUT_WR)
        leash.settimeout(None)
        while leash.recv(1 << 16):
            pass


def last_words(fleet: Fleet) -> str:
    """Give the last line of the keeper's log: a bug shows here."""
    try:
        lines = (fleet.state / LOG).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it does not say why"
