"""KVM is taken only after a trial, and the answer holds for one boot of this machine."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from minicontainer.errors import Error
from minicontainer.vm import backend
from minicontainer.vm.backend import Backend, choose

NEW, OLD = (10, 0), (7, 2)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose /dev/kvm counts fast; returns the file that keeps the answer."""
    monkeypatch.delenv(backend.VARIABLE, raising=False)
    monkeypatch.setattr(backend, "kvm_works", lambda: True)
    monkeypatch.setattr("os.access", lambda *_: True)
    monkeypatch.setattr(backend, "BOOT_ID", tmp_path / "boot_id")
    monkeypatch.setattr(backend, "KVM", tmp_path / "kvm")
    (tmp_path / "boot_id").write_text("first\n")
    (tmp_path / "kvm").touch()
    return tmp_path / "answer"


def says(answer: bool, asked: list[Backend]) -> backend.Trial:
    def trial(tried: Backend) -> bool:
        asked.append(tried)
        return answer

    return trial


def test_kvm_is_taken_when_a_kernel_ran_on_it(machine: Path) -> None:
    asked: list[Backend] = []
    chosen = choose(NEW, says(True, asked), machine)
    assert (chosen.name, chosen.accelerator, chosen.cpu) == ("kvm", "kvm", "host")
    assert [each.name for each in asked] == ["kvm"]


def test_a_silent_kernel_speaks_against_kvm(machine: Path) -> None:
    chosen = choose(NEW, says(False, []), machine)
    assert chosen.name == "tcg"
    assert "said nothing" in chosen.why


def test_a_slow_virtual_processor_speaks_against_kvm_and_boots_nothing(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "kvm_works", lambda: False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    asked: list[Backend] = []
    chosen = choose(NEW, says(True, asked), machine)
    assert chosen.name == "tcg"
    assert "speed" in chosen.why
    assert asked == []


def test_other_processors_are_tried_by_a_boot_alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "kvm_works", lambda: False)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert choose(NEW, says(True, []), machine).name == "kvm"


def test_no_kvm_at_all_is_the_reason(machine: Path) -> None:
    backend.KVM.unlink()
    assert choose(NEW, says(True, []), machine).why == "there is no /dev/kvm"


def test_one_trial_is_enough_until_the_next_boot(machine: Path) -> None:
    asked: list[Backend] = []
    first = choose(NEW, says(False, asked), machine)
    again = choose(NEW, says(True, asked), machine)
    assert (first, len(asked)) == (again, 1)
    backend.BOOT_ID.write_text("second\n")
    assert choose(NEW, says(True, asked), machine).name == "kvm"
    assert len(asked) == 2


@pytest.mark.parametrize("broken", [b"", b"\xff\xfe", b"no line"])
def test_a_broken_answer_is_asked_again(machine: Path, broken: bytes) -> None:
    machine.write_bytes(broken)
    assert choose(NEW, says(True, []), machine).name == "kvm"


@pytest.mark.parametrize("name", ["kvm", "tcg"])
def test_the_variable_decides_without_a_trial(
    machine: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(backend.VARIABLE, name)
    asked: list[Backend] = []
    assert choose(NEW, says(True, asked), machine).name == name
    assert asked == []


def test_a_backend_that_there_is_not_is_an_error(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backend.VARIABLE, "xen")
    with pytest.raises(Error, match="xen: no such backend"):
        choose(NEW, says(True, []), machine)


@pytest.mark.parametrize(
    ("version", "processor", "cpu"),
    [(OLD, "x86_64", "max,-cx16"), (NEW, "x86_64", "max"), (OLD, "aarch64", "max")],
)
def test_an_old_qemu_is_not_trusted_with_wide_exchanges(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], processor: str, cpu: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: processor)
    assert backend.tcg("", version).cpu == cpu
