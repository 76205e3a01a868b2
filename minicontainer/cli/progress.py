"""How a pull, a push or a load shows what it does: bars on a terminal, lines, JSON, or next to nothing.

    90b9666d4aed: Pull complete                                                    done: it stays
    3f4d90098f5b: Downloading [========>           ]   12.1MB/28.2MB 8.17MB/s      at work, the others below
    2 of 6 layers, 40.3MB of 193MB, 11.2MB/s

The words, and the members of the JSON objects, are docker's. Nothing here starts a thread: what is watched
forks.

See Docker Engine API, "ImageCreate"; man page docker-pull(1).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from minicontainer.cli.failure import on_one_line
from minicontainer.cli.image_format import human_size, short_id
from minicontainer.image.progress import Status

Words = Mapping[Status, str]

PULL: Words = {
    "waiting": "Pulling fs layer",
    "downloading": "Downloading",
    "extracting": "Extracting",
    "exists": "Already exists",
    "done": "Pull complete",
}
PUSH: Words = {
    "waiting": "Preparing",
    "pushing": "Pushing",
    "exists": "Layer already exists",
    "mounted": "Mounted",
    "done": "Pushed",
}
LOAD: Words = {
    "waiting": "Waiting",
    "downloading": "Loading",
    "extracting": "Extracting",
    "exists": "Already exists",
    "done": "Loaded",
}
AT_WORK = ("downloading", "extracting", "pushing")
ENDED = ("exists", "done", "mounted")

SHORTEST_REFRESH = 0.1  # seconds
WINDOW = 3.0  # seconds over which a speed is taken
# What a line has besides the bar, and besides bar and sizes: `fitting` leaves out what has no room.
WITHOUT_BAR, LEAST_BAR, LONGEST_BAR = 51, 10, 50
WITH_SIZES = 48
BELOW = 2  # lines under the layers: the sum, and where the cursor is
TERMINATED = 128 + signal.SIGTERM


class Teller(Protocol):
    """An observer that can also say something about a name."""

    def layer(self, digest: str, status: Status, done: int = 0, total: int = 0) -> None:
        """Note how far a layer has come."""

    def line(self, text: str) -> None:
        """Note what is not about one layer."""

    def about(self, name: str, text: str) -> None:
        """Note what is about a name, as a tag."""


@contextlib.contextmanager
def telling(words: Words, *, quiet: bool, as_json: bool) -> Iterator[Teller]:
    """Choose how to tell it on standard output."""
    if as_json:
        yield JsonLines(words, sys.stdout)
    elif quiet:
        yield Warnings(sys.stderr)
    elif sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        with bars(words) as made:
            yield made
    else:
        yield Lines(words, sys.stdout)


class Warnings:
    """Says only what nobody should miss."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def layer(self, digest: str, status: Status, done: int = 0, total: int = 0) -> None:
        """Say nothing."""

    def line(self, text: str) -> None:
        """Say a warning."""
        if text.startswith("WARNING"):
            self._out.write(f"{on_one_line(text)}\n")

    def about(self, name: str, text: str) -> None:
        """Say nothing."""


class Lines:
    """A line for each turn that a layer takes."""

    def __init__(self, words: Words, out: TextIO) -> None:
        self._words = words
        self._out = out

    def layer(self, digest: str, status: Status, done: int = 0, total: int = 0) -> None:  # noqa: ARG002
        """Say it; how many bytes it is by now is of no use where nothing can be overwritten."""
        if status not in AT_WORK:
            self.about(short_id(digest), self._words[status])

    def line(self, text: str) -> None:
        """Say it."""
        self._out.write(f"{on_one_line(text)}\n")
        self._out.flush()

    def about(self, name: str, text: str) -> None:
        """Say it."""
        self.line(f"{name}: {text}")


class JsonLines:
    """One JSON object a line, with the members that docker's API has."""

    def __init__(self, words: Words, out: TextIO) -> None:
        self._words = words
        self._out = out

    def layer(self, digest: str, status: Status, done: int = 0, total: int = 0) -> None:
        """Say how far a layer has come."""
        detail = {"current": done, "total": total} if status in AT_WORK else {}
        self._write(status=self._words[status], progressDetail=detail, id=short_id(digest))

    def line(self, text: str) -> None:
        """Say what has no member of its own."""
        self._write(status=text)

    def about(self, name: str, text: str) -> None:
        """Say what is about a name."""
        self._write(status=text, id=name)

    def _write(self, **members: object) -> None:
        self._out.write(json.dumps(members) + "\n")
        self._out.flush()


# --- bars ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Track:
    """How far one layer has come, and how fast."""

    status: Status
    done: int
    total: int
    past: deque[tuple[float, int]] = field(default_factory=deque)  # of the last seconds: when, how many bytes

    def move(self, status: Status, done: int, total: int) -> None:
        """Note where it is now; one that goes from the network to the disk begins anew."""
        if status != self.status:
            self.past.clear()
        self.status, self.done, self.total = status, done, total
        now = time.monotonic()
        self.past.append((now, done))
        while now - self.past[0][0] > WINDOW:
            self.past.popleft()

    def speed(self) -> float:
        """Give bytes in a second, 0 as long as nobody can tell."""
        (began, had), (now, has) = (self.past[0], self.past[-1]) if self.past else ((0.0, 0), (0.0, 0))
        return (has - had) / (now - began) if now > began else 0.0


class Bars:
    """Layers at work as bars that move; those that are done go up as lines and stay."""

    def __init__(self, words: Words, live: Live) -> None:
        self._words = words
        self._live = live
        self._tracks: dict[str, Track] = {}
        self._announced = self._ended = 0
        self._shown = 0.0  # when

    def layer(self, digest: str, status: Status, done: int = 0, total: int = 0) -> None:
        """Show how far a layer has come."""
        known = self._tracks.get(digest)
        if known is None and status in AT_WORK:
            return  # a configuration: too small to be shown
        if known is None:
            self._announced += 1
            known = self._tracks[digest] = Track(status, 0, total)
        turned = known.status != status
        known.move(status, done, total)
        if status in ENDED:
            self._ended += 1
            del self._tracks[digest]
            self.about(short_id(digest), self._words[status])
        elif turned or time.monotonic() - self._shown > SHORTEST_REFRESH:
            self.refresh()

    def line(self, text: str) -> None:
        """Show a line above the bars."""
        self.refresh()  # without what has just ended: Live draws the last picture again below the line
        self._live.console.print(Text(on_one_line(text)), soft_wrap=True)

    def about(self, name: str, text: str) -> None:
        """Show a line above the bars."""
        self.line(f"{name}: {text}")

    def refresh(self) -> None:
        """Draw the bars anew."""
        self._shown = time.monotonic()
        self._live.update(self.picture(), refresh=True)

    def picture(self) -> Text:
        """Draw the layers that are at work, then those that wait, as many as there is room for."""
        console = self._live.console
        order = sorted(self._tracks.items(), key=lambda item: item[1].status not in AT_WORK)
        room = max(console.height - BELOW, 1)
        width = console.width - 1  # a line that fills the last column wraps on some terminals
        lines = [
            fitting(short_id(digest), self._words[track.status], track, width)
            for digest, track in order[:room]
        ]
        if self._announced > 1 and self._tracks:
            lines.append(self._sum()[:width])
        return Text("\n".join(lines), no_wrap=True, overflow="crop")

    def _sum(self) -> str:
        speed = sum(track.speed() for track in self._tracks.values())
        return f"{self._ended} of {self._announced} layers" + (f", {human_size(speed)}/s" if speed else "")


def fitting(name: str, word: str, track: Track, width: int) -> str:
    """Write a layer's line for a terminal of this width."""
    if track.status not in AT_WORK:
        return f"{name}: {word}"[:width]
    part = min(track.done / track.total, 1) if track.total else 1
    start = f"{name}: {word.ljust(11)}"
    speed = (f"{human_size(track.speed())}/s" if track.speed() else "").rjust(8)
    if width < WITH_SIZES:
        return f"{start} {part:4.0%} {speed}"[:width]
    sizes = f"{human_size(track.done)}/{human_size(track.total)}".rjust(13)
    length = min(width - WITHOUT_BAR, LONGEST_BAR)
    if length < LEAST_BAR:
        return f"{start} {sizes} {speed}"
    bar = ("=" * int(part * length) + ">")[:length].ljust(length)
    return f"{start} [{bar}] {sizes} {speed}"


@contextlib.contextmanager
def bars(words: Words) -> Iterator[Bars]:
    """Show bars on standard output; whatever ends this gives the terminal back its cursor."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    before = signal.signal(signal.SIGTERM, end)
    try:
        with Live(
            console=console,
            auto_refresh=False,
            transient=True,  # what is not done when it ends, or fails, is not shown any more
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        ) as live:
            yield Bars(words, live)
    finally:
        signal.signal(signal.SIGTERM, before)
