"""A relay in front of a registry: it records what clients ask, can cut connections, and can be slow.

    client --- 127.0.0.1:PORT --> relay ---> registry        relay.cut_after(100_000)     relay.pause = 0.01

It passes bytes on as they are. Requests are found by their heads among all that clients send.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HEAD = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r\n((?:[^\r\n]+\r\n)*)\r\n")
PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it was sent; the names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def is_blob_download(self) -> bool:
        return self.method == "GET" and "/blobs/sha256:" in self.path


class Relay:
    """A server that passes everything on to another one."""

    def __init__(self, server: str) -> None:
        host, _, port = server.rpartition(":")
        self._server = host, int(port)
        self._sent = bytearray()  # by clients
        self._left: int | None = None  # bytes of answers until the next cut
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = {self._listener}
        self.pause = 0.0  # seconds that a piece of an answer waits
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    def cut_after(self, count: int) -> None:
        """Cut, once, the connection on which this many more bytes of answers have come in all."""
        self._left = count

    @property
    def asked(self) -> list[Asked]:
        """Give all requests, each connection's in their order."""
        return [
            Asked(method.decode(), path.decode(), dict(headers(lines)))
            for method, path, lines in HEAD.findall(bytes(self._sent))
        ]

    def serve(self) -> None:
        """Take connections until the relay is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def close(self) -> None:
        """End, with all connections."""
        for each in [*self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            pair = {client, server}
            self._open |= pair
            back = threading.Thread(target=self._answers, args=(server, client), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(PIECE):
                    with self._lock:
                        self._sent += data
                    server.sendall(data)
                server.shutdown(socket.SHUT_WR)
            back.join()
            self._open -= pair

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(PIECE):
                allowed = self._allowed(len(data))
                time.sleep(self.pause)
                client.sendall(data[:allowed])
                if allowed < len(data):
                    break
        for each in (client, server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _allowed(self, wanted: int) -> int:
        """Say how many bytes of an answer may pass."""
        with self._lock:
            if self._left is None:
                return wanted
            allowed = min(self._left, wanted)
            self._left = self._left - allowed if allowed == wanted else None
            return allowed


def headers(lines: bytes) -> Iterator[tuple[str, str]]:
    """Take the lines of a head apart."""
    for line in lines.decode().splitlines():
        name, _, value = line.partition(":")
        yield name.lower(), value.strip()


@contextlib.contextmanager
def relay(server: str) -> Iterator[Relay]:
    """Run a relay in front of a server, HOST:PORT."""
    found = Relay(server)
    threading.Thread(target=found.serve, daemon=True).start()
    try:
        yield found
    finally:
        found.close()
