"""The examination in words: for people, grouped and marked; for programs, as JSON.

    control groups
      ok       cgroups      cgroup v2 alone (unified)
      limited  pressure     the kernel tells no pressure (PSI)
                            -> boot with psi=1: ...

The marks have colours on a terminal, and none with NO_COLOR. Exit codes are the command's affair.

See https://no-color.org; docs/doctor.md.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import msgspec
from rich.text import Text

from minicontainer.doctor.examination import Examination
from minicontainer.doctor.finding import Finding, Mark

COLOURS = {Mark.OK: "green", Mark.LIMITED: "yellow", Mark.MISSING: "red"}
ARROW = "-> "
NARROWEST = 30  # columns for what is said, on whatever terminal
MARK_WIDTH = 2 + max(len(mark) for mark in Mark)


def lines(examination: Examination, width: int) -> Iterator[Text]:
    """Tell group by group, then what follows; lines are broken where they would be longer than `width`."""
    column = 2 + max(len(finding.name) for group in examination.groups.values() for finding in group)
    for group, findings in examination.groups.items():
        yield Text(group, style="bold")
        for finding in findings:
            yield from told(finding, column, width)
        yield Text()
    yield Text("containers: ") + verdict(examination.containers, containers(examination))
    yield Text("virtual machines: ") + verdict(examination.guests, guests(examination))


def told(finding: Finding, column: int, width: int) -> Iterator[Text]:
    """Tell one finding, and below it how to mend it."""
    indent = 2 + MARK_WIDTH + column
    room = max(width - indent, NARROWEST)
    first, *rest = textwrap.wrap(finding.says, room, break_on_hyphens=False)
    for number, line in enumerate(textwrap.wrap(finding.mend, room - len(ARROW), break_on_hyphens=False)):
        rest.append((" " * len(ARROW) if number else ARROW) + line)
    mark = (f"  {finding.mark:<{MARK_WIDTH}}", COLOURS[finding.mark])
    yield Text.assemble(mark, f"{finding.name:<{column}}{first}")
    for line in rest:
        yield Text(" " * indent + line)


def containers(examination: Examination) -> str:
    """Say how containers would run."""
    how = examination["rights"].mend
    return f"minicontainer run works here{': ' + how if how else ''}"


def guests(examination: Examination) -> str:
    """Say how guests would run."""
    fast = examination["kvm"].mark == Mark.OK
    return f"minicontainer vm works here, {'with KVM' if fast else 'emulated'}"


def verdict(obstacles: list[Finding], otherwise: str) -> Text:
    """Say in one sentence what follows."""
    if obstacles:
        return Text(f"not here; see {', '.join(finding.name for finding in obstacles)}", style="red")
    return Text(otherwise, style="green")


def as_json(examination: Examination) -> bytes:
    """Write what a program may want to know; the words `ok`, `limited`, `missing` and the names stay."""
    found = {
        "containers": not examination.containers,
        "virtualMachines": not examination.guests,
        "groups": examination.groups,
    }
    return msgspec.json.format(msgspec.json.encode(found)) + b"\n"
