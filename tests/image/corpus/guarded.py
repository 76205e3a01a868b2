"""Running `minicontainer` on hostile images: each time in a process of its own, within bounds.

See starter.py, which does it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.image.corpus import starter

MOST_MEMORY = 200 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended; `code` is None for one that hung, `memory` the largest resident set, in bytes."""

    code: int | None
    out: str
    err: str
    memory: int


class Guarded:
    """A starter at work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], *, fresh: bool) -> Outcome:
        """Run `minicontainer ARGUMENTS`: `fresh` as a user does, else in a child that has it imported."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"arguments": arguments, "environment": environment, "fresh": fresh}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return Outcome(**json.loads(self._process.stdout.readline()))


@contextmanager
def guarded() -> Iterator[Guarded]:
    """Start a starter."""
    command = [sys.executable, "-m", starter.__name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Guarded(process)
