"""What is believed of a guest's tests, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicontainer.vm import verdict
from minicontainer.vm.verdict import Report

JUNIT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


def left(folder: Path, junit: str | None, chosen: int = 2, code: int = 0) -> Report:
    """Read what a guest has left: its junit file and the names of what it was to run."""
    (folder / "inside").mkdir()
    if junit is not None:
        (folder / "inside/junit.xml").write_text(junit)
    for name in ("chosen", "marked"):
        (folder / "inside" / name).write_text("".join(f"test_{n}\n" for n in range(chosen)))
    (folder / "output").write_text("what pytest said")
    return verdict.read(folder, "plain-1", code, 7)


def test_a_clean_answer_is_believed(tmp_path: Path) -> None:
    report = left(tmp_path, JUNIT.format(2, 0, 0, 0))
    assert (report.problem, report.tests, report.chosen) == ("", 2, ("test_0", "test_1"))
    assert report.summary() == "2 tests passed in 7 s"
    assert verdict.judge([report], whole=True) == []


@pytest.mark.parametrize(
    ("junit", "code", "says"),
    [
        (None, 0, "left no junit file"),
        ("", 0, "left no junit file"),
        ("<testsuites>", 0, "left no junit file"),
        ("<testsuites/>", 0, "left no junit file"),
        (JUNIT.format(2, 0, 0, 0), 1, "ended with 1"),
        (JUNIT.format(2, 0, 0, 0), 137, "ended with 137"),
        (JUNIT.format(2, 1, 0, 0), 1, "1 failures of 2"),
        (JUNIT.format(2, 1, 0, 0), 0, "1 failures of 2"),
        (JUNIT.format(2, 0, 1, 0), 0, "1 errors of 2"),
        (JUNIT.format(2, 0, 0, 1), 0, "1 skipped of 2"),
        (JUNIT.format(1, 0, 0, 0), 0, "2 tests were to run, and 1 did"),
        (JUNIT.format(0, 0, 0, 0), 0, "2 tests were to run, and 0 did"),
        (JUNIT.format(0, 0, 0, 0), 5, "ended with 5"),
    ],
)
def test_everything_else_is_not(tmp_path: Path, junit: str | None, code: int, says: str) -> None:
    report = left(tmp_path, junit, code=code)
    assert says in report.problem
    assert report.summary().startswith("FAILED: ")
    assert says in verdict.judge([report], whole=False)[0]


def test_a_guest_with_nothing_to_do_is_no_problem_but_nothing_at_all_is(tmp_path: Path) -> None:
    idle = left(tmp_path, JUNIT.format(0, 0, 0, 0), chosen=0, code=5)
    busy = Report("plain-2", 1, "", ("test_a",), ())
    assert idle.problem == ""
    assert verdict.judge([idle, busy], whole=False) == []
    assert verdict.judge([idle], whole=False) == ["no test was run"]


def test_every_marked_test_is_run_once() -> None:
    marked = ("test_a", "test_b", "test_c")
    first, second = Report("1", 1, "", ("test_a",), marked), Report("2", 2, "", ("test_b", "test_c"), marked)
    assert verdict.judge([first, second], whole=True) == []
    assert verdict.judge([second], whole=True) == ["test_a: not run in any guest"]
    assert verdict.judge([second], whole=False) == []
    assert verdict.judge([first, second, first], whole=True) == ["test_a: run 2 times"]
    other = Report("3", 1, "", ("test_x",), ("test_x",))
    assert verdict.judge([first, second, other], whole=True)[0].startswith("the guests do not agree")


def test_a_guest_that_gave_no_answer_has_failed() -> None:
    report = verdict.failed("plain-1", "the guest plain-1: QEMU ended with -9; its console ends:\nlast line")
    assert "last line" in verdict.judge([report], whole=True)[0]
