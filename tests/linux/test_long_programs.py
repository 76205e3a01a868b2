"""Programs that work for a while: what they say is passed on, and none outlives whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minicontainer.errors import Unsupported
from minicontainer.linux.long_programs import ProgramFailedError, run_with_files

PATIENCE = 30.0


def is_alive(pid: int) -> bool:
    """A zombie is not: it waits for its parent only."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_dead(pid: int) -> bool:
    end = time.monotonic() + PATIENCE
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not is_alive(pid)


def test_input_and_output_are_files(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abc\0")
    run_with_files(["cat"], stdin=tmp_path / "in", stdout=tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"abc\0"


def test_each_line_of_standard_error_is_told_as_it_comes(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    told = []

    def tell(line: str) -> None:
        told.append(line)
        if line == "first":  # the program waits until somebody has heard that
            fifo.write_text("go on")

    run_with_files(["sh", "-c", f"echo first >&2; cat {fifo} >&2; echo >&2"], tell=tell)
    assert told == ["first", "go on"]


def test_a_failure_has_the_status_and_the_last_lines() -> None:
    with pytest.raises(
        ProgramFailedError, match=r"^sh failed with exit status 3: 28 \| 29 \| 30$"
    ) as failure:
        run_with_files(["sh", "-c", "seq 30 >&2; exit 3"])
    assert failure.value.status == 3
    assert failure.value.said == tuple(map(str, range(19, 31)))


def test_a_killed_program_is_a_failure() -> None:
    with pytest.raises(ProgramFailedError, match=r"^sh was killed by signal 9: it did not say why$"):
        run_with_files(["sh", "-c", "kill -9 $$"])


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(Unsupported, match=r"^the program no-such-program is not installed$"):
        run_with_files(["no-such-program"])


def test_programs_have_a_small_environment_with_proxies_and_what_the_caller_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    run_with_files(["env"], stdout=tmp_path / "out", environment={"SOURCE_DATE_EPOCH": "1"})
    seen = (tmp_path / "out").read_text().splitlines()
    assert {"https_proxy=http://proxy.test:3128", "SOURCE_DATE_EPOCH=1", "LC_ALL=C.UTF-8"} <= set(seen)
    assert [line for line in seen if line.startswith("PYTHONPATH")] == []


def test_an_exception_ends_the_program() -> None:
    pids = []

    def tell(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_with_files(["sh", "-c", "echo $$ >&2; exec sleep 1000"], tell=tell)
    assert not is_alive(pids[0])


def test_a_program_that_will_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minicontainer.linux.long_programs.PATIENCE", 0.1)
    pids = []

    def tell(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_with_files(["sh", "-c", "trap '' TERM; echo $$ >&2; while :; do sleep 1; done"], tell=tell)
    assert not is_alive(pids[0])


def test_a_program_ends_with_whoever_started_it() -> None:
    code = (
        "import sys; from minicontainer.linux.long_programs import run_with_files; "
        "run_with_files(['sh', '-c', 'echo $$ >&2; exec sleep 1000'],"
        " tell=lambda line: print(line, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert is_alive(pid)
        starter.send_signal(signal.SIGKILL)
    assert wait_until_dead(pid)
