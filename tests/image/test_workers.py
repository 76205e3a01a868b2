"""Jobs are shared out to processes, what they tell arrives, and what they raise is raised."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from minicontainer.errors import Conflict, Error, KernelError, NotFound
from minicontainer.image.progress import Nobody, Observer
from minicontainer.image.workers import work_through
from minicontainer.linux.mounts import umount2


class Notes:
    """An observer that writes down."""

    def __init__(self) -> None:
        self.layers: list[tuple[object, ...]] = []
        self.lines: list[str] = []

    def layer(self, *told: object) -> None:
        self.layers.append(told)

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_every_job_is_done_once_in_another_process_and_told_of(tmp_path: Path) -> None:
    def do(number: int, observer: Observer) -> None:
        (tmp_path / str(number)).write_text(str(os.getpid()))
        observer.layer(f"job {number}", "done", number, 100)
        observer.line(f"did {number}")

    notes = Notes()
    work_through(range(40), do, notes)
    assert sorted(notes.layers) == sorted((f"job {number}", "done", number, 100) for number in range(40))
    assert sorted(notes.lines) == sorted(f"did {number}" for number in range(40))
    assert {path.name for path in tmp_path.iterdir()} == {str(number) for number in range(40)}
    assert str(os.getpid()) not in {path.read_text() for path in tmp_path.iterdir()}


@pytest.mark.requires("cpus:2")
def test_two_workers_work_at_once(tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    os.mkfifo(meeting)

    def meet(number: int, observer: Observer) -> None:
        # Each end of a FIFO opens only when the other does.
        with meeting.open("rb" if number else "wb"):
            observer.line("met")

    notes = Notes()
    work_through([0, 1], meet, notes)
    assert notes.lines == ["met", "met"]


def test_nothing_to_do_is_done_at_once() -> None:
    work_through([], lambda _job, _observer: None, Nobody())


def fail_with_hint() -> None:
    raise NotFound("no blob", hint="pull it")


def fail_in_the_kernel() -> None:
    umount2("/no/such/mount", 0)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def have_a_bug() -> None:
    {}["a key that is not there"]


@pytest.mark.parametrize(
    ("do", "kind", "says"),
    [
        (fail_with_hint, NotFound, "no blob"),
        (fail_in_the_kernel, Error, r'umount2\("/no/such/mount"'),
        (die, Error, "a worker process was killed"),
        (have_a_bug, RuntimeError, "(?s)have_a_bug.*a key that is not there"),
    ],
)
def test_what_a_worker_raises_is_raised_here(
    do: Callable[[], None], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says) as raised:
        work_through([1, 2, 3], lambda _job, _observer: do(), Nobody())
    assert type(raised.value) is kind
    assert not isinstance(raised.value, KernelError | Conflict)
    assert getattr(raised.value, "hint", "") == ("pull it" if do is fail_with_hint else "")


def test_a_failure_ends_the_other_workers(tmp_path: Path) -> None:
    """The second job would wait for ever."""
    pids = tmp_path / "pids"
    os.mkfifo(pids)

    def do(number: int, observer: Observer) -> None:
        if number:
            with pids.open("w") as file:
                file.write(str(os.getpid()))
            signal.pause()
        with pids.open() as file:
            observer.line(file.read())
        raise Error("enough")

    notes = Notes()
    with pytest.raises(Error, match="enough"):
        work_through([0, 1], do, notes)
    assert not Path(f"/proc/{notes.lines[0]}").exists()


def test_workers_die_with_the_process_that_asked() -> None:
    """Also when it is killed."""
    asking, told = os.pipe(), os.pipe()
    parent = os.fork()
    if parent == 0:

        def wait(_job: int, _observer: Observer) -> None:
            os.write(told[1], str(os.getpid()).encode())
            os.read(asking[0], 1)

        work_through([1], wait, Nobody())
        os._exit(0)
    assert int(os.read(told[0], 20)) != parent
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    os.close(told[1])
    assert os.read(told[0], 1) == b""  # end of file: the worker has gone, and its end of the pipe with it
    for fd in (*asking, told[0]):
        os.close(fd)
