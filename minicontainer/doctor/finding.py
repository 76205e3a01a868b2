"""What a check finds: a mark, a sentence, and how to mend it.

    ok         nothing to do
    limited    it works, but something will be refused, slower or weaker: the sentence says what
    missing    what is asked about cannot be used

A finding that is `needed` and missing means that `minicontainer run` cannot work here.

See docs/doctor.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from minicontainer.doctor.machine import Machine


class Mark(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    mark: Mark
    says: str
    mend: str = ""
    needed: bool = False


Check = Callable[[Machine], list[Finding]]  # an empty list: the question does not arise here


def ok(name: str, says: str) -> list[Finding]:
    """Find nothing wrong."""
    return [Finding(name, Mark.OK, says)]


def limited(name: str, says: str, mend: str = "") -> list[Finding]:
    """Find something that works in part."""
    return [Finding(name, Mark.LIMITED, says, mend)]


def missing(name: str, says: str, mend: str, *, needed: bool = False) -> list[Finding]:
    """Find that something cannot be used; `needed`: and that without it no container runs."""
    return [Finding(name, Mark.MISSING, says, mend, needed)]
