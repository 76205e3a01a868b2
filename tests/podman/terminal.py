"""A pseudo-terminal with a program at its other end: type, read, resize. See pty(7), ioctl_tty(2)."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

DEADLINE = 30.0


class Terminal:
    """A program that runs on a terminal of `rows` by `columns`, and what it has shown so far."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], rows: int = 33, columns: int = 77
    ) -> None:
        self.shown = ""
        self._master, slave = os.openpty()
        self._set_size(rows, columns)
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        """Give the terminal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up; the program is killed if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _set_size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size and tell the program, as a terminal emulator does."""
        self._set_size(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        """Type; a line ends with a carriage return."""
        os.write(self._master, text.replace("\n", "\r").encode())

    def read_until(self, text: str) -> str:
        """Read until the text is shown and return everything up to its end; the rest is kept."""
        end = time.monotonic() + DEADLINE
        while text not in self.shown:
            self._read_more(end, f"{text!r} was never shown; the terminal has {self.shown!r}")
        before, found, self.shown = self.shown.partition(text)
        return before + found

    def shows(self, text: str) -> bool:
        """Look, without waiting, whether the text has been shown by now."""
        while self._read_more(time.monotonic() + DEADLINE, "the program never stops printing", 0):
            pass
        return text in self.shown

    def finish(self) -> int:
        """Read to the end and give the exit code."""
        end = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            self._read_more(end, f"the program does not end; the terminal has {self.shown!r}", 0.05)
        while self._read_more(end, "", 0):
            pass
        return self.process.returncode

    def _read_more(self, end: float, complaint: str, patience: float = 1.0) -> bool:
        assert time.monotonic() < end, complaint
        ready, _, _ = select.select([self._master], [], [], patience)
        if not ready:
            return False
        try:
            data = os.read(self._master, 4096)
        except OSError:  # EIO: nobody has the other end open
            data = b""
        self.shown += data.decode(errors="replace")
        if not data and self.process.poll() is None:
            time.sleep(0.01)
        return bool(data)
