"""What does not depend on the clock: system calls, files, bytes, page faults of a command, and its modules.

strace sees every process of a command, the container's included; the kernel counts the page faults of all
that were waited for, in a run without strace.

See strace(1) "-ff", getrusage(2).
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import start
from minicontainer.hot_build import GROUPS, Lane

CALL = re.compile(r"(\w+)\(.*\) += (-?\d+)")
OPENING = ("open", "openat", "openat2")
READING = ("read", "pread64", "readv", "preadv", "preadv2")
WRITING = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg")


@dataclass(frozen=True, slots=True)
class Count:
    """What one command did."""

    calls: int = 0
    files: int = 0
    read: int = 0
    written: int = 0
    faults: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.calls + other.calls,
            self.files + other.files,
            self.read + other.read,
            self.written + other.written,
            self.faults + other.faults,
        )


LINES = {
    "system calls": "calls",
    "files opened": "files",
    "bytes read": "read",
    "bytes written": "written",
}


def traced(argv: Sequence[str], directory: str | None = None) -> Count:
    """Run a command under strace and count. Raises RuntimeError when it fails."""
    strace = shutil.which("strace")
    if strace is None:
        raise RuntimeError("strace is not installed")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        finish([strace, "-ff", "-qq", "-s", "0", "-o", str(log), *argv], directory)
        files = list(log.parent.iterdir())
        return sum((count_lines(path.read_text(errors="replace")) for path in files), Count())


def count_lines(log: str) -> Count:
    """Count the calls in what strace wrote of one process; a call without an answer (exit) counts, too."""
    lines = [line for line in log.splitlines() if not line.startswith(("+++", "---"))]
    answered = [(found[1], int(found[2])) for line in lines if (found := CALL.match(line))]
    succeeded = [(name, result) for name, result in answered if result >= 0]
    return Count(
        calls=len(lines),
        files=sum(name in OPENING for name, _ in succeeded),
        read=sum(result for name, result in succeeded if name in READING),
        written=sum(result for name, result in succeeded if name in WRITING),
    )


def faulted(argv: Sequence[str], directory: str | None = None) -> Count:
    """Run a command and count its page faults. Raises RuntimeError when it fails."""
    usage = finish(argv, directory)
    return Count(faults=usage.ru_minflt + usage.ru_majflt)


def finish(argv: Sequence[str], directory: str | None) -> resource.struct_rusage:
    """Run a command to its end; returns what it used."""
    _, status, usage = os.wait4(start(argv, directory), 0)
    if status:
        raise RuntimeError(f"{' '.join(argv)}: status {status}")
    return usage


def modules() -> dict[str, int]:
    """Say how many modules of ours each family of commands loads at once."""
    lane = Lane()
    return {family: len(lane.closure(roots)) for family, roots in GROUPS.items()}
