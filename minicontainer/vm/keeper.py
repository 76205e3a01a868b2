"""The keeper: one process for a fleet, which owns the switch, the QEMUs and the fleet's lock.

    vm up --leash--> keeper  +-- switch (this process)
    vm list -------> control |-- QEMU of node1, virtiofsd
    vm run --------> socket  +-- QEMU of node2 ...

The leash is a socket pair: over it `vm up` hears how far things are. If it closes before the word "go" was
said, everything is taken down again.
If the keeper is killed, the kernel kills its children and frees its lock; only files are left for `vm down`.
One loop serves everybody; it never waits for a guest or a command.

See minicontainer/vm/protocol.py, minicontainer/vm/nodes.py; PR_SET_PDEATHSIG(2const), flock(2).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from minicontainer.errors import Error, NotFound
from minicontainer.vm import nodes, protocol, ssh
from minicontainer.vm.kit import Kit
from minicontainer.vm.node import Node, State
from minicontainer.vm.nodes import NodeRecord
from minicontainer.vm.protocol import Answer, NodeState, Request
from minicontainer.vm.switch import SOUND, Faults, Switch

Tell = Callable[[str], None]


class Keeper:
    """A fleet while it runs. Used from one event loop."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.switch = Switch(asyncio.get_running_loop())
        self.nodes = {name: Node(kit, self._known(name)) for name in kit.record.names()}
        self.finished = asyncio.Event()
        self.powers_off = True  # in the end; False: pulls all plugs
        self._doors: list[asyncio.Server] = []
        # As many guests come up at once as the machine has processors: more would only wait for each other.
        self._places = asyncio.Semaphore(max(2, os.cpu_count() or 1))

    def _known(self, name: str) -> NodeRecord:
        try:
            return self.kit.fleet.node(name)
        except NotFound:
            return NodeRecord(name=name)

    # --- life ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Lay the cables and open the control socket."""
        for name in self.nodes:
            self.switch.lay(name, self.kit.fleet.runtime / f"{name}.lan")
        door = await asyncio.start_unix_server(
            self._serve, self.kit.fleet.control, limit=protocol.LONGEST_LINE
        )
        self._doors.append(door)

    async def start(self, names: list[str], tell: Tell) -> None:
        """Start nodes side by side. The first that does not come up takes the others of this call with it."""
        wanted = [self._node(name) for name in names or self.nodes]
        idle = [node for node in wanted if node.state in (State.STOPPED, State.DEAD)]

        async def start_one(node: Node) -> None:
            async with self._places:
                await node.start(tell)

        tasks = [asyncio.create_task(start_one(node)) for node in idle]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            for node in idle:
                node.kill()
                node.state = State.DEAD if node.why else State.STOPPED
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def stop(self, names: list[str], tell: Tell) -> None:
        """Power nodes off side by side; when none is left, this process ends as well."""
        await asyncio.gather(*(self._node(name).stop(tell) for name in names or self.nodes))
        if not names or all(node.state is State.STOPPED for node in self.nodes.values()):
            self.finished.set()

    def close(self, *, remove: bool) -> None:
        """Pull all plugs, and remove the sockets, or everything."""
        for door in self._doors:
            door.close()
        for node in self.nodes.values():
            ssh.hang_up(self.kit.fleet, node.name)
            node.kill()
        self.switch.close()
        if remove:
            self.kit.fleet.remove()
        else:
            nodes.remove_place(self.kit.fleet.runtime)

    def _node(self, name: str) -> Node:
        try:
            return self.nodes[name]
        except KeyError:
            raise NotFound(f"there is no node {name}", f"there are: {', '.join(self.nodes)}") from None

    # --- requests --------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what one command asks for; its connection may turn into one to an agent."""
        try:
            request = protocol.REQUEST.decode(await reader.readline())
            if isinstance(request, protocol.Agent):
                await self._attach(request, reader, writer)
            else:
                await self._answer(request, lambda answer: send(writer, answer))
            await writer.drain()
        except (ValueError, msgspec.MsgspecError, ConnectionError):
            pass  # not one of our commands, or it has gone
        finally:
            writer.close()

    async def _answer(self, request: Request, say: Callable[[Answer], None]) -> None:
        try:
            say(Answer(done=await self._do(request, lambda line: say(Answer(told=line)))))
        except Error as problem:
            say(Answer(failed=str(problem), hint=problem.hint))

    async def _do(self, request: Request, tell: Tell) -> dict[str, Any]:
        match request:
            case protocol.List():
                return {"nodes": [msgspec.to_builtins(self.describe(node)) for node in self.nodes.values()]}
            case protocol.Start():
                await self.start(request.nodes, tell)
            case protocol.Stop():
                await self.stop(request.nodes, tell)
            case protocol.Changed():
                return {"changed": await self.changed()}
            case protocol.Down():
                self.powers_off = False
                self.finished.set()  # whoever asked removes the files when our lock is free
            case protocol.Cable():
                self._node(request.node)
                faults = Faults(cut=request.cut, loss=request.loss, delay=request.delay)
                self.switch.cables[request.node].faults = faults
        return {}

    async def _attach(
        self, request: protocol.Agent, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Connect a command to a node's agent."""
        try:
            node = self._node(request.node)
            if node.exchange is None or node.state is not State.RUNNING:
                raise Error(
                    f"{node.name} does not run: it is {node.state}", f"`minicontainer vm start {node.name}`"
                )
        except Error as problem:
            send(writer, Answer(failed=str(problem), hint=problem.hint))
            return
        send(writer, Answer(done={}))
        await node.exchange.attach(reader, writer)

    async def changed(self) -> dict[str, list[str]]:
        """Find for each node the files that its user has changed, as far as that is known."""
        found = {}
        for name, node in self.nodes.items():
            files = await node.changed() if node.state is State.RUNNING else []
            if not files and (node.record.written or node.state is State.DEAD):
                files = ["(before it was last started or stopped)"]
            found[name] = files
        return found

    def describe(self, node: Node) -> NodeState:
        """Say how a node is."""
        record = self.kit.record
        published = [each for each in record.publish if each.node == node.name]
        return NodeState(
            name=node.name,
            state=node.state,
            address=node.record.address,
            ports=[f"{each.host_port}:{each.guest_port}" for each in published],
            cable=describe_cable(self.switch.cables[node.name].faults),
            memory=f"{record.memory} MiB",
            cpus=record.cpus,
            pid=node.pid,
            why=node.why,
        )


def describe_cable(faults: Faults) -> str:
    """Say in a few words how a cable is."""
    if faults == SOUND:
        return "ok"
    if faults.cut:
        return "cut"
    words = [f"loses {faults.loss:.0%}"] if faults.loss else []
    return ", ".join([*words, *([f"{faults.delay * 1000:.0f} ms late"] if faults.delay else [])])


def send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Write one line to a command."""
    if not writer.is_closing():
        writer.write(msgspec.json.encode(answer) + b"\n")


# --- the process --------------------------------------------------------------------------------


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a keeper is started with, the first line on its leash."""

    kit: Kit
    names: list[str]  # of the nodes to start; none: all
    fresh: bool  # this is `vm up`: if it does not succeed, nothing may stay


def main(leash: int, lock: int) -> int:
    """Be the keeper of the fleet whose lock the descriptor `lock` holds, until this process ends."""
    os.set_inheritable(lock, False)
    with socket.socket(fileno=leash) as channel:
        order = msgspec.json.decode(read_line(channel), type=Order, dec_hook=lambda kind, text: kind(text))
        channel.set_inheritable(False)
        asyncio.run(keep(order, channel))
    return 0


def read_line(channel: socket.socket) -> bytes:
    """Read a first line byte by byte: what follows it belongs to the loop."""
    line = bytearray()
    while not line.endswith(b"\n"):
        line += channel.recv(1) or b"\n"
    return bytes(line)


async def keep(order: Order, leash: socket.socket) -> None:
    """Bring the fleet up, wait for the word to go on alone, and keep it until it is stopped or taken down."""
    reader, writer = await asyncio.open_connection(sock=leash, limit=protocol.LONGEST_LINE)
    keeper = Keeper(order.kit)
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, keeper.finished.set)
    remove = order.fresh
    try:
        if await come_up(keeper, order, reader, lambda answer: send(writer, answer)):
            remove = False
            writer.close()
            await keeper.finished.wait()
            if keeper.powers_off:
                await keeper.stop([], lambda _line: None)
    finally:
        keeper.close(remove=remove)


async def come_up(
    keeper: Keeper, order: Order, reader: asyncio.StreamReader, say: Callable[[Answer], None]
) -> bool:
    """Start the nodes and wait for the word "go"; False if they failed, or the leash was let go of before."""
    starting = asyncio.create_task(keeper.start(order.names, lambda line: say(Answer(told=line))))
    word = asyncio.create_task(reader.readline())
    try:
        await keeper.open()
        await asyncio.wait([starting, word], return_when=asyncio.FIRST_COMPLETED)
        if word.done():
            return False
        await starting
        if order.fresh:
            order.kit.fleet.keep(order.kit.record)
        say(Answer(done={}))
        return bool(await word)
    except Error as problem:
        say(Answer(failed=str(problem), hint=problem.hint))
        return False
    finally:
        for task in (starting, word):
            task.cancel()
        await asyncio.gather(starting, word, return_exceptions=True)
