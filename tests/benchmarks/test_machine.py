"""Figures say which machine they come from, and an emulated one gets no times."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks.machine import Machine, examine

MACHINES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("machines.toml").read_text())


@pytest.mark.parametrize("recorded", MACHINES.values(), ids=MACHINES.keys())
def test_a_machine_is_known_by_what_it_says_of_itself(recorded: dict[str, Any], tmp_path: Path) -> None:
    for name, text in recorded["files"].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert examine(tmp_path) == Machine(recorded["name"], recorded["emulated"])


@pytest.mark.parametrize(("emulated", "asked"), [(True, False), (False, True), (True, True)])
def test_an_emulated_machine_is_counted_and_never_timed(
    emulated: bool,
    asked: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_times(*_: object) -> None:
        raise AssertionError("times were taken")

    monkeypatch.setattr(command, "examine", lambda: Machine("a machine of glass", emulated))
    monkeypatch.setattr(command, "our_runtime", lambda: "/ours")
    monkeypatch.setattr(command, "measure", no_times)
    monkeypatch.setattr(command, "count", lambda *_: {"run, system calls": {"ours": 955.0}})
    monkeypatch.setattr(
        "sys.argv", ["benchmarks", "--folder", str(tmp_path), *(["--counts"] if asked else [])]
    )
    assert command.main() == 0
    shown = capsys.readouterr().out
    assert "955" in shown
    assert "milliseconds" not in shown
    assert "of a machine of glass, Linux " in shown.splitlines()[-1]
    assert shown.startswith("This is a machine of glass: nothing takes its real time here.") is emulated


def test_the_figures_of_a_real_machine_say_where_they_are_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"run": {"ours": 20.0, "crun": 10.0}, "odd": {"ours": 1.0, "crun": 0.0}}
    monkeypatch.setattr(command, "examine", lambda: Machine("a virtual machine: KVM", False))
    monkeypatch.setattr(command, "our_runtime", lambda: "/ours")
    monkeypatch.setattr(command, "peer", lambda name: Path("/crun") if name == "crun" else None)
    monkeypatch.setattr(command, "measure", lambda _: figures)
    json = tmp_path / "figures.json"
    monkeypatch.setattr(
        "sys.argv", ["benchmarks", "runtimes", "--folder", str(tmp_path), "--json", str(json)]
    )
    assert command.main() == 0
    shown = capsys.readouterr().out
    assert "2.00" in shown
    assert "of a virtual machine: KVM, Linux " in shown
    assert '"machine": "a virtual machine: KVM"' in json.read_text()
