"""One node in its keeper's hands: from a plan to a running guest, and to a clean end or a sudden one.

    STOPPED --start--> STARTING --> RUNNING --stop--> STOPPING --> STOPPED
                           |           |
                           +-> DEAD <--+  QEMU has ended, and nobody in the guest had powered it off

QEMU and virtiofsd are started by the keeper's first thread, the one that lives as long as the keeper: the
kernel kills them when the thread that started them ends. Waiting for the guest is done in other threads.

See PR_SET_PDEATHSIG(2const); qemu-qmp-ref(7), "SHUTDOWN", "BLOCK_IO_ERROR".
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from enum import StrEnum
from subprocess import Popen  # noqa: TID251 - only the type
from typing import Any

import msgspec

from minicontainer.errors import Error
from minicontainer.vm import scratch, settle, share, snapshot, ssh
from minicontainer.vm.conversation import GuestError
from minicontainer.vm.exchange import Exchange, GoneError
from minicontainer.vm.kit import Kit, plan
from minicontainer.vm.machine import POWER_OFF_SECONDS, SIGNS_OF_DEATH, Machine
from minicontainer.vm.nodes import NodeRecord
from minicontainer.vm.protocol import LONGEST_LINE
from minicontainer.vm.qemu import Plan

CHANGED_SECONDS = 60.0
FORWARDED = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\b")


class Event(msgspec.Struct, frozen=True):
    """Something that QEMU tells without being asked: qemu-qmp-ref(7)."""

    event: str = ""
    data: dict[str, Any] = {}


class State(StrEnum):
    """How a node is."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    DEAD = "dead"


class Node:
    """A node, its QEMU, its wire, and its record on disk."""

    def __init__(self, kit: Kit, record: NodeRecord) -> None:
        self.kit = kit
        self.record = record
        self.state = State.STOPPED
        self.why = ""
        self.machine: Machine | None = None
        self.exchange: Exchange | None = None
        self.over = asyncio.Event()
        self._file_server: Popen[bytes] | None = None
        self._monitor: asyncio.StreamWriter | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Give its name."""
        return self.record.name

    @property
    def pid(self) -> int | None:
        """Give the number of its QEMU."""
        return self.machine.process.pid if self.machine and self.machine.process else None

    # --- up --------------------------------------------------------------------------------------

    async def start(self, tell: Callable[[str], None]) -> None:
        """Bring it up, from a frozen guest if it has no disk yet. Raises Error; nothing runs then."""
        self.state, self.why = State.STARTING, ""
        self.over.clear()
        disk = self.kit.fleet.disk(self.name)
        thaws = self.kit.frozen is not None and not disk.exists()
        try:
            try:
                await self._start(tell, thaws=thaws)
            except Error as problem:
                if not thaws:
                    raise
                tell(f"{self.name}: the frozen guest does not go on ({problem.message.partition(';')[0]})")
                self.kill()
                self.over.clear()
                disk.unlink(missing_ok=True)
                await self._start(tell, thaws=False)
        except BaseException as problem:
            self.kill()
            self.state, self.why = State.DEAD, str(problem).partition(";")[0]
            raise
        tell(f"{self.name} is up: {self.record.address}")

    async def _start(self, tell: Callable[[str], None], *, thaws: bool) -> None:
        """Start what the node consists of, wait for the guest, take over its wire."""
        wanted = await asyncio.to_thread(self._planned, thaws)
        tell(f"{self.name}: {'going on from a frozen guest' if thaws else 'booting'}")
        machine = self.machine = self._begin(wanted)
        port = await asyncio.to_thread(self._greet, machine)
        self.exchange = await Exchange.over(machine.agent.lines.channel)
        self.exchange.task.add_done_callback(self._agent_has_gone)
        self.state = State.RUNNING
        reader, self._monitor = await asyncio.open_connection(
            sock=machine.control().channel, limit=LONGEST_LINE
        )
        self._watching = asyncio.create_task(self._watch(machine, reader))
        # One that was not powered off cannot be asked any more what its user had written.
        self.keep(running=True, ssh_port=port, written=self.record.written or self.record.running)

    def _planned(self, thaws: bool) -> Plan:
        """In a thread: plan it, and make its disk if there is none."""
        wanted = plan(self.kit, self.name, self.record.number)
        disk = self.kit.fleet.disk(self.name)
        if thaws and self.kit.frozen:
            return snapshot.thaw(wanted, self.kit.frozen)
        if not disk.exists():
            scratch.make(disk, self.kit.record.disk >> 20)
        return wanted

    def _begin(self, wanted: Plan) -> Machine:
        """Start the processes of this node."""
        kit, fleet = self.kit, self.kit.fleet
        console = wanted.path("console")
        if not console.is_symlink():
            console.symlink_to(fleet.console(self.name))
        if kit.record.share and wanted.share:
            log = fleet.folder(self.name) / "share.log"
            self._file_server = share.serve(list(kit.file_server), kit.record.share, wanted.share, log)
        machine = Machine(wanted, kit.emulator.command, kit.emulator.backend)
        machine.begin()
        return machine

    def _greet(self, machine: Machine) -> int:
        """In a thread: wait until the guest is there and make it this node; returns the port of its ssh."""
        machine.greet()
        settle.settle(machine, self._identity())
        told = machine.control().ask("human-monitor-command", **{"command-line": "info usernet"})
        found = FORWARDED.search(str(told))
        if found is None:
            raise GuestError(f"QEMU does not tell which port leads to {self.name}'s ssh")
        return int(found.group(1))

    def _identity(self) -> settle.Identity:
        fleet, record = self.kit.fleet, self.kit.record
        key = ssh.host_key(fleet, self.name)
        options = ("ro" if record.share.read_only else "rw") if record.share else ""
        return settle.Identity(
            number=self.record.number,
            nodes=record.nodes,
            online=record.online,
            share=options,
            authorized_key=ssh.public(fleet.state / "key"),
            host_key=key.read_text().strip(),
            host_key_public=ssh.public(key),
        )

    # --- down ------------------------------------------------------------------------------------

    async def stop(self, tell: Callable[[str], None]) -> None:
        """Power it off, or pull the plug after a while. Notes whether its user wrote something."""
        if self.state not in (State.RUNNING, State.PAUSED) or self.exchange is None:
            return
        if self.state is State.PAUSED and self._monitor:  # there may be room again
            self._monitor.write(b'{"execute": "cont"}\n')
        self.exchange.drop_commands()
        written = self.record.written or bool(await self.changed())
        self.state = State.STOPPING
        tell(f"{self.name}: powering off")
        clean = True
        try:
            async with asyncio.timeout(POWER_OFF_SECONDS):
                with contextlib.suppress(GoneError):
                    await self.exchange.ask("off")
                await self.over.wait()
        except TimeoutError:
            clean = False
        self.kill()
        self.state = State.STOPPED
        self.keep(running=False, written=written)
        tell(f"{self.name} is off" if clean else f"{self.name} did not power off: its plug was pulled")

    async def changed(self) -> list[str]:
        """Ask the guest which files its user has changed; one that does not answer may have changed any."""
        unknown = ["(it does not answer)"]
        if self.exchange is None:
            return unknown
        try:
            async with asyncio.timeout(CHANGED_SECONDS):
                ended = await self.exchange.run(settle.script("changed.sh"))
        except (GoneError, TimeoutError):
            return unknown
        return ended.out.decode(errors="replace").splitlines() if ended.exit == 0 else unknown

    def kill(self) -> None:
        """Pull the plug and close everything, at once."""
        if self._watching:
            self._watching.cancel()
            self._watching = None
        if self._monitor:
            self._monitor.close()
            self._monitor = None
        if self.exchange:
            self.exchange.close()
            self.exchange = None
        if self.machine:
            self.machine.kill()
            self.machine = None
        if self._file_server:
            share.end(self._file_server)
            self._file_server = None
        self.over.set()

    async def _watch(self, machine: Machine, reader: asyncio.StreamReader) -> None:
        """Listen to QEMU until it ends: asked by us, by the guest's own power-off, or by a failure."""
        events: dict[str, Event] = {}
        with contextlib.suppress(ValueError, ConnectionError, msgspec.MsgspecError):
            while line := await reader.readline():
                event = msgspec.json.decode(line, type=Event)
                events[event.event] = event
                self._heed(event)
        code = await asyncio.to_thread(machine.process.wait) if machine.process else 0
        asked = self.state is State.STOPPING
        self._watching = None  # this is not to be cancelled
        self.kill()
        if asked:
            return
        reason = events.get("SHUTDOWN", Event()).data.get("reason", "")
        if code == 0 and reason == "guest-shutdown":
            self.state, self.why = State.STOPPED, "it powered itself off"
            self.keep(running=False, written=True)  # nobody could ask it any more
        else:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with {code} {reason}".strip()
            sign = next((sign for sign in SIGNS_OF_DEATH if sign in machine.console()), "")
            self.state, self.why = State.DEAD, sign or f"its QEMU {how}"

    def _agent_has_gone(self, _task: object) -> None:
        if self.state is State.RUNNING:  # QEMU may end, too, and then we shall know more
            self.why = "its agent has gone"

    def _heed(self, event: Event) -> None:
        """Note that QEMU has paused the guest, which it does when a disk of it cannot be written."""
        if event.event == "BLOCK_IO_ERROR" and event.data.get("nospace"):
            self.why = "no room is left for its disk on this machine"
            if self.exchange:
                self.exchange.drop_commands()  # they would wait for ever
        elif event.event == "STOP" and self.state is State.RUNNING:
            self.state = State.PAUSED
        elif event.event == "RESUME" and self.state is State.PAUSED:
            self.state, self.why = State.RUNNING, ""

    def keep(self, *, running: bool, written: bool | None = None, ssh_port: int | None = None) -> None:
        """Write its record anew."""
        self.record = NodeRecord(
            name=self.name,
            running=running,
            written=self.record.written if written is None else written,
            ssh_port=self.record.ssh_port if ssh_port is None else ssh_port,
        )
        self.kit.fleet.keep(self.record)
