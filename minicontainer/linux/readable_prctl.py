"""prctl and capabilities in their readable form: sets of names, through python-prctl.

This is how one would write it where start-up time does not count. The hot lane says the same with bit masks,
in `prctl` and `capabilities`; a test proves both equal in /proc/PID/status. Ambient capabilities, which
python-prctl lacks, are asked of the C library beside it.

See prctl(2), capabilities(7), PR_CAP_AMBIENT(2const); https://pythonhosted.org/python-prctl/
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from dataclasses import dataclass

import prctl as library

from minicontainer.linux.capabilities import NUMBERS
from minicontainer.linux.flags import Ambient, Prctl, Securebits
from minicontainer.linux.kernel import kernel_call

Names = Collection[str]
_libc = ctypes.CDLL(None, use_errno=True)
_NAMES = {number: name for name, number in NUMBERS.items()}


@dataclass(frozen=True, slots=True)
class CapabilitySets:
    """The five sets in which a process holds capabilities, as names (`CAP_CHOWN`)."""

    effective: frozenset[str]
    permitted: frozenset[str]
    inheritable: frozenset[str]
    bounding: frozenset[str]
    ambient: frozenset[str]


def held() -> CapabilitySets:
    """Read the caller's five sets."""
    known = [number for number in NUMBERS.values() if number in library.ALL_CAPS]
    kinds = (library.CAP_EFFECTIVE, library.CAP_PERMITTED, library.CAP_INHERITABLE)
    states = library.get_caps(*((known, kind) for kind in kinds))
    effective, permitted, inheritable = (
        frozenset(_NAMES[number] for number in known if states[kind][number]) for kind in kinds
    )
    bounding = frozenset(_NAMES[number] for number in known if library.capbset_read(number))
    ambient = frozenset(_NAMES[n] for n in known if _prctl_ambient(Ambient.PR_CAP_AMBIENT_IS_SET, n))
    return CapabilitySets(effective, permitted, inheritable, bounding, ambient)


@kernel_call
def set_caps(effective: Names, permitted: Names, inheritable: Names) -> None:
    """Set three sets to exactly these capabilities. See capset(2)."""
    kinds = (
        (library.CAP_EFFECTIVE, effective),
        (library.CAP_PERMITTED, permitted),
        (library.CAP_INHERITABLE, inheritable),
    )
    changes = []
    for kind, names in kinds:
        wanted = {NUMBERS[name] for name in names}
        changes.append((sorted(set(library.ALL_CAPS) - wanted), kind, False))
        changes.append((sorted(wanted), kind, True))
    library.set_caps(*changes)


@kernel_call
def limit_bounding(names: Names) -> None:
    """Drop all but these capabilities from the bounding set. See PR_CAPBSET_DROP(2const)."""
    wanted = {NUMBERS[name] for name in names}
    for number in sorted(set(library.ALL_CAPS) - wanted):
        if library.capbset_read(number):
            library.capbset_drop(number)


@kernel_call
def set_ambient(names: Names) -> None:
    """Set the ambient set to these capabilities, which must be permitted and inheritable."""
    _prctl_ambient(Ambient.PR_CAP_AMBIENT_CLEAR_ALL, 0)
    for number in sorted(NUMBERS[name] for name in names):
        _prctl_ambient(Ambient.PR_CAP_AMBIENT_RAISE, number)


def _prctl_ambient(operation: Ambient, number: int) -> int:
    words = [ctypes.c_ulong(word) for word in (operation, number, 0, 0)]
    result = _libc.prctl(ctypes.c_int(Prctl.PR_CAP_AMBIENT), *words)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)


@kernel_call
def set_no_new_privs() -> None:
    """Give up gaining privileges by execve, for good."""
    library.set_no_new_privs(True)


@kernel_call
def set_dumpable(dumpable: bool) -> None:
    """Allow or forbid core dumps, and ptrace and /proc access by others of the same user."""
    library.set_dumpable(dumpable)


@kernel_call
def set_pdeathsig(signal: int) -> None:
    """Ask for a signal at the death of the parent."""
    library.set_pdeathsig(signal)


@kernel_call
def set_keepcaps(keep: bool) -> None:
    """Keep the permitted set when all user ids become other than 0."""
    library.set_keepcaps(keep)


@kernel_call
def set_child_subreaper(reaper: bool) -> None:
    """Become the parent of orphaned descendants, in place of init."""
    library.set_child_subreaper(reaper)


@kernel_call
def set_securebits(bits: Securebits) -> None:
    """Choose which privileges user id 0 has by itself."""
    library.set_securebits(bits)
