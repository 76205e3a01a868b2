"""Running a program to its end. Its output goes to files: a process left behind would keep a pipe open."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence

TIMEOUT = 60.0
Completed = subprocess.CompletedProcess[str]


def run_to_its_end(
    argv: Sequence[str], text: str, environment: Mapping[str, str] | None, pass_fds: Iterable[int] = ()
) -> Completed:
    """Run a program with `text` as its input; one that takes longer than TIMEOUT is killed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            text=True,
            env=environment,
            pass_fds=tuple(pass_fds),
        ) as process:
            try:
                process.communicate(text, timeout=TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(argv, process.returncode, out.read(), err.read())
