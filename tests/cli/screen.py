"""A terminal of a few lines, for what rich writes: text, and going back over lines to write them again.

See console_codes(4): CSI n A (up), CSI 2 K (erase the line), CSI ? 25 h and l (the cursor).
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PIECE = re.compile(r"\r|\n|\x1b\[(\d*)A|\x1b\[2K|\x1b\[\?25([hl])|[^\x1b\r\n]+")


@dataclass
class Screen:
    """What stands on it, line by line; nothing scrolls away."""

    width: int
    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    cursor: bool = True
    wrapped: list[str] = field(default_factory=list)  # texts that did not fit into a line
    history: str = ""  # all that was written

    def write(self, text: str) -> None:
        """Do what a program has written; an unknown sequence is an error."""
        self.history += text
        end = 0
        for found in PIECE.finditer(text):
            assert found.start() == end, f"unknown: {text[end : end + 20]!r}"
            end = found.end()
            self._do(found[0], found)
        assert end == len(text), f"unknown: {text[end : end + 20]!r}"

    def _do(self, piece: str, found: re.Match[str]) -> None:
        if piece == "\r":
            self.column = 0
        elif piece == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif piece.endswith("A") and piece.startswith("\x1b"):
            self.row -= int(found[1] or 1)
            assert self.row >= 0
        elif piece == "\x1b[2K":
            self.lines[self.row] = ""
        elif piece.startswith("\x1b"):
            self.cursor = found[2] == "h"
        else:
            self._put(piece)

    def _put(self, text: str) -> None:
        line = self.lines[self.row]
        self.lines[self.row] = line[: self.column].ljust(self.column) + text + line[self.column + len(text) :]
        self.column += len(text)
        if self.column > self.width:
            self.wrapped.append(text)

    def shown(self) -> list[str]:
        """Give what can be read now."""
        return [line.rstrip() for line in self.lines if line.strip()]


def on_terminal(
    command: Sequence[str],
    width: int,
    height: int,
    *,
    environment: Mapping[str, str] = os.environ,
    answers: Mapping[str, str] | None = None,
) -> tuple[int, Screen]:
    """Run a program on a terminal of its own; gives its exit code and what it has left on the screen.

    To each prompt that is named in `answers` its answer is typed.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    variables = {**environment, "TERM": "xterm"}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        variables.pop(name, None)
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables, start_new_session=True
    ) as program:
        os.close(theirs)
        screen = Screen(width)
        screen.write(converse(ours, answers or {}))
    os.close(ours)
    return program.returncode, screen


def converse(terminal: int, answers: Mapping[str, str]) -> str:
    """Read what is written to a terminal until nobody has it open, and type the answers."""
    written = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has it open any more
            return written.decode()
        written += piece
        for prompt, answer in answers.items():
            if written.endswith(prompt.encode()):
                os.write(terminal, f"{answer}\n".encode())
