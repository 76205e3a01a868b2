"""The trial of KVM: it ends in time whatever happens, and believes only a processor that has counted."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from minicontainer.linux import kvm

COUNTED, REFUSED = "echo; exit 0", "exit 1"
HANGS_AT_ONCE, HANGS_COUNTING, DIES_COUNTING = "exec sleep 1000", "echo; exec sleep 1000", "echo; kill -9 $$"


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put a script in the place of the counting program, and an ordinary file in that of the device."""
    program, device = tmp_path / "python", tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(kvm, "DEVICE", str(device))
    return program


@pytest.mark.parametrize(
    ("does", "works"),
    [
        (COUNTED, True),
        (REFUSED, False),
        (HANGS_AT_ONCE, False),
        (HANGS_COUNTING, False),
        (DIES_COUNTING, False),
    ],
)
def test_only_a_processor_that_has_counted_works(
    does: str, works: bool, counter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if does == HANGS_AT_ONCE:
        monkeypatch.setattr(kvm, "START", 0.2)
    counter.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{does}\n")
    counter.chmod(0o755)
    assert kvm.kvm_works(0.3 if "sleep" in does else 30) is works
    pid = (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""
    assert not pid or not Path("/proc", pid.strip()).exists()


def test_it_may_be_asked_by_a_process_with_threads(counter: Path) -> None:
    counter.write_text(f"#!/bin/sh\n{COUNTED}\n")
    counter.chmod(0o755)
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(kvm.kvm_works(30))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 3


def test_without_the_device_nothing_is_started(counter: Path) -> None:
    Path(kvm.DEVICE).unlink()
    assert kvm.kvm_works() is False  # the program is not there, so starting it would raise


@pytest.mark.requires("kvm", "arch:x86_64")
def test_on_this_machine_the_answer_is_the_same_twice() -> None:
    descriptors = sorted(map(str, Path("/proc/self/fd").iterdir()))
    assert kvm.kvm_works() is kvm.kvm_works()
    assert sorted(map(str, Path("/proc/self/fd").iterdir())) == descriptors
