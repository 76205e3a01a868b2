"""Which QEMU is taken: a fast one of the distribution, else a newer one, else an old one, and it is said."""

from __future__ import annotations

import pytest

from minicontainer.errors import Error, Unsupported
from minicontainer.vm import emulator, qemu, qemu_newer

NAME = qemu.architecture().program
NEWER = ["/cache/loader", f"/cache/{NAME}"]


@pytest.fixture
def told() -> list[str]:
    return []


def have(monkeypatch: pytest.MonkeyPatch, own: tuple[int, int] | None, newer: tuple[int, int] | None) -> None:
    """Let the distribution and the cache have these versions, or none."""

    def version(command: list[str]) -> tuple[int, int]:
        found = newer if command == NEWER else own
        if found is None:
            raise Unsupported(f"the program {command[0]} is not installed")
        return found

    def unpack(system: str, tell: object) -> list[str]:
        if newer is None:
            raise Error("mmdebstrap failed with exit status 25")
        return NEWER

    monkeypatch.setattr(qemu, "version", version)
    monkeypatch.setattr(qemu_newer, "command", unpack)


def test_a_fast_one_of_the_distribution_is_taken(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    have(monkeypatch, own=(10, 0), newer=None)
    assert emulator.find_qemu(told.append) == ([NAME], (10, 0))
    assert told == []


def test_a_newer_one_is_taken_before_an_old_one(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    have(monkeypatch, own=(7, 2), newer=(10, 0))
    assert emulator.find_qemu(told.append) == (NEWER, (10, 0))


def test_a_newer_one_is_enough(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    have(monkeypatch, own=None, newer=(10, 0))
    assert emulator.find_qemu(told.append) == (NEWER, (10, 0))


def test_an_old_one_is_good_enough_and_that_is_said(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    have(monkeypatch, own=(7, 2), newer=None)
    assert emulator.find_qemu(told.append) == ([NAME], (7, 2))
    assert len(told) == 1
    assert "using QEMU 7.2" in told[0]
    assert "exit status 25" in told[0]


def test_none_at_all_is_one_line_and_a_hint(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    have(monkeypatch, own=None, newer=None)
    with pytest.raises(Unsupported, match=f"there is no {NAME}, and none could be unpacked") as problem:
        emulator.find_qemu(told.append)
    assert "\n" not in problem.value.message
    assert "apt-get install" in problem.value.hint
