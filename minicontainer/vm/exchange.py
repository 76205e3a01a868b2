"""The exchange: one wire to a node's agent, any number of commands that talk over it.

    command A  {"id": 1, ...} --+                       +--> {"id": 7, ...}
    command B  {"id": 1, ...} --+-- exchange -- wire -- +--> {"id": 8, ...}   agent

Each request gets a number of its own on the wire, and its answers get the command's number back. A command
that hangs up has its programs killed. One that does not read makes the others of its node wait until it does,
or is dropped.

See minicontainer/vm/conversation.py for the lines; asyncio's documentation on streams.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from minicontainer.vm.conversation import Ended
from minicontainer.vm.protocol import LONGEST_LINE

Message = dict[str, Any]
Hear = Callable[[Message], Awaitable[None]]

NOT_STARTED = 126
PASSED_ON = {"run", "python", "ping"}  # what commands may ask an agent for; power is the keeper's affair


class GoneError(Exception):
    """The agent has hung up."""


class Exchange:
    """The host's end of a node's wire, owned by the keeper's loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1_000_000)  # above those that were used while the node came up
        self._listeners: dict[int, Hear] = {}
        self._commands: set[asyncio.StreamWriter] = set()
        self._waiting: set[asyncio.Future[Message]] = set()
        self.task = asyncio.create_task(self._serve())

    @classmethod
    async def over(cls, channel: socket.socket) -> Exchange:
        """Take over a connected socket."""
        return cls(*await asyncio.open_connection(sock=channel, limit=LONGEST_LINE))

    async def attach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a command's lines on until it hangs up, or the agent does."""
        numbers: dict[int, int] = {}  # the command's to ours
        self._commands.add(writer)
        try:
            while line := await reader.readline():
                message = decode(line)
                if "op" in message:
                    numbers[message["id"]] = self._introduce(message, writer)
                if message["id"] in numbers:
                    await self._say({**message, "id": numbers[message["id"]]})
        except (ValueError, ConnectionError):
            pass  # it does not speak our language, or has gone
        finally:
            self._commands.discard(writer)
            await self._abandon(set(numbers.values()))

    async def ask(self, op: str, **words: object) -> tuple[Message, bytes]:
        """Make a request of the keeper's own; returns its end and its standard output. Raises GoneError."""
        end: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        output: list[bytes] = []

        async def hear(message: Message) -> None:
            output.append(base64.b64decode(message.get("out", "")))
            if is_end(message) and not end.done():
                end.set_result(message)

        number = next(self._numbers)
        self._listeners[number] = hear
        self._waiting.add(end)
        try:
            await self._say({"id": number, "op": op, **words})
            if op == "run":
                await self._say({"id": number, "eof": True})
            return await end, b"".join(output)
        except ConnectionError:
            raise GoneError from None
        finally:
            self._waiting.discard(end)
            self._listeners.pop(number, None)

    async def run(self, argv: list[str]) -> Ended:
        """Run a program of the keeper's own in the guest. Raises GoneError."""
        end, output = await self.ask("run", argv=argv)
        code = end.get("exit")
        return Ended(code if isinstance(code, int) else NOT_STARTED, output)

    def drop_commands(self) -> None:
        """Hang up on all commands, also those that do not read."""
        for writer in self._commands:
            writer.transport.abort()

    def close(self) -> None:
        """Hang up on everybody."""
        self.drop_commands()
        self._writer.close()
        for end in self._waiting:
            if not end.done():
                end.set_exception(GoneError())

    async def _serve(self) -> None:
        """Bring the agent's lines to whom they belong, until it hangs up or talks nonsense."""
        try:
            while line := await self._reader.readline():
                message = decode(line)
                hear = self._listeners.get(message["id"])
                if is_end(message):
                    self._listeners.pop(message["id"], None)
                if hear:
                    with contextlib.suppress(ConnectionError):  # this command has gone
                        await hear(message)
        except (ValueError, TypeError, ConnectionError):
            pass  # nonsense, or the end
        finally:
            self.close()

    async def _say(self, message: Message) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")
        await self._writer.drain()

    def _introduce(self, message: Message, writer: asyncio.StreamWriter) -> int:
        """Give a command's new request a number on the wire. Raises ValueError if it may not ask that."""
        if message["op"] not in PASSED_ON:
            raise ValueError(message["op"])
        number, theirs = next(self._numbers), message["id"]

        async def hear(answer: Message) -> None:
            writer.write(json.dumps({**answer, "id": theirs}).encode() + b"\n")
            await writer.drain()

        self._listeners[number] = hear
        return number

    async def _abandon(self, numbers: set[int]) -> None:
        """Kill the programs of a command that has gone; their last words are for nobody."""
        for number in numbers & set(self._listeners):
            self._listeners[number] = nobody
            with contextlib.suppress(ConnectionError):
                await self._say({"id": number, "signal": signal.SIGKILL})


async def nobody(_message: Message) -> None:
    """Hear nothing."""


def is_end(message: Message) -> bool:
    """Tell whether a request's last answer has come."""
    return "exit" in message or "error" in message


def decode(line: bytes) -> Message:
    """Read one line. Raises ValueError for what is not a numbered object."""
    try:
        message = json.loads(line)
    except RecursionError:
        raise ValueError(line[:80]) from None
    if not isinstance(message, dict) or not isinstance(message.get("id"), int):
        raise ValueError(line[:80])
    return message
