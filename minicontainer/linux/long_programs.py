"""Programs that work for a while: input and output are files, and what they say meanwhile is passed on.

A program started here does not outlive us: the kernel asks it to end with the thread that started it, and an
exception here ends it.

See subprocess; PR_SET_PDEATHSIG(2const).
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from minicontainer.errors import Error, Unsupported
from minicontainer.linux.prctl import PR_SET_PDEATHSIG, prctl
from minicontainer.linux.programs import PATH

# What a program that fetches or unpacks much may know of its surroundings, besides PATH and a plain locale.
PASSED_ON = (
    "HOME",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
)
LAST_LINES = 12
PATIENCE = 10  # seconds for a program that was asked to end


class ProgramFailedError(Error):
    """A program ended with a status other than 0; `said` are its last lines."""

    def __init__(self, command: Sequence[str], status: int, said: Sequence[str]) -> None:
        self.status = status
        self.said = tuple(said)
        how = f"was killed by signal {-status}" if status < 0 else f"failed with exit status {status}"
        super().__init__(
            f"{command[0]} {how}: {' | '.join(line for line in said[-3:]) or 'it did not say why'}"
        )


def run_with_files(
    command: Sequence[str],
    *,
    stdin: Path | None = None,
    stdout: Path | None = None,
    environment: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda _line: None,
    ending: signal.Signals = signal.SIGTERM,
) -> None:
    """Run a program to its end, `tell` each line of its standard error as it comes.

    `ending` is the signal by which it is told to end when we do: unshare(1), for one, obeys only SIGKILL.
    Raises Unsupported when it is not installed, ProgramFailedError when it fails.
    """
    said: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
    with _started(command, stdin, stdout, surroundings() | dict(environment or {}), ending) as process:
        assert process.stderr is not None  # noqa: S101 - asked for as a pipe
        for line in process.stderr:
            said.append(line.rstrip())
            tell(line.rstrip())
        status = process.wait()
    if status:
        raise ProgramFailedError(command, status, list(said))


def surroundings() -> dict[str, str]:
    """Give the environment that such programs have."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {"PATH": PATH, "LC_ALL": "C.UTF-8", **passed}


@contextlib.contextmanager
def _started(
    command: Sequence[str],
    stdin: Path | None,
    stdout: Path | None,
    environment: Mapping[str, str],
    ending: signal.Signals,
) -> Iterator[subprocess.Popen[str]]:
    """Start a program; it has ended, one way or another, when this is left."""
    with (
        Path(stdin or os.devnull).open("rb") as source,
        Path(stdout or os.devnull).open("wb") as target,
    ):
        try:
            process = subprocess.Popen(
                command,
                stdin=source,
                stdout=target,
                stderr=subprocess.PIPE,
                env=environment,
                text=True,
                errors="replace",
                preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, ending),  # noqa: PLW1509 - one system call, and no lock
            )
        except FileNotFoundError:
            raise Unsupported(
                f"the program {command[0]} is not installed", f"it is looked for in {PATH}"
            ) from None
        try:
            yield process
        finally:
            _end(process, ending)


def _end(process: subprocess.Popen[str], ending: signal.Signals) -> None:
    """Tell a program that still runs to end, and insist."""
    if process.poll() is None:
        process.send_signal(ending)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stderr:
        process.stderr.close()
