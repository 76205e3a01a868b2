"""Whether to believe what comes out of a guest.

A guest's tests have passed if pytest ended with 0 *and* its junit file counts tests and neither failures nor
errors nor skips *and* it counts as many as were chosen for this guest. All of it has passed if, besides, the
guests together have run each marked test exactly once.

    inside/junit.xml   what ran and how it ended
    inside/chosen      the tests that this guest was to run, a line each, as tests/conftest.py writes it
    inside/marked      the tests that any guest is to run

See <https://llg.cubic.org/docs/junit/>, as pytest writes it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

NO_TESTS = 5  # pytest's exit code when its words choose no test
COUNTS = ("tests", "failures", "errors", "skipped")


@dataclass(frozen=True, slots=True)
class Report:
    """How the tests of one guest went."""

    name: str
    tests: int
    problem: str  # why it is not believed; "" if it is
    chosen: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()
    seconds: float = 0
    output: str = ""

    def summary(self) -> str:
        """Say it in one line, as far as it is one."""
        if self.problem:
            return f"FAILED: {self.problem}"
        return f"{self.tests} tests passed in {self.seconds:.0f} s"


def failed(name: str, problem: str) -> Report:
    """Report a guest that gave no answer."""
    return Report(name, 0, problem)


def read(folder: Path, name: str, code: int, seconds: float) -> Report:
    """Read what a guest has left in its folder of the results."""
    inside = folder / "inside"
    chosen, marked = lines(inside / "chosen"), lines(inside / "marked")
    counts = count(inside / "junit.xml")
    problem = disbelieve(code, counts, len(chosen))
    output = (folder / "output").read_text(errors="replace")
    return Report(name, counts.get("tests", 0), problem, chosen, marked, seconds, output)


def lines(path: Path) -> tuple[str, ...]:
    """Read a list; one that is not there is empty."""
    return tuple(path.read_text().splitlines()) if path.exists() else ()


def count(junit: Path) -> dict[str, int]:
    """Read the numbers of a junit file; one that is not there or not whole has none."""
    try:
        suite = ElementTree.parse(junit).getroot().find("testsuite")  # noqa: S314 - pytest's, in our own guest
    except (FileNotFoundError, ElementTree.ParseError):
        return {}
    return {} if suite is None else {key: int(suite.get(key) or 0) for key in COUNTS}


def disbelieve(code: int, counts: dict[str, int], chosen: int) -> str:
    """Say what is wrong with one guest's answer; nothing if it is to be believed."""
    if not counts:
        return f"pytest ended with {code} and left no junit file"
    bad = {key: counts[key] for key in COUNTS[1:] if counts[key]}
    if bad:
        return ", ".join(f"{number} {key}" for key, number in bad.items()) + f" of {counts['tests']} tests"
    if code == NO_TESTS and not chosen and not counts["tests"]:
        return ""  # words of the caller's that choose tests of other guests only
    if code:
        return f"pytest ended with {code}"
    if counts["tests"] != chosen or not chosen:
        return f"{chosen} tests were to run, and {counts['tests']} did"
    return ""


def judge(reports: list[Report], *, whole: bool) -> list[str]:
    """Say what is wrong with all of it; with `whole`, every marked test must have been run exactly once."""
    problems = [f"{report.name}: {report.problem}" for report in reports if report.problem]
    if problems:
        return problems
    if not sum(report.tests for report in reports):
        return ["no test was run"]
    if len({report.marked for report in reports}) > 1:
        return ["the guests do not agree on which tests there are"]
    ran = Counter(test for report in reports for test in report.chosen)
    twice = [f"{test}: run {times} times" for test, times in ran.items() if times > 1]
    never = [f"{test}: not run in any guest" for test in reports[0].marked if whole and test not in ran]
    return twice + never
