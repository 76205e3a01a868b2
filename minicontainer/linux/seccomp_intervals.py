"""Second part of the seccomp compiler: the line of all numbers, cut where the verdict changes.

    0          135                  472            2^30                       2^31           3 * 2^30
    | ALLOW .. | rules | ALLOW .. | ENOSYS ....... | ALLOW .. | ENOSYS ...... | ENOSYS ..... | ENOSYS .... ->
    '------------- x86-64 -----------------------' '---------- x32 ---------' '- x86-64 ---' '-- x32 ---

Numbers above the largest one that the profile names give ENOSYS, where the default action forbids: such a
call is newer than the profile, and a program falls back to an older one on ENOSYS but not on EPERM.

Implements: the same cuts as runc's libcontainer/seccomp/patchbpf. See seccomp(2), "x32 ABI".
"""

from __future__ import annotations

from minicontainer.linux.seccomp_architectures import X32, X32_SYSCALL_BIT, X86_64
from minicontainer.linux.seccomp_rules import ACTIONS, default_action, last_number, verdicts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.linux.seccomp_architectures import Architecture
    from minicontainer.linux.seccomp_rules import Verdict

    Interval = tuple[int, Verdict]  # from this number on, up to the next interval

EVERYTHING = 1 << 32
SKIPPED = EVERYTHING - 1  # number -1: a tracer has the kernel skip the call
ERRNO_ENOSYS = ACTIONS["SCMP_ACT_ERRNO"] | 38
BAD_ARCHITECTURE = ACTIONS["SCMP_ACT_KILL_THREAD"]
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")


def intervals(seccomp: dict[str, Any], architectures: list[Architecture]) -> list[Interval]:
    """Give the intervals of the architectures that share one audit value, the first one at 0."""
    default = default_action(seccomp)
    views = {owner: _view(seccomp, owner) for owner in architectures}
    if X86_64.audit != architectures[0].audit:
        return _merged(_stretch(views[architectures[0]], 0, EVERYTHING, default))
    line: list[Interval] = []
    for first in range(0, EVERYTHING, X32_SYSCALL_BIT):
        owner = X32 if first & X32_SYSCALL_BIT else X86_64
        others = default if first == 0 or X32 in views else BAD_ARCHITECTURE
        if owner in views:
            line += _stretch(views[owner], first, first + X32_SYSCALL_BIT, others)
        else:
            line.append((first, BAD_ARCHITECTURE))
    if X32 not in views:
        line.append((SKIPPED, default))
    return _merged(line)


def _view(seccomp: dict[str, Any], owner: Architecture) -> tuple[dict[int, Verdict], int | None]:
    """Give what the profile says of an architecture's numbers, and the last one that its author knew.

    None stands for a profile that permits what it does not know, and for one that names nothing.
    """
    found = verdicts(seccomp, owner)
    last = last_number(seccomp, owner)
    if last == 0 or seccomp["defaultAction"] in PERMISSIVE:
        return found, None
    if owner.name.startswith("s390"):
        found[0] = ERRNO_ENOSYS  # setup(2): so arrive the calls that this kernel does not know
    return found, last


def _stretch(
    view: tuple[dict[int, Verdict], int | None], first: int, end: int, others: int
) -> list[Interval]:
    """Give the intervals of one architecture between two numbers; `others` is for numbers without a rule."""
    found, last = view
    line: list[Interval] = [(first, others)]
    for number in sorted(found):
        if first <= number < end:
            line += [(number, found[number]), (number + 1, others)]
    if last is None:
        return line
    unknown = max(first, last + 1)
    return [*(interval for interval in line if interval[0] < unknown), (unknown, ERRNO_ENOSYS)]


def _merged(line: list[Interval]) -> list[Interval]:
    """Drop the cuts at which nothing changes; of two at one number the later one counts."""
    merged: list[Interval] = []
    for number, verdict in line:
        if merged and merged[-1][0] == number:
            merged.pop()
        if not merged or merged[-1][1] != verdict:
            merged.append((number, verdict))
    return merged
