"""The errno table: from a refused call to the one cause that applies.

An errno names a class of reasons; which one it was can be seen in /proc. Each row of the table is a function
that looks for its own evidence and tells the cause only when it finds it; its docstring is the rule that was
broken. Rows of the same (call, errno) are asked in the order in which they stand; when none applies, nothing
is said, because a wrong hint is worse than none.

See errno(3), and the ERRORS section of each call's man page.
"""

from __future__ import annotations

import errno as errnos
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minicontainer.errors import KernelError
from minicontainer.linux.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a call was refused: what was seen, what that means, and where to look or what to do."""

    saw: str
    means: str
    look_at: str

    def __str__(self) -> str:
        return f"{self.means} ({self.saw}); {self.look_at}"


Arguments = Sequence[object]
Row = Callable[[Arguments, Evidence], Cause | None]
SUBJECTS = ("files", "identity", "mounts", "rights")  # the modules that fill the table
TABLE: dict[tuple[str, int], list[Row]] = {}


def row(calls: str, *names: str) -> Callable[[Row], Row]:
    """Put a function into the table, for each call and errno; "OK" stands for a call that succeeded."""

    def put(function: Row) -> Row:
        for call in calls.split():
            for name in names:
                TABLE.setdefault((call, 0 if name == "OK" else getattr(errnos, name)), []).append(function)
        return function

    return put


def cause_of(
    call: str, errno: int, arguments: Arguments = (), evidence: Evidence | None = None
) -> Cause | None:
    """Tell why the call was refused, or None when that cannot be seen.

    `evidence` is about the process in which the call failed, and best taken right after it.
    """
    for subject in SUBJECTS:
        importlib.import_module(f"minicontainer.linux.causes_of_{subject}")

    seen = evidence or Evidence()
    for function in TABLE.get((call.lstrip("_"), errno), ()):
        try:
            found = function(arguments, seen)
        except (OSError, ValueError, LookupError, TypeError, StopIteration):
            continue  # what this row wanted to look at is not there, or not given: it cannot be the one
        if found:
            return found
    return None


def hint_for(error: KernelError, pid: int | str = "self") -> str:
    """Tell what to do about a refused call, or ""; `pid` is the process in which it failed."""
    found = cause_of(error.call, error.errno or 0, error.arguments, Evidence(pid))
    return str(found) if found else ""
