"""Workers: processes that do the layers of an image side by side, and tell the one that asked how far.

    pull --fork--> worker ---- {"layer": DIGEST, "status": "downloading", "done": 4096, "total": 9000} ---->
     |---fork--> worker ---- {"failed": "LayerError", "message": ..., "hint": ...} ------------------------>

Each takes the next job as soon as it has done one; a letter in a pipe is a job's number, so that the kernel
shares them out. Python's threads share one lock: processes are what fills two cores when many small files are
written. They are forked while this process has one thread, and are killed with it.

See fork(2), pipe(7), PR_SET_PDEATHSIG(2const).
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, TypeVar, cast

from minicontainer import errors
from minicontainer.errors import Error
from minicontainer.image.progress import Observer, Status
from minicontainer.linux.prctl import PR_SET_PDEATHSIG, prctl

Job = TypeVar("Job")
MOST = 4  # workers; as many as cores, but more would only wait for the disk
LONGEST = 65536  # bytes read from a worker at once
NUMBER = 4  # bytes of a job's number; a pipe holds 16384 of them


def work_through(
    jobs: Sequence[Job],
    do: Callable[[Job, Observer], None],
    observer: Observer,
    at_birth: Callable[[], None] = lambda: None,
) -> None:
    """Do every job in a worker process; raises the first error, when the other workers have ended.

    `do` runs in the worker and tells its observer, which passes it on to ours. `at_birth` gives up what may
    not be shared after a fork, as connections.
    """

    def work(tasks: int, letters: _Letters) -> None:
        at_birth()
        while number := os.read(tasks, NUMBER):
            do(jobs[int.from_bytes(number, "little")], letters)

    tasks = _write_tasks(len(jobs))
    workers: list[tuple[int, int]] = []
    try:
        for _ in range(min(MOST, len(os.sched_getaffinity(0)), len(jobs))):
            workers.append(_start(lambda letters: work(tasks, letters)))
        _listen([output for _, output in workers], observer)
    except BaseException:
        for pid, _ in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(tasks)
        statuses = [_end(pid, output) for pid, output in workers]
    if any(statuses):
        raise Error("a worker process was killed before its layers were done")


def _write_tasks(count: int) -> int:
    """Give the reading end of a pipe that holds the numbers of all jobs."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.write(writing, b"".join(number.to_bytes(NUMBER, "little") for number in range(count)))
    os.close(writing)
    return reading


def _start(work: Callable[[_Letters], None]) -> tuple[int, int]:
    """Fork a worker; gives its pid and the pipe on which it tells."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _be_worker(parent, work, _Letters(writing))
    os.close(writing)
    return pid, reading


def _be_worker(parent: int, work: Callable[[_Letters], None], letters: _Letters) -> NoReturn:
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
        if os.getppid() == parent:
            work(letters)
        os._exit(0)
    except Error as problem:
        letters.send(failed=type(problem).__name__, message=str(problem), hint=problem.hint)
    except BaseException:
        letters.send(failed="", message=traceback.format_exc(), hint="")
    os._exit(1)


class _Letters:
    """The observer in a worker: one line of JSON each time, whichever thread tells."""

    def __init__(self, output: int) -> None:
        self._output = output
        self._lock = threading.Lock()

    def layer(self, digest: str, status: Status, done: int = 0, total: int = 0) -> None:
        self.send(layer=digest, status=status, done=done, total=total)

    def line(self, text: str) -> None:
        self.send(line=text)

    def send(self, **members: object) -> None:
        with self._lock:
            os.write(self._output, json.dumps(members).encode() + b"\n")


def _listen(outputs: Sequence[int], observer: Observer) -> None:
    """Pass on what the workers tell until all have closed their pipes. Raises what one of them raised."""
    with selectors.DefaultSelector() as selector:
        for output in outputs:
            selector.register(output, selectors.EVENT_READ, _Lines(output))
        while selector.get_map():
            for key, _ in selector.select():
                lines = cast("_Lines", key.data)
                for letter in lines.read():
                    _pass_on(letter, observer)
                if lines.ended:
                    selector.unregister(key.fd)


class _Lines:
    """Whole lines out of a pipe."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._rest = b""
        self.ended = False

    def read(self) -> Iterator[dict[str, object]]:
        data = os.read(self._source, LONGEST)
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        return map(json.loads, lines)


def _pass_on(letter: dict[str, object], observer: Observer) -> None:
    if "failed" in letter:
        raise _raised_again(letter)
    if "line" in letter:
        observer.line(str(letter["line"]))
    else:
        done, total = cast("int", letter["done"]), cast("int", letter["total"])
        observer.layer(str(letter["layer"]), cast("Status", letter["status"]), done, total)


def _raised_again(letter: dict[str, object]) -> BaseException:
    """Make the error that a worker raised, as far as a caller can tell it apart."""
    name, message, hint = str(letter["failed"]), str(letter["message"]), str(letter["hint"])
    if not name:
        return RuntimeError(f"in a worker process:\n{message}")
    kind = next((kind for kind in _family(Error) if kind.__name__ == name), Error)
    problem = kind.__new__(kind)
    Error.__init__(problem, message, hint)
    return problem


def _family(kind: type[Error]) -> Iterator[type[Error]]:
    # A KernelError spells its call, which only the worker knew: here it is an Error with the same words.
    if kind is not errors.KernelError:
        yield kind
    for below in kind.__subclasses__():
        yield from _family(below)


def _end(pid: int, output: int) -> int:
    """Wait for a worker; gives its status."""
    os.close(output)
    return os.waitpid(pid, 0)[1]
