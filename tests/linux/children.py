"""Running a piece of a test in a forked child, which may enter namespaces, drop privileges or die of it.

The child's return value, or the exception that ended it, comes back through a pipe.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from minicontainer.errors import KernelError
from minicontainer.linux.mounts import MS_PRIVATE, MS_REC, mount
from minicontainer.linux.namespaces import CLONE_NEWNS, unshare

P = ParamSpec("P")
R = TypeVar("R")


class ChildError(AssertionError):
    """The child ended with an exception, of which this is the traceback, or without an answer."""


def in_child(function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Call the function in a forked child; return its value or raise its exception."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        answer(writing, lambda: function(*arguments, **named))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not told:
        raise ChildError(f"the child ended without an answer, wait status {status}")
    good, value = pickle.loads(told)
    if not good:
        raise value()
    return value  # type: ignore[no-any-return]


def answer(writing: int, function: Callable[[], object]) -> None:
    """Write what the function returns or raises, and end this process."""
    try:
        told = pickle.dumps((True, function()))
    except BaseException as problem:
        told = pickle.dumps((False, portable(problem)))
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
        pipe.write(told)
    os._exit(0)


def portable(problem: BaseException) -> Callable[[], BaseException]:
    """Turn an exception into what makes it again in the parent."""
    if isinstance(problem, KernelError):
        return functools.partial(
            KernelError, problem.errno or 0, problem.call, problem.arguments, problem.step
        )
    if isinstance(problem, OSError):
        return functools.partial(type(problem), problem.errno, problem.strerror)
    return functools.partial(ChildError, "".join(traceback.format_exception(problem)))


@contextlib.contextmanager
def sleeping_child(prepare: Callable[[], object] = lambda: None) -> Iterator[int]:
    """Give the pid of a child that has called `prepare` and waits to be killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            prepare()
        finally:
            os.close(writing)
        while True:
            signal.pause()
    os.close(writing)
    os.read(reading, 1)  # ends when the child closes its side
    os.close(reading)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def own_mounts(more: int = 0) -> None:
    """Enter a mount namespace from which nothing spreads, and the namespaces `more`."""
    unshare(CLONE_NEWNS | more)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)


def status(*names: str, pid: int | str = "self") -> dict[str, str]:
    """Read fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {name: " ".join(fields[name].split()) for name in names}


def mountinfo() -> list[list[str]]:
    """Read the mounts of this process, as fields, the optional ones joined into one."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        first = left.split(maxsplit=6)
        found.append([*first[:6], first[6] if len(first) > 6 else "", *right.split()])
    return found


def mount_at(place: str) -> list[str]:
    """Read the line of the mount that is on top at `place`."""
    return [fields for fields in mountinfo() if fields[4] == place][-1]
