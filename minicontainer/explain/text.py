"""How the story looks on a terminal: who speaks, what is being done, and the calls that do it.

    -- init: process 1 in its new PID namespace ----------------------
    > Give the container a host name of its own.
      [uts_namespaces(7), sethostname(2)]
        sethostname("demo", 4)

A terminal gets colours (not with NO_COLOR) and long lines broken with their indent; a file gets each call on
one line.

See https://no-color.org; strace(1) for the spelling of calls.
"""

from __future__ import annotations

import os
import re
from typing import Any, Literal, TextIO, cast

from rich.console import Console
from rich.text import Text

from minicontainer.explain.narration import reading, title
from minicontainer.explain.story import Speaker
from minicontainer.linux.spelling import spell_errno

CALL, DEPTH = 2, 2  # columns: of a call outside of any step, and for each step that one is in
DEEPER = 4  # more for the rest of a broken line
BREAK = re.compile(r"[ ,|] *")
ENDLESS = 1 << 20
WIDEST = 100
LEGEND = (
    "> is a step, [in brackets] what to read about it; below it stand its system calls, "
    "written as strace(1) does."
)
COLOURS = {"runtime": "cyan", "init": "magenta", "stage": "yellow"}
PARTS = {
    "runtime": "runtime: process {pid}, on the host",
    "stage": "stage: process {pid}, in between, to make namespaces in the right order",
    "init": "init: becomes the container; inside it is process {pid}",
    "hook": "hook: becomes a program that the configuration names; process {pid}",
    "exec": "exec: process {pid}, joins a container that runs",
}


def screen(stream: TextIO) -> Console:
    """Make a console for this stream; what is no terminal gets plain text and lines of any length."""
    narrow = stream.isatty()
    # NO_COLOR is about colours only; whoever asks for it gets no bold and no dim either.
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    file = cast("TextIO", RawTerminal(stream)) if narrow else stream
    console = Console(
        file=file, highlight=False, emoji=False, markup=False, soft_wrap=not narrow, color_system=colours
    )
    console.width = min(console.width, WIDEST) if narrow else ENDLESS
    return console


class RawTerminal:
    """A terminal on which a line begins at the left edge also while it is raw (`run -t`)."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text; a carriage return too many changes nothing on a terminal that is not raw."""
        return self.stream.write(text.replace("\n", "\r\n"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Page:
    """The lines of a story, on one console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def legend(self) -> None:
        """Say how to read what follows."""
        self.indented(Text(LEGEND, "dim"), 0)

    def speaker(self, speaker: Speaker) -> None:
        """Say who speaks from here on."""
        words = PARTS.get(speaker.role, speaker.role + ": process {pid}").format(pid=speaker.pid)
        colour = COLOURS.get(speaker.role, "blue")
        line = f"-- {words} --"
        self.console.print()
        if self.console.is_terminal:
            line = line.ljust(min(self.console.width, WIDEST), "-")
        self.console.print(Text(line, style=f"bold {colour}"))

    def step(self, step: str, depth: int) -> None:
        """Tell that a step begins, and where to read about it."""
        self.indented(Text("> " + title(step), "bold green"), DEPTH * depth)
        if references := reading(step):
            self.indented(Text(f"[{references}]", "dim"), DEPTH * depth + 2)

    def call(self, text: str, depth: int, result: str = "") -> None:
        """Tell a call that succeeded, with its answer where that means something."""
        name, bracket, rest = text.partition("(")
        self.indented(Text.assemble((name, "cyan"), bracket + rest, (result, "green")), CALL + DEPTH * depth)

    def more(self, count: int, values: list[str], depth: int) -> None:
        """Tell further calls that differ from the last one in their last argument only."""
        self.indented(Text(f"... and {count} more: {', '.join(values)}"), CALL + DEPTH * depth)

    def refused(self, text: str, depth: int, errno: int, cause: str) -> None:
        """Tell a call that the kernel refused, and the likely cause."""
        line = Text.assemble(text, (f" = -1 {spell_errno(errno)}", "yellow"))
        self.indented(line, CALL + DEPTH * depth)
        if cause:
            self.indented(Text(f"why: {cause}", style="yellow"), CALL + DEPTH * (depth + 1))

    def line(self, text: str | Text = "", indent: int = 0) -> None:
        """Print a line of our own."""
        self.indented(Text(text) if isinstance(text, str) else text, indent)

    def indented(self, line: Text, columns: int) -> None:
        """Print a line; one that is too long for the terminal is broken, and goes on deeper."""
        margin = columns
        for start, end in breaks(line.plain, self.console.width - columns - DEEPER):
            self.console.print(Text(" " * margin) + line[start:end])
            margin = columns + DEEPER


def breaks(text: str, width: int) -> list[tuple[int, int]]:
    """Cut a line into pieces of at most `width` signs: behind blanks, commas and bars, else anywhere."""
    pieces = []
    start = 0
    while len(text) - start > width:
        places = [found.end() for found in BREAK.finditer(text, start, start + width)]
        end = places[-1] if places else start + width
        pieces.append((start, end))
        start = end
    return [*pieces, (start, len(text))]
