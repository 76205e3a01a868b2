"""`minicontainer doctor`: what this machine can and cannot do, and how to mend it.

The exit code is 0 where `minicontainer run` can work, 1 where something that it needs is missing.

See docs/doctor.md; minicontainer.doctor.
"""

from __future__ import annotations

import sys
from pathlib import Path

from minicontainer.doctor import recording, report
from minicontainer.doctor.examination import examine
from minicontainer.doctor.here import this_machine
from minicontainer.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value
    from minicontainer.doctor.examination import Examination

CANNOT_RUN = 1
FORMATS = ("text", "json")


def doctor(values: dict[str, Value]) -> int:
    """Examine this machine and tell what was found."""
    form = values["format"] or "text"
    if form not in FORMATS:
        raise Error(f"--format {form}: there are text and json")
    machine = this_machine(trying=not values["no_trials"])
    found = examine(machine)
    if values["record"]:
        recording.write(machine, Path(str(values["record"])))
    if form == "json":
        sys.stdout.buffer.write(report.as_json(found))
    else:
        tell(found)
    return CANNOT_RUN if found.containers else 0


def tell(found: Examination) -> None:
    """Print the report for people."""
    from minicontainer.explain.text import screen

    console = screen(sys.stdout)
    for line in report.lines(found, console.width):
        console.print(line)
