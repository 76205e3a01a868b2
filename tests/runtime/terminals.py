"""The caller's end of --console-socket: receive the terminal of a container, and speak through it.

See: unix(7), SCM_RIGHTS; runtime-spec "terminal".
"""

from __future__ import annotations

import array
import os
import select
import socket
import time
from pathlib import Path

from tests.runtime.waiting import DEADLINE


class ConsoleSocket:
    """A listening stream socket, and the master that a runtime sends to it."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "console")
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(self.path)
        self._listening.listen(1)
        self._listening.settimeout(DEADLINE)
        self.master = -1
        self.seen = b""
        self.message = b""

    def accept(self) -> int:
        """Receive one message with one descriptor, then end of file; give the descriptor."""
        with self._listening.accept()[0] as connection:
            connection.settimeout(DEADLINE)
            self.message, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(64))
            descriptors = array.array("i")
            for _, _, payload in ancillary:
                descriptors.frombytes(payload[: len(payload) // 4 * 4])
            assert len(descriptors) == 1
            self.master = descriptors[0]
            assert connection.recv(1) == b""
        return self.master

    def read_until(self, text: str) -> str:
        """Read the terminal until it has shown `text`."""
        end = time.monotonic() + DEADLINE
        while text.encode() not in self.seen:
            assert time.monotonic() < end, f"the terminal only showed {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += self._read()
        return self.seen.decode()

    def _read(self) -> bytes:
        try:
            return os.read(self.master, 4096)
        except OSError as problem:  # EIO: nobody holds the slave any more
            raise AssertionError(f"the terminal closed after {self.seen!r}") from problem

    def write(self, text: str) -> None:
        """Type."""
        os.write(self.master, text.encode())

    def close(self) -> None:
        """Hang up."""
        self._listening.close()
        if self.master >= 0:
            os.close(self.master)
