"""A process that starts `minicontainer` again and again, each time in bounds. Run as a script by guarded.py.

    request  {"arguments": [...], "environment": {...}, "fresh": true}      one line of JSON each
    answer   {"code": 1, "out": "...", "err": "...", "memory": 41000000}    code null: it had to be killed

`fresh` executes the program as a user does. Otherwise the child has imported the product already, which
saves most of the time. Either way each request has a process of its own, with limits of its own.
This process is small, because a child inherits its parent's peak of memory (getrusage(2), ru_maxrss).
"""

from __future__ import annotations

import json
import os
import posix
import resource
import select
import signal
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from minicontainer import launch
from minicontainer.cli import image_files, image_transfer, main  # noqa: F401 - what the children need

DEADLINE = 60.0  # seconds after which it counts as hung
MOST = 4 << 30  # bytes of address space, and of one file: a bomb ends the child, not the machine
PROGRAM = Path(sysconfig.get_path("scripts"), "minicontainer")


def serve() -> None:
    """Answer requests until the input ends."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(request: dict[str, Any]) -> dict[str, object]:
    """Run the command of one request to its end, or to the deadline."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            become(request, out.fileno(), err.fileno())
        code, memory = wait(pid)
        texts = [read(file.fileno()) for file in (out, err)]
    return {"code": code, "out": texts[0], "err": texts[1], "memory": memory}


def become(request: dict[str, Any], out: int, err: int) -> NoReturn:
    """Be the command."""
    os.setpgid(0, 0)
    for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, err)):
        os.dup2(source, target)
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (MOST, MOST))
    for name, text in request["environment"].items():
        os.environ[name] = text
        posix.environ[name.encode()] = text.encode()
    if request["fresh"]:
        os.execv(PROGRAM, [str(PROGRAM), *request["arguments"]])
    launch.main(["minicontainer", sysconfig.get_path("purelib"), *request["arguments"]])
    raise AssertionError("launch.main came back")


def wait(pid: int) -> tuple[int | None, int]:
    """Wait for a child; gives its exit code, None when it was killed, and its peak of memory in bytes."""
    watched = os.pidfd_open(pid)
    hung = not select.select([watched], [], [], DEADLINE)[0]
    if hung:
        os.killpg(pid, signal.SIGKILL)
    _, status, used = os.wait4(pid, 0)
    os.close(watched)
    return None if hung else os.waitstatus_to_exitcode(status), used.ru_maxrss << 10


def read(file: int) -> str:
    """Read what a child has written."""
    return os.pread(file, 1 << 20, 0).decode(errors="replace")


if __name__ == "__main__":
    serve()
