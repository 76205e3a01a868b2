"""How the tests are handed to guests, and what becomes of guests that do not come up or do not come back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minicontainer.vm import suite, toolkit
from minicontainer.vm.backend import Backend
from minicontainer.vm.conversation import GuestError
from minicontainer.vm.emulator import Emulator
from minicontainer.vm.suite import Job, Kit, Wishes
from tests import guests


@pytest.fixture
def told() -> list[str]:
    """Give what has been told."""
    return []


@pytest.fixture
def kit(tmp_path: Path, told: list[str]) -> Kit:
    """Give what guests have in common, without any guest."""
    anything: Any = None
    (tmp_path / "results/plain-1").mkdir(parents=True)
    wishes = Wishes(2, tmp_path / "results")
    return Kit(wishes, anything, anything, tmp_path / "toolkit.tar", "digest", tmp_path, told.append)


def failing(times: int) -> Any:
    """Give a way to start guests that fails so many times, and then gives one that is silent."""
    left = [times]
    machine = SimpleNamespace(console=lambda: "last line", kill=lambda: None, python=die)

    def start_once(_kit: Kit, _job: Job) -> Any:
        if left[0]:
            left[0] -= 1
            raise GuestError("the guest: no answer")
        return machine

    return start_once


def die(*_words: object, **_more: object) -> None:
    """Be a guest that vanishes in the middle of the tests."""
    raise GuestError("the guest: QEMU ended with -9; its console ends:\nlast line")


def test_each_part_and_the_guest_with_systemd_are_jobs() -> None:
    jobs = suite.jobs(3)
    assert [job.guest for job in jobs if not job.systemd] == ["plain:0/3", "plain:1/3", "plain:2/3"]
    assert [job.name for job in jobs if job.systemd] == ["systemd"]
    assert {job.hardware.cpus for job in jobs if job.systemd} == {2}
    assert {guests.read_part(job.guest).kind for job in jobs} == set(guests.GUESTS)


def test_the_files_are_those_that_say_so() -> None:
    top = toolkit.checkout()
    files = suite.marked_files()
    assert "tests/limits/test_memory.py" in files
    assert suite.MARKED == guests.WORDS
    assert all((top / file).is_file() for file in files)


def test_a_guest_is_started_twice_at_most_and_it_is_told(
    kit: Kit, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "start_once", failing(1))
    assert suite.start(kit, Job("plain-1", "plain:0/1")) is not None
    assert told == ["plain-1: the guest did not come up and is started once more: the guest: no answer"]
    monkeypatch.setattr(suite, "start_once", failing(2))
    report = suite.report_of(kit, Job("plain-1", "plain:0/1"))
    assert report.problem == "the guest: no answer"


def test_a_guest_that_vanishes_is_a_failure_and_no_test_is_run_again(
    kit: Kit, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "start_once", failing(0))
    report = suite.report_of(kit, Job("plain-1", "plain:0/1"))
    assert (report.tests, report.problem.splitlines()[-1]) == (0, "last line")
    assert (kit.wishes.results / "plain-1/console").read_text() == "last line"
    assert sum("starting" in line for line in told) == 1
    assert "FAILED" in told[-1]


def test_an_emulated_guest_with_two_processors_has_one_thread() -> None:
    emulated = Emulator(["qemu"], (10, 0), Backend("tcg", "tcg,thread=multi", "max", ""))
    assert suite.on_one_thread(emulated).backend.accelerator == "tcg,thread=single"
    real = Emulator(["qemu"], (10, 0), Backend("kvm", "kvm", "host", ""))
    assert suite.on_one_thread(real) == real
