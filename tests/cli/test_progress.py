"""What a pull shows: lines, JSON, and bars that never wrap."""

from __future__ import annotations

import io
import json
import sys
from itertools import count

import pytest
from rich.console import Console
from rich.live import Live

from minicontainer.cli import progress
from minicontainer.cli.progress import PULL, Bars, JsonLines, Lines, Teller, Track, Warnings, fitting
from tests.cli.screen import Screen, on_terminal

A, B, C = (f"sha256:{sign * 64}" for sign in "abc")
MB = 1_000_000


def a_pull(teller: Teller) -> None:
    teller.about("latest", "Pulling from library/busybox")
    teller.layer(C, "downloading", 500, 500)  # the configuration
    teller.layer(A, "exists", 0, 5)
    teller.layer(B, "waiting", 0, 40 * MB)
    teller.layer(B, "downloading", 10 * MB, 40 * MB)
    teller.layer(B, "extracting", 40 * MB, 40 * MB)
    teller.layer(B, "done", 40 * MB, 40 * MB)
    teller.line("WARNING: the image is for \x1b[2Jlinux/arm64")


LINES = """\
latest: Pulling from library/busybox
aaaaaaaaaaaa: Already exists
bbbbbbbbbbbb: Pulling fs layer
bbbbbbbbbbbb: Pull complete
WARNING: the image is for \\x1b[2Jlinux/arm64
"""


def test_where_nothing_can_be_overwritten_each_turn_is_a_line() -> None:
    out = io.StringIO()
    a_pull(Lines(PULL, out))
    assert out.getvalue() == LINES


def test_quiet_is_quiet_but_for_warnings() -> None:
    out = io.StringIO()
    a_pull(Warnings(out))
    assert out.getvalue() == "WARNING: the image is for \\x1b[2Jlinux/arm64\n"


def test_json_has_the_members_of_dockers_api() -> None:
    out = io.StringIO()
    a_pull(JsonLines(PULL, out))
    objects = [json.loads(line) for line in out.getvalue().splitlines()]
    assert objects[0] == {"status": "Pulling from library/busybox", "id": "latest"}
    assert objects[2:5] == [
        {"status": "Already exists", "progressDetail": {}, "id": "a" * 12},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": "b" * 12},
        {
            "status": "Downloading",
            "progressDetail": {"current": 10 * MB, "total": 40 * MB},
            "id": "b" * 12,
        },
    ]
    assert objects[-1]["status"].startswith("WARNING")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let half a second pass whenever somebody asks for the time."""
    ticks = count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(ticks) / 2)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("width", "line"),
    [
        (119, f"bbbbbbbbbbbb: Downloading [{'=' * 12}>{' ' * 37}] 10MB/40MB     10MB/s"),
        (79, "bbbbbbbbbbbb: Downloading [=======>                    ]     10MB/40MB   10MB/s"),
        (60, "bbbbbbbbbbbb: Downloading     10MB/40MB   10MB/s"),
        (39, "bbbbbbbbbbbb: Downloading  25%   10MB/s"),
        (20, "bbbbbbbbbbbb: Downlo"),
    ],
)
def test_a_line_fits_its_terminal(width: int, line: str) -> None:
    track = Track("waiting", 0, 40 * MB)
    track.move("downloading", 5 * MB, 40 * MB)
    track.move("downloading", 10 * MB, 40 * MB)
    shown = fitting("b" * 12, "Downloading", track, width)
    assert " ".join(shown.split()) == " ".join(line.split())
    assert len(shown) <= width


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("width", "height"), [(200, 50), (80, 24), (40, 10), (40, 5), (12, 3)])
def test_bars_never_wrap_and_leave_the_same_lines(width: int, height: int) -> None:
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=True, width=width, height=height, highlight=False, color_system=None
    )
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        shown = Bars(PULL, live)
        for number in range(20):
            shown.layer(f"sha256:{number:064}", "waiting", 0, MB)
        for number in range(20):
            for part in range(4):
                shown.layer(f"sha256:{number:064}", "downloading", part * MB // 4, MB)
            shown.layer(f"sha256:{number:064}", "done", MB, MB)
    screen = Screen(width)
    screen.write(out.getvalue().replace("\n", "\r\n"))  # as a terminal does
    assert screen.shown() == [f"{0:012}: Pull complete"] * 20
    assert screen.cursor
    assert [text for text in screen.wrapped if "Pull complete" not in text] == []


PROGRAM = """
from minicontainer.cli.progress import PULL, telling
from tests.cli.test_progress import a_pull
with telling(PULL, quiet=False, as_json=False) as teller:
    a_pull(teller)
    END
"""


@pytest.mark.parametrize("width", [80, 40])
def test_on_a_terminal_the_same_is_left_as_lines_without_the_waiting(width: int) -> None:
    code, screen = on_terminal([sys.executable, "-c", PROGRAM.replace("END", "")], width, 24)
    assert code == 0
    left = [line for line in LINES.splitlines() if "Pulling fs layer" not in line]
    assert "".join(screen.shown()) == "".join(left)
    assert screen.cursor


def test_whoever_is_terminated_gives_the_cursor_back() -> None:
    end = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    code, screen = on_terminal([sys.executable, "-c", PROGRAM.replace("END", end)], 80, 24)
    assert code == 143
    assert screen.cursor


def test_a_dumb_terminal_gets_lines() -> None:
    program = "import os; os.environ['TERM'] = 'dumb'" + PROGRAM.replace("END", "")
    code, screen = on_terminal([sys.executable, "-c", program], 80, 24)
    assert (code, screen.shown()) == (0, LINES.splitlines())
