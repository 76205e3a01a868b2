"""A web server that does to its clients whatever a test wants, byte by byte, and records what they sent.

server.answer = lambda exchange: exchange.reply(200, b"hello")
server.seen[0].headers["authorization"]
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

LONGEST_HEAD = 1 << 20
PATIENCE = 30.0  # seconds without a byte, then a connection is given up


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]  # by names in lower case
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class Exchange:
    """One request, and the means to answer it well or badly."""

    def __init__(self, connection: socket.socket, seen: Seen) -> None:
        self.connection, self.seen = connection, seen
        self.keeps = True  # the connection, for a next request

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items())]
        self.send("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer properly; `Content_Type="x"` is the header Content-Type."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.head(status, {"Content-Length": str(len(body)), **named})
        if self.seen.method != "HEAD":
            self.send(body)

    def hang_up(self) -> None:
        self.keeps = False

    def reset(self) -> None:
        """End the connection by RST, whatever is still under way."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.keeps = False


class WebServer:
    """A server on its own port, a thread for each connection; a context manager."""

    def __init__(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self.answer: Callable[[Exchange], None] = lambda exchange: exchange.reply(404)
        self.ends = threading.Event()  # what a behaviour waits for instead of sleeping
        self._tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.name = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.name}"
        self._threads = [threading.Thread(target=self._accept)]
        self._open: set[socket.socket] = set()

    def __enter__(self) -> WebServer:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ends.set()
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def requests(self, method: str = "", path: str = "") -> list[Seen]:
        """List what was asked, of one method or with a word in its path."""
        return [seen for seen in self.seen if method in {"", seen.method} and path in seen.target]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._talk, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self._open.add(connection)
        try:
            if self._tls:
                self._open.discard(connection)
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            with connection.makefile("rb") as file:
                while seen := read_request(file):
                    self.seen.append(seen)
                    exchange = Exchange(connection, seen)
                    self.answer(exchange)
                    if not exchange.keeps:
                        break
        except (OSError, ValueError):
            pass  # the client has gone, or does not speak what we speak
        finally:
            self._open.discard(connection)
            connection.close()


def read_request(file: io.BufferedReader) -> Seen | None:
    """Read one request, None at the end."""
    if not file.peek(1)[:1].isalpha():  # the beginning of TLS, for one
        return None
    words = file.readline(LONGEST_HEAD).decode("latin-1").split()
    if len(words) != 3:
        return None
    headers: dict[str, str] = {}
    while line := file.readline(LONGEST_HEAD).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = file.read(int(headers.get("content-length", 0)))
    return Seen(words[0], words[1], headers, body)
