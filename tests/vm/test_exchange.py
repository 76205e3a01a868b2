"""The exchange: many commands over one wire, each as if it were alone, and what happens when one goes."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from minicontainer.vm.exchange import Exchange, GoneError, decode

DEADLINE = 30.0
Message = dict[str, Any]


class End:
    """One end of a connection that speaks JSON lines: the agent, or a command."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, **message: object) -> None:
        self.writer.write(json.dumps(message).encode() + b"\n")

    async def hear(self) -> Message:
        async with asyncio.timeout(DEADLINE):
            line = await self.reader.readline()
        assert line, "the other end has hung up"
        found: Message = json.loads(line)
        return found

    async def is_told_the_end(self) -> bool:
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


async def pair() -> tuple[socket.socket, End]:
    ours, theirs = socket.socketpair()
    return ours, End(*await asyncio.open_connection(sock=theirs))


class Scene:
    """An exchange, the agent at its far end, and commands."""

    def __init__(self, exchange: Exchange, agent: End) -> None:
        self.exchange, self.agent = exchange, agent
        self.attached: list[asyncio.Task[None]] = []
        self.ends = [agent]

    async def command(self) -> End:
        ours, end = await pair()
        reader, writer = await asyncio.open_connection(sock=ours)
        self.ends.append(End(reader, writer))
        self.ends.append(end)
        self.attached.append(asyncio.create_task(self.exchange.attach(reader, writer)))
        return end


def play(act: Callable[[Scene], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        ours, agent = await pair()
        scene = Scene(await Exchange.over(ours), agent)
        try:
            await act(scene)
        finally:
            scene.exchange.close()
            for end in scene.ends:
                end.writer.close()
            await asyncio.gather(*scene.attached, scene.exchange.task, return_exceptions=True)

    asyncio.run(run())


def test_two_commands_may_use_the_same_number() -> None:
    async def act(scene: Scene) -> None:
        commands = [await scene.command(), await scene.command()]
        numbers = []
        for at, command in enumerate(commands):
            command.say(id=1, op="run", argv=[f"program {at}"])
            request = await scene.agent.hear()
            assert request["argv"] == [f"program {at}"]
            numbers.append(request["id"])
        assert numbers[0] != numbers[1]
        for number, code in ((numbers[1], 5), (numbers[0], 4)):
            scene.agent.say(id=number, out="eA==")
            scene.agent.say(id=number, exit=code)
        assert [await commands[0].hear() for _ in "12"] == [{"id": 1, "out": "eA=="}, {"id": 1, "exit": 4}]
        assert [await commands[1].hear() for _ in "12"] == [{"id": 1, "out": "eA=="}, {"id": 1, "exit": 5}]

    play(act)


def test_input_and_signals_follow_their_request() -> None:
    async def act(scene: Scene) -> None:
        command = await scene.command()
        command.say(id=7, op="run", argv=["cat"])
        number = (await scene.agent.hear())["id"]
        command.say(id=7, **{"in": "eA=="})
        command.say(id=7, signal=15)
        assert await scene.agent.hear() == {"id": number, "in": "eA=="}
        assert await scene.agent.hear() == {"id": number, "signal": 15}

    play(act)


def test_the_programs_of_a_command_that_hangs_up_are_killed() -> None:
    async def act(scene: Scene) -> None:
        command, other = await scene.command(), await scene.command()
        command.say(id=1, op="run", argv=["sleep"])
        number = (await scene.agent.hear())["id"]
        command.writer.close()
        assert await scene.agent.hear() == {"id": number, "signal": 9}
        scene.agent.say(id=number, exit=137)
        other.say(id=1, op="run", argv=["true"])
        scene.agent.say(id=(await scene.agent.hear())["id"], exit=0)
        assert await other.hear() == {"id": 1, "exit": 0}

    play(act)


def test_nobody_is_killed_when_a_command_leaves_after_its_programs_have_ended() -> None:
    async def act(scene: Scene) -> None:
        command, other = await scene.command(), await scene.command()
        command.say(id=1, op="run", argv=["true"])
        scene.agent.say(id=(await scene.agent.hear())["id"], exit=0)
        assert await command.hear() == {"id": 1, "exit": 0}
        command.writer.close()
        await asyncio.gather(scene.attached[0])
        other.say(id=1, op="ping")
        assert (await scene.agent.hear())["op"] == "ping"

    play(act)


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"op": "run"}\n',
        b'{"id": 1, "op": "off"}\n',
        b'{"id": "x"}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_command_that_says_something_wrong_is_hung_up_on_and_the_agent_hears_nothing(line: bytes) -> None:
    async def act(scene: Scene) -> None:
        command, other = await scene.command(), await scene.command()
        command.writer.write(line)
        await asyncio.gather(scene.attached[0])
        other.say(id=1, op="ping")
        assert (await scene.agent.hear())["op"] == "ping"

    play(act)


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"[]\n", b'{"exit": 0}\n', b"[" * 100_000 + b"\n", b"x" * (5 << 20)]
)
def test_an_agent_that_talks_nonsense_is_hung_up_on_and_all_commands_hear_of_it(line: bytes) -> None:
    async def act(scene: Scene) -> None:
        command = await scene.command()
        command.say(id=1, op="run", argv=["true"])
        await scene.agent.hear()
        scene.agent.writer.write(line)
        assert await command.is_told_the_end()
        await asyncio.gather(scene.exchange.task)

    play(act)


def test_the_commands_can_be_dropped_although_one_does_not_read() -> None:
    async def act(scene: Scene) -> None:
        stuck = await scene.command()
        stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
        stuck.say(id=1, op="run", argv=["yes"])
        number = (await scene.agent.hear())["id"]
        flood = base64.b64encode(bytes(60000)).decode()
        for _ in range(200):
            scene.agent.say(id=number, out=flood)
        scene.exchange.drop_commands()
        assert await scene.agent.hear() == {"id": number, "signal": 9}
        another = await scene.command()
        another.say(id=1, op="run", argv=["true"])
        scene.agent.say(id=(await scene.agent.hear())["id"], exit=0)
        assert await another.hear() == {"id": 1, "exit": 0}

    play(act)


def test_the_keeper_asks_for_itself() -> None:
    async def act(scene: Scene) -> None:
        asked = asyncio.create_task(scene.exchange.run(["cat"]))
        request = await scene.agent.hear()
        assert (request["op"], request["argv"]) == ("run", ["cat"])
        assert await scene.agent.hear() == {"id": request["id"], "eof": True}
        scene.agent.say(id=request["id"], out=base64.b64encode(b"text").decode())
        scene.agent.say(id=request["id"], exit=3)
        ended = await asked
        assert (ended.exit, ended.out) == (3, b"text")

    play(act)


def test_who_waits_for_an_agent_that_goes_is_told() -> None:
    async def act(scene: Scene) -> None:
        asked = asyncio.create_task(scene.exchange.ask("off"))
        await scene.agent.hear()
        scene.agent.writer.close()
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(GoneError):
                await asked

    play(act)


def test_what_is_not_a_numbered_object_is_refused() -> None:
    assert decode(b'{"id": 1}') == {"id": 1}
    for line in (b"", b"1", b"{}", b'{"id": null}', b"\xff"):
        with pytest.raises(ValueError):
            decode(line)
