"""The switch: who gets which frame, what a bad cable does, and that no guest can harm another."""

from __future__ import annotations

import asyncio
import random
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.vm import switch as module
from minicontainer.vm.switch import LONGEST, BadFrameError, Cable, Faults, Switch

EVERYONE = b"\xff" * 6
A, B, C = (bytes.fromhex(f"5254007700{number:02x}") for number in (1, 2, 3))
DEADLINE = 30.0


class Guest:
    """The other end of a cable: what QEMU does."""

    def __init__(self, switch: Switch, name: str) -> None:
        self.socket, far = socket.socketpair()
        self.socket.setblocking(False)
        self.received: list[bytes] = []
        self._cable = Cable(name)
        switch.plug(name, far)

    def send(self, target: bytes, sender: bytes, payload: bytes = b"") -> None:
        frame = target + sender + b"\x08\x00" + payload
        self.socket.sendall(len(frame).to_bytes(4, "big") + frame)

    def poll(self) -> list[bytes]:
        """Take what has arrived; give the payloads of all frames so far."""
        try:
            while data := self.socket.recv(1 << 16):
                self.received += [frame[14:] for frame in self._cable.frames_in(data)]
        except BlockingIOError:
            pass
        return self.received

    async def got(self, *payloads: bytes) -> None:
        """Wait until exactly these payloads have arrived."""
        await until(lambda: self.poll() == list(payloads))

    def is_unplugged(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0)


async def settle() -> None:
    """Let the switch do all that it can do now."""
    for _ in range(10):
        await asyncio.sleep(0)


def play(scene: Callable[[Switch, Guest, Guest, Guest], Coroutine[None, None, None]], seed: int = 1) -> None:
    """Run a scene with three guests on a switch whose dice are loaded."""

    async def run() -> None:
        switch = Switch(asyncio.get_running_loop(), random.Random(seed))
        guests = [Guest(switch, name) for name in ("node1", "node2", "node3")]
        try:
            await scene(switch, *guests)
        finally:
            switch.close()
            for guest in guests:
                guest.socket.close()

    asyncio.run(run())


def test_a_frame_to_an_unknown_address_goes_to_everybody_else() -> None:
    async def scene(_switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        one.send(B, A, b"hello")
        await two.got(b"hello")
        await three.got(b"hello")
        assert one.poll() == []

    play(scene)


def test_a_frame_to_a_known_address_goes_to_its_cable_only() -> None:
    async def scene(_switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        two.send(EVERYONE, B, b"here I am")
        await one.got(b"here I am")
        one.send(B, A, b"to two")
        await two.got(b"to two")
        one.send(EVERYONE, A, b"to all")
        await three.got(b"here I am", b"to all")

    play(scene)


def test_an_address_that_moves_is_found_behind_its_new_cable() -> None:
    async def scene(_switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        two.send(EVERYONE, B, b"1")
        await one.got(b"1")
        three.send(EVERYONE, B, b"2")
        await one.got(b"1", b"2")
        one.send(B, A, b"found")
        await three.got(b"1", b"found")
        assert two.poll() == [b"2"]

    play(scene)


def test_nothing_passes_a_cut_cable_in_either_direction_until_it_is_mended() -> None:
    async def scene(switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        switch.cables["node2"].faults = Faults(cut=True)
        one.send(EVERYONE, A, b"to the cut off")
        two.send(EVERYONE, B, b"from the cut off")
        await three.got(b"to the cut off")
        switch.cables["node2"].faults = Faults()
        one.send(EVERYONE, A, b"again")
        await two.got(b"again")
        await three.got(b"to the cut off", b"again")

    play(scene)


def test_a_lossy_cable_loses_its_share_and_keeps_the_order() -> None:
    async def scene(switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        switch.cables["node2"].faults = Faults(loss=0.3)
        sent = [b"%d" % number for number in range(1000)]
        for payload in sent:
            one.send(EVERYONE, A, payload)
            await asyncio.sleep(0)
        await three.got(*sent)
        await settle()
        dice = random.Random(7)
        assert two.poll() == [payload for payload in sent if dice.random() >= 0.3]
        assert 600 < len(two.received) < 800

    play(scene, seed=7)


def test_a_slow_cable_delivers_late_and_in_order() -> None:
    async def scene(switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        switch.cables["node2"].faults = Faults(delay=0.2)
        started = time.monotonic()
        for payload in (b"1", b"2", b"3"):
            one.send(EVERYONE, A, payload)
        await three.got(b"1", b"2", b"3")
        assert two.poll() == []
        await two.got(b"1", b"2", b"3")
        assert time.monotonic() - started >= 0.2
        assert switch.cables["node2"].late == 0

    play(scene)


def test_what_is_on_its_way_when_the_cable_is_cut_is_lost() -> None:
    async def scene(switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        cable = switch.cables["node2"]
        cable.faults = Faults(delay=0.05)
        one.send(EVERYONE, A, b"lost")
        await three.got(b"lost")
        cable.faults = Faults(cut=True)
        await until(lambda: cable.late == 0)
        cable.faults = Faults()
        one.send(EVERYONE, A, b"found")
        await two.got(b"found")

    play(scene)


def test_a_slow_cable_holds_a_bounded_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        monkeypatch.setattr(module, "BACKLOG", 1000)
        switch.cables["node2"].faults = Faults(delay=0.1)
        for number in range(20):
            one.send(EVERYONE, A, bytes([number]) * 86)
        await three.got(*(bytes([number]) * 86 for number in range(20)))
        await two.got(*(bytes([number]) * 86 for number in range(10)))

    play(scene)


def test_a_guest_that_does_not_read_loses_frames_and_holds_up_nobody() -> None:
    async def scene(switch: Switch, one: Guest, _two: Guest, three: Guest) -> None:
        sent = 0
        piece = bytes(60000)
        while not switch.cables["node2"].unsent:  # node2 reads nothing
            one.send(EVERYONE, A, piece)
            sent += 1
            await until(lambda count=sent: len(three.poll()) == count)
        for count in range(50):
            one.send(EVERYONE, A, piece)
            await until(lambda count=count: len(three.poll()) == sent + count + 1)

    play(scene)


def test_a_guest_that_reads_again_gets_whole_frames_again() -> None:
    async def scene(switch: Switch, one: Guest, two: Guest, _three: Guest) -> None:
        cable = switch.cables["node2"]
        while not cable.unsent:
            one.send(EVERYONE, A, bytes(60000))
            await settle()
        two.poll()
        await until(lambda: bool(two.poll()) and not cable.unsent)
        one.send(EVERYONE, A, b"after")
        await until(lambda: two.poll()[-1] == b"after")
        assert set(two.received[:-1]) == {bytes(60000)}

    play(scene)


@pytest.mark.parametrize("length", [0, 13, LONGEST + 1, 0xFFFFFFFF])
def test_a_frame_of_an_impossible_length_unplugs_its_sender(length: int) -> None:
    async def scene(switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        one.socket.sendall(length.to_bytes(4, "big") + bytes(100))
        await until(one.is_unplugged)
        two.send(EVERYONE, B, b"we go on")
        await three.got(b"we go on")
        assert switch.cables["node1"].guest is None

    play(scene)


def test_the_longest_frame_passes() -> None:
    async def scene(_switch: Switch, one: Guest, two: Guest, _three: Guest) -> None:
        one.send(EVERYONE, A, bytes(LONGEST - 14))
        await two.got(bytes(LONGEST - 14))

    play(scene)


def test_a_guest_with_endless_addresses_leaves_room_for_the_others() -> None:
    async def scene(switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        for number in range(1000):
            one.send(EVERYONE, b"\x02" + number.to_bytes(5, "big"))
            await settle()
            two.poll()
        await until(lambda: len(two.poll()) == 1000)
        two.send(EVERYONE, B, b"late")
        await until(lambda: one.poll() == [b"late"] and three.poll()[-1] == b"late")
        assert switch.cables["node1"].addresses == module.ADDRESSES
        one.send(B, A, b"to two alone")
        await until(lambda: two.poll()[-1] == b"to two alone")
        assert three.poll()[-1] == b"late"

    play(scene)


def test_a_frame_from_a_group_teaches_nothing() -> None:
    async def scene(_switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        one.send(EVERYONE, EVERYONE, b"from all to all")
        await two.got(b"from all to all")
        two.send(EVERYONE, B, b"still to all")
        await three.got(b"from all to all", b"still to all")

    play(scene)


def test_a_guest_that_vanishes_is_forgotten() -> None:
    async def scene(switch: Switch, one: Guest, two: Guest, three: Guest) -> None:
        two.send(EVERYONE, B, b"hello")
        await one.got(b"hello")
        two.socket.close()
        await until(lambda: switch.cables["node2"].guest is None)
        one.send(B, A, b"where is two?")
        await three.got(b"hello", b"where is two?")

    play(scene)


def test_a_new_guest_takes_over_the_cable_of_the_old_one() -> None:
    async def scene(switch: Switch, one: Guest, two: Guest, _three: Guest) -> None:
        again = Guest(switch, "node2")
        assert two.is_unplugged()
        one.send(EVERYONE, A, b"welcome")
        await again.got(b"welcome")
        again.socket.close()

    play(scene)


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vm") as name:
        yield Path(name)


def test_a_guest_plugs_in_at_the_socket_of_its_cable(place: Path) -> None:
    async def run() -> None:
        switch = Switch(asyncio.get_running_loop())
        guests = []
        for name in ("node1", "node2"):
            switch.lay(name, place / name)
            guests.append(socket.socket(socket.AF_UNIX))
            guests[-1].connect(str(place / name))
        await until(lambda: all(cable.guest for cable in switch.cables.values()))
        frame = EVERYONE + A + b"\x08\x00hello"
        guests[0].sendall(len(frame).to_bytes(4, "big") + frame)
        await settle()
        assert guests[1].recv(100)[4:] == frame
        switch.close()
        for guest in guests:
            guest.close()

    asyncio.run(run())


@given(st.lists(st.binary(min_size=14, max_size=80), max_size=20), st.data())
def test_frames_are_found_however_the_stream_is_cut(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    cable = Cable("node1")
    assert [frame for piece in pieces for frame in cable.frames_in(piece)] == frames
    assert not cable.received


@given(st.binary(max_size=300))
def test_garbage_is_a_bad_frame_or_kept_within_bounds(garbage: bytes) -> None:
    cable = Cable("node1")
    try:
        cable.frames_in(garbage)
    except BadFrameError:
        return
    assert len(cable.received) <= len(garbage)
