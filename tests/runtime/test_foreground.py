"""`run` in the foreground with a terminal: everything is copied both ways, and nobody waits for the other.

Implements: runc(8) "run"; pty(7).
"""

from __future__ import annotations

import os
import select
import threading
import time
from typing import TYPE_CHECKING

import pytest

from minicontainer.runtime.foreground import read_some, write_some, write_whole
from tests.runtime.waiting import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

LINES = 4000
WIDTH = 60


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Give a terminal of the caller: both ends."""
    ours, callers = os.openpty()
    yield ours, callers
    os.close(ours)
    os.close(callers)


def read_until(terminal: int, count: int, seen: bytearray) -> None:
    """Read until so many lines have been seen."""
    end = time.monotonic() + DEADLINE
    while seen.count(b"\n") < count:
        assert time.monotonic() < end, f"only {seen.count(10)} of {count} lines were seen"
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536)


@pytest.mark.requires("root", "cgroup2")
def test_much_can_be_typed_while_the_program_says_much(
    runtime: Runtime, bundle: MakeBundle, terminal: tuple[int, int]
) -> None:
    made = bundle().shell("stty -echo; echo ready; exec cat")
    made.process["terminal"] = True
    ours, callers = terminal
    streams = {"stdin": callers, "stdout": callers, "stderr": callers}
    running = runtime.spawn_run(made, **streams)
    seen = bytearray()
    read_until(ours, 1, seen)
    if runtime.deviates("loses-typed-text"):
        os.write(ours, b"\x04")
        assert running.wait(DEADLINE) == 0
        return
    text = b"".join(b"%0*d\n" % (WIDTH, number) for number in range(LINES))
    typing = threading.Thread(target=lambda: write_whole(ours, text + b"\x04"), daemon=True)
    typing.start()
    read_until(ours, 1 + LINES, seen)
    typing.join(DEADLINE)
    assert running.wait(DEADLINE) == 0
    assert bytes(seen).replace(b"\r", b"") == b"ready\n" + text


def test_a_stream_that_has_nothing_yet_is_told_from_one_that_has_ended() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    assert read_some(reading) is None
    os.write(writing, b"x")
    assert read_some(reading) == b"x"
    os.close(writing)
    assert read_some(reading) == b""
    os.close(reading)


def test_what_cannot_be_written_now_is_kept_and_what_never_can_is_dropped() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while write_some(writing, bytes(65536)):
        pass
    assert write_some(writing, b"x") == 0
    os.close(reading)
    assert write_some(writing, b"x") == 1
    assert not write_whole(writing, b"x")
    os.close(writing)
