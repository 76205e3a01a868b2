"""The network of a fleet: a learning Ethernet switch in user space, so that guests meet without a privilege.

    node1's QEMU ==cable== switch ==cable== node2's QEMU      a cable is a unix stream socket of its own;
                              ||                              a frame on it: 4 bytes of length, then the frame
                           node3's QEMU

A frame to an address that was seen behind a cable leaves through that one, any other through all others.
A cable can be cut, or made lossy or slow: each fault holds for both directions.

No guest is trusted: frames too long or too short, addresses without end and a guest that does not read cost
nobody but their own cable. All of it runs in one event loop, which never waits for a guest.

See IEEE 802.1D clause 7 (learning, forwarding, the filtering database); qemu(1), "-netdev stream".
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

LENGTH = 4  # bytes before each frame, in network order
SHORTEST, LONGEST = 14, 4096 + 65536  # an Ethernet header; QEMU's own bound (NET_BUFSIZE)
GROUP_BIT = 1  # in the first byte of an address: broadcast or multicast
READ = 1 << 18
BACKLOG = (
    4 << 20
)  # bytes that wait for one guest, in the socket or for a slow cable, before frames are dropped
ADDRESSES = 256  # learned behind one cable; beyond, frames to them go everywhere, as they do in a real switch


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with a cable."""

    cut: bool = False
    loss: float = 0.0  # the share of frames that is lost, 0 to 1
    delay: float = 0.0  # seconds, each way


SOUND = Faults()


class BadFrameError(Exception):
    """What came out of a cable cannot be a frame."""


@dataclass(eq=False, slots=True)
class Cable:
    """One guest's connection: what it has sent in part, and what it has not taken yet."""

    name: str
    faults: Faults = SOUND
    guest: socket.socket | None = None
    late: int = 0  # bytes on their way through a slow cable
    addresses: int = 0
    received: bytearray = field(default_factory=bytearray)
    unsent: bytes = b""

    def frames_in(self, data: bytes) -> list[bytes]:
        """Take received bytes and return the frames that are complete now. Raises BadFrameError."""
        self.received += data
        found, start = [], 0
        while len(self.received) >= start + LENGTH:
            end = start + LENGTH + int.from_bytes(self.received[start : start + LENGTH], "big")
            if not start + LENGTH + SHORTEST <= end <= start + LENGTH + LONGEST:
                raise BadFrameError
            if len(self.received) < end:
                break
            found.append(bytes(self.received[start + LENGTH : end]))
            start = end
        del self.received[:start]
        return found


class Switch:
    """Cables by name, and behind which of them each address was seen last."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random | None = None) -> None:
        self.cables: dict[str, Cable] = {}
        self._loop = loop
        self._chance = chance or random.Random()  # noqa: S311 - losing frames is no secret
        self._doors: list[socket.socket] = []
        self._behind: dict[bytes, Cable] = {}

    def lay(self, name: str, path: Path) -> None:
        """Lay a cable to the socket at `path`, where its guest may plug in, and plug in again later."""
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._doors.append(door)
        door.setblocking(False)
        door.bind(str(path))
        door.listen(1)
        self.cables[name] = Cable(name)
        self._loop.add_reader(door, self._accept, name, door)

    def plug(self, name: str, guest: socket.socket) -> None:
        """Connect a guest's socket to a cable; whoever was there before is pulled out."""
        cable = self.cables.setdefault(name, Cable(name))
        self.unplug(cable)
        guest.setblocking(False)
        guest.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BACKLOG)
        cable.guest = guest
        self._loop.add_reader(guest, self._receive, cable, guest)

    def unplug(self, cable: Cable) -> None:
        """Pull a guest out of its cable and forget what it was sending and where it was seen."""
        if cable.guest is None:
            return
        self._loop.remove_reader(cable.guest)
        self._loop.remove_writer(cable.guest)
        cable.guest.close()
        cable.guest, cable.unsent, cable.addresses = None, b"", 0
        cable.received.clear()
        self._behind = {address: other for address, other in self._behind.items() if other is not cable}

    def close(self) -> None:
        """Pull out everything."""
        for cable in self.cables.values():
            self.unplug(cable)
        for door in self._doors:
            self._loop.remove_reader(door)
            door.close()
        self._doors.clear()

    def _accept(self, name: str, door: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the guest has gone again
            self.plug(name, door.accept()[0])

    def _receive(self, cable: Cable, guest: socket.socket) -> None:
        try:
            frames = cable.frames_in(guest.recv(READ) or _gone())
        except BlockingIOError:
            return
        except (OSError, BadFrameError):
            self.unplug(cable)
            return
        for frame in frames:
            self._travel(cable, frame, self._forward)

    def _travel(self, cable: Cable, frame: bytes, arrive: Callable[[Cable, bytes], None]) -> None:
        """Send a frame through a cable, whose faults decide whether and when it arrives at the other end."""
        faults = cable.faults
        if faults.cut or (faults.loss and self._chance.random() < faults.loss):
            return
        if not faults.delay:
            arrive(cable, frame)
        elif cable.late + len(frame) <= BACKLOG:
            cable.late += len(frame)
            self._loop.call_later(faults.delay, self._arrive_late, cable, frame, arrive)

    def _arrive_late(self, cable: Cable, frame: bytes, arrive: Callable[[Cable, bytes], None]) -> None:
        cable.late -= len(frame)
        if not cable.faults.cut:
            arrive(cable, frame)

    def _forward(self, source: Cable, frame: bytes) -> None:
        self._learn(frame[6:12], source)
        target = None if frame[0] & GROUP_BIT else self._behind.get(frame[:6])
        for cable in [target] if target else self.cables.values():
            if cable is not source:
                self._travel(cable, frame, self._send)

    def _learn(self, address: bytes, cable: Cable) -> None:
        before = self._behind.get(address)
        if address[0] & GROUP_BIT or before is cable or cable.addresses >= ADDRESSES:
            return
        if before:
            before.addresses -= 1
        cable.addresses += 1
        self._behind[address] = cable

    def _send(self, cable: Cable, frame: bytes) -> None:
        """Give a frame to a guest; one that is still busy with the frame before loses it."""
        if cable.guest and not cable.unsent:
            self._write(cable, cable.guest, len(frame).to_bytes(LENGTH, "big") + frame)

    def _write(self, cable: Cable, guest: socket.socket, data: bytes) -> None:
        try:
            sent = guest.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0 if cable.unsent else len(data)  # nothing of this frame is out yet: drop all of it
        except OSError:
            self.unplug(cable)
            return
        busy, cable.unsent = bool(cable.unsent), data[sent:]
        if cable.unsent and not busy:
            self._loop.add_writer(guest, lambda: self._write(cable, guest, cable.unsent))
        elif busy and not cable.unsent:
            self._loop.remove_writer(guest)


def _gone() -> bytes:
    raise ConnectionResetError
