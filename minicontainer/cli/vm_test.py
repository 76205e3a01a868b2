"""`minicontainer vm test`: run the tests that are marked for virtual machines, and print what came out.

See minicontainer/vm/suite.py; CONTRIBUTING.md.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from minicontainer.cli.vm_words import end_in_order, read_count, tell, text
from minicontainer.vm import suite, verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value

RESULTS = "vm-results"
MOST_PARTS = 16


def test(values: dict[str, Value]) -> int:
    """Run the tests; 0 only if every one of them has been run and has passed. Raises Error."""
    end_in_order()
    words = values["word"]
    wishes = suite.Wishes(
        parts=read_count(text(values, "parts") or "2", "--parts", MOST_PARTS),
        results=Path(text(values, "results") or RESULTS).absolute(),
        words=tuple(words) if isinstance(words, list) else (),
    )
    started = time.monotonic()
    reports = suite.run(wishes, tell)
    for report in reports:
        sys.stdout.write(f"{f' {report.name} ':=^100}\n{report.output}\n")
    problems = verdict.judge(reports, whole=not wishes.words)
    for problem in problems:
        sys.stdout.write(f"FAILED {problem}\n")
    sys.stdout.write(summary(reports, time.monotonic() - started, wishes.results) + "\n")
    sys.stdout.flush()
    return 1 if problems else 0


def summary(reports: list[verdict.Report], seconds: float, results: Path) -> str:
    """Say in one line what it was and what it took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        f"virtual machines: {sum(report.tests for report in reports)} tests in {len(reports)} guests, "
        f"{seconds:.0f} s, {used.ru_utime + used.ru_stime:.0f} CPU seconds; all of it is in {results}"
    )
