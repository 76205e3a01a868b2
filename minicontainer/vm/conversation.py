"""Talking with the agent of a guest: requests with numbers, as JSON lines over a stream.

    request        {"id": 1, "op": "run", "argv": ["cat"]}
    the program's  {"id": 1, "in": BASE64} ... {"id": 1, "eof": true}   >=>   {"id": 1, "took": 65536}
    output                                                              <=    {"id": 1, "out": BASE64}
    end                                                                 <=    {"id": 1, "exit": 0}

Input and output move at the same time, and never more than WINDOW bytes of input are under way, so neither
side can block the other. The other end is QEMU's socket, or a keeper that passes lines on.

See minicontainer/vm/guest/agent.py, the other side; qemu(1), "-chardev socket".
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minicontainer.errors import Error

Message = dict[str, Any]
Output = Callable[[str, bytes], None]  # called with "out" or "err", and a piece

WINDOW = 1 << 20  # bytes of input that the guest has not yet taken
CHUNK = 1 << 16
LONGEST_LINE = 64 << 20  # a guest that sends more without a line's end has lost its mind
GLANCE = 0.5  # seconds between two looks at whether the guest is alive


class GuestError(Error):
    """The guest is dead, silent or broken; the text ends with the last lines of its console."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program in the guest ended: its exit code (128 + n: a signal), and what it wrote."""

    exit: int
    out: bytes = b""
    err: bytes = b""

    @property
    def text(self) -> str:
        """Everything that it wrote, standard output first."""
        return (self.out + self.err).decode(errors="replace")


class Lines:
    """JSON objects, one a line, over a stream socket."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.unsent = b""
        self._received = bytearray()

    def write(self, message: Message) -> None:
        """Send one object, however long the other side takes."""
        self.channel.settimeout(None)
        self.channel.sendall(self.unsent + json.dumps(message).encode() + b"\n")
        self.unsent = b""

    def push(self, message: Message | None = None) -> None:
        """Send as much of an object, and of what is left of the earlier ones, as goes without waiting."""
        if message is not None:
            self.unsent += json.dumps(message).encode() + b"\n"
        if self.unsent:
            self.channel.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                self.unsent = self.unsent[self.channel.send(self.unsent) :]

    def read(self, wait: float) -> Message:
        """Take the next object; TimeoutError after `wait` seconds, ConnectionError when nobody is there."""
        end = time.monotonic() + wait
        start = 0
        while (at := self._received.find(b"\n", start)) < 0:
            start = len(self._received)
            if start > LONGEST_LINE:
                raise ConnectionAbortedError("a line without an end")
            self.channel.settimeout(max(0.001, end - time.monotonic()))
            data = self.channel.recv(1 << 20)
            if not data:
                raise ConnectionResetError("the connection is closed")
            self._received += data
        line = bytes(self._received[:at])
        del self._received[: at + 1]
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ConnectionAbortedError("not a JSON object")
        return answer

    def has_line(self) -> bool:
        """Tell whether `read` would return at once."""
        return b"\n" in self._received

    def close(self) -> None:
        """Hang up."""
        self.channel.close()


@dataclass(slots=True)
class Input:
    """What a program is to read: bytes, then perhaps a descriptor to its end."""

    text: bytes = b""
    fd: int | None = None
    under_way: int = 0

    def sources(self) -> list[int]:
        """Give the descriptor to wait for, if more may be sent and must be read first."""
        return [self.fd] if self.fd is not None and not self.text and self.under_way < WINDOW else []

    def next(self) -> bytes | None:
        """Give the next piece; empty at the end, None while the descriptor has nothing."""
        if self.text:
            piece, self.text = self.text[:CHUNK], self.text[CHUNK:]
            return piece
        if self.fd is None:
            return b""
        if not select.select([self.fd], [], [], 0)[0]:
            return None
        return os.read(self.fd, CHUNK)


@dataclass(slots=True)
class Conversation:
    """One host's end of the wire, used by one thread at a time."""

    lines: Lines
    check_alive: Callable[[], None] = lambda: None  # raises GuestError when there is no hope
    next_number: int = 1
    signals: list[int] = field(default_factory=list)  # to be passed on to the program that runs

    def ask(self, op: str, *, wait: float, **words: object) -> Message:
        """Make a request that needs no input; returns its end. Raises GuestError, TimeoutError."""
        return self._follow(self._begin(op, words), None, lambda _name, _piece: None, wait)

    def run(
        self,
        op: str,
        words: Message,
        given: Input | None = None,
        output: Output | None = None,
        wait: float = 600,
    ) -> Ended:
        """Run a program (`op` is run or python) to its end; its output goes to `output`, else into `Ended`.

        Raises GuestError when it could not be started or the guest died, TimeoutError after `wait` seconds.
        """
        kept: dict[str, list[bytes]] = {"out": [], "err": []}
        number = self._begin(op, words)
        end = self._follow(
            number, given or Input(), output or (lambda name, piece: kept[name].append(piece)), wait
        )
        return Ended(int(end["exit"]), b"".join(kept["out"]), b"".join(kept["err"]))

    def _begin(self, op: str, words: Message) -> int:
        number = self.next_number
        self.next_number += 1
        self.lines.write({"id": number, "op": op, **words})
        return number

    def _follow(self, number: int, given: Input | None, output: Output, wait: float) -> Message:
        """Move input and output until the request ends."""
        end = time.monotonic() + wait
        while True:
            self._send_signals(number)
            if given is not None:
                given = self._send_input(number, given)
            answer = self._answer(given, end)
            if answer is None or answer["id"] != number:
                continue
            for name in ("out", "err"):
                if name in answer:
                    output(name, base64.b64decode(answer[name]))
            if given is not None:
                given.under_way -= answer.get("took", 0)
            if "error" in answer:
                raise GuestError(f"the guest could not do it: {answer['error']}")
            if "exit" in answer:
                return answer

    def _answer(self, given: Input | None, end: float) -> Message | None:
        """Wait a moment for the guest, or for more input; None when it was not the guest."""
        self.check_alive()
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        channel = self.lines.channel
        if not self.lines.has_line():
            sources: list[socket.socket | int] = (
                [channel, *given.sources()] if given and not self.lines.unsent else [channel]
            )
            sinks = [channel] if self.lines.unsent else []
            readable, writable, _ = select.select(sources, sinks, [], min(GLANCE, left))
            if writable:
                self.lines.push()
            if channel not in readable:
                return None
        return self.lines.read(left)

    def _send_signals(self, number: int) -> None:
        while self.signals:
            self.lines.push({"id": number, "signal": self.signals.pop(0)})

    def _send_input(self, number: int, given: Input) -> Input | None:
        """Send what may be sent; None once the input's end has been told."""
        while given.under_way < WINDOW and not self.lines.unsent:
            piece = given.next()
            if piece is None:
                break
            if not piece:
                self.lines.push({"id": number, "eof": True})
                return None
            given.under_way += len(piece)
            self.lines.push({"id": number, "in": base64.b64encode(piece).decode()})
        return given
