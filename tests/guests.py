"""Which tests are run in a virtual machine, and which of its guests runs which of them.

`@pytest.mark.vm` marks them. Under emulation a test costs ten times what it costs here, so there is only
room for a hundred. Most are run in clones of one frozen guest with one CPU, each test in exactly one clone;
those of `@pytest.mark.vm("systemd")` in a guest with two CPUs whose first process is systemd.

    pytest --guest=plain:0/2     the first half of the tests for plain guests
    pytest --guest=systemd       all tests for the guest with systemd

See minicontainer/vm/suite.py, which starts the guests, and compares what they were to run with what they ran.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

MOST = 100
GUESTS = ("plain", "systemd")
FORM = re.compile(r"(?P<kind>[a-z]+)(:(?P<number>\d+)/(?P<count>\d+))?")
ENGINES = ("podman", "containerd")
WORDS = "pytest.mark.vm"  # `vm test` hands only those files to its guests that have this text
MARKED = pytest.StashKey[list[str]]()
"""The names of all tests that are marked, of those that were collected."""


@dataclass(frozen=True)
class Part:
    """A part of the tests for one kind of guest."""

    kind: str
    number: int
    count: int


def read_part(text: str) -> Part:
    """Read what `--guest` was given. Raises UsageError."""
    found = FORM.fullmatch(text)
    if not found or found["kind"] not in GUESTS:
        raise pytest.UsageError(f"--guest={text}: expected one of {', '.join(GUESTS)}, as KIND or KIND:N/M")
    part = Part(found["kind"], int(found["number"] or 0), int(found["count"] or 1))
    if part.number >= part.count:
        raise pytest.UsageError(f"--guest={text}: there is no part {part.number} of {part.count}")
    return part


def guest_of(item: pytest.Item) -> str | None:
    """Say in which kind of guest a test is run; None for one that is not marked."""
    mark = item.get_closest_marker("vm")
    return None if mark is None else str([*mark.args, GUESTS[0]][0])


def refuse_wrong_marks(items: list[pytest.Item]) -> None:
    """Refuse a guest that there is not, a mark that `vm test` would overlook, and too many marks."""
    for item in items:
        kind = guest_of(item)
        if kind is not None and kind not in GUESTS:
            raise pytest.UsageError(f"{item.nodeid}: there is no guest {kind!r}")
    marked = [item for item in items if guest_of(item)]
    if len(marked) > MOST:
        raise pytest.UsageError(f"{len(marked)} tests are marked for guests, and {MOST} may be")
    for path in {item.path for item in marked}:
        if WORDS not in path.read_text():
            raise pytest.UsageError(f"{path}: its tests are marked, but it does not say {WORDS}")


def split(items: list[pytest.Item], part: Part) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Divide tests into those of a part and the others.

    Modules stay whole, for their tests share what is costly; and so does what needs an engine, which is
    started once for all. The biggest are dealt first, always to the part that has the least.
    """
    wanted = [item for item in items if guest_of(item) == part.kind]
    groups: dict[str, list[pytest.Item]] = {}
    for item in wanted:
        groups.setdefault(group_of(item), []).append(item)
    loads = [0] * part.count
    mine: set[str] = set()
    for name in sorted(groups, key=lambda name: (-weight(groups[name]), name)):
        lightest = loads.index(min(loads))
        loads[lightest] += weight(groups[name])
        if lightest == part.number:
            mine.add(name)
    chosen = [item for item in wanted if group_of(item) in mine]
    kept = {item.nodeid for item in chosen}
    return chosen, [item for item in items if item.nodeid not in kept]


def group_of(item: pytest.Item) -> str:
    """Name what is not divided: a module, or all that shares an engine, which is started once."""
    module = item.nodeid.partition("::")[0]
    return next((engine for engine in ENGINES if engine in module), module)


def weight(items: list[pytest.Item]) -> int:
    """Guess what tests cost, in about a CPU second; to start an engine costs as much as a few tests."""
    return len(items) + (10 if group_of(items[0]) in ENGINES else 0)
