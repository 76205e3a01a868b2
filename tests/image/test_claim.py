"""A directory is made once, whoever else wants to make it at the very same moment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from minicontainer.image.claim import claimed

PROCESSES = 4


def make(place: Path, go: int) -> None:
    """Make it when told to, if nobody else does."""
    os.read(go, 1)
    with claimed(place) as new:
        if new is not None:
            (new / "file").write_text("whole")


def started(place: Path) -> tuple[list[int], int]:
    """Start processes that wait for the pipe to be closed."""
    told, go = os.pipe()
    children = []
    for _ in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(go)
                make(place, told)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    os.close(told)
    return children, go


def test_of_many_who_want_a_directory_at_once_one_makes_it(
    tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    for number in range(rounds(150, 5000)):
        place = tmp_path / str(number)
        children, go = started(place)
        os.close(go)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * PROCESSES, f"round {number}"
        assert (place / "file").read_text() == "whole"
        assert not list(tmp_path.glob(".new-*"))
