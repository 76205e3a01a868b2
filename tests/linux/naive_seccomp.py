"""What a seccomp profile means, spelled out without any compiling: the oracle for one call at a time.

See runtime-spec config-linux.md, "Seccomp"; and what runc adds: architectures that the profile does not name
are killed, calls newer than the profile give ENOSYS.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from minicontainer.linux.syscalls import table
from tests.linux.libseccomp import ACTIONS, action

if TYPE_CHECKING:
    from collections.abc import Iterator

ENOSYS = ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
KILL = ACTIONS["SCMP_ACT_KILL"]
X32_BIT = 1 << 30
NARROW = ("x86", "x32", "arm", "s390")
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
OPERATORS = {
    "SCMP_CMP_NE": lambda a, v, _: a != v,
    "SCMP_CMP_LT": lambda a, v, _: a < v,
    "SCMP_CMP_LE": lambda a, v, _: a <= v,
    "SCMP_CMP_EQ": lambda a, v, _: a == v,
    "SCMP_CMP_GE": lambda a, v, _: a >= v,
    "SCMP_CMP_GT": lambda a, v, _: a > v,
    "SCMP_CMP_MASKED_EQ": lambda a, v, two: a & v == two & v,
}


def table_name(scmp: str) -> str:
    """Give x86_64 for SCMP_ARCH_X86_64."""
    return scmp.removeprefix("SCMP_ARCH_").lower()


class Naive:
    """A profile on a machine of one architecture."""

    def __init__(self, profile: dict[str, Any], native: str = "SCMP_ARCH_X86_64") -> None:
        self.profile = profile
        self.present = {table_name(name) for name in [native, *(profile.get("architectures") or [])]}
        self.default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
        self.last = {mode: last_named(profile, mode) for mode in self.present}

    def __call__(self, number: int, architecture: str, arguments: tuple[int, ...]) -> int:
        """Give the verdict on a call with six arguments, made by a process of this architecture."""
        mode = table_name(architecture)
        if mode in ("x86_64", "x32"):
            mode = "x32" if number & X32_BIT else "x86_64"
            if number == (1 << 32) - 1 and mode not in self.present and "x86_64" in self.present:
                return self.default
        if mode not in self.present:
            return KILL
        if self.newer(mode, number):
            return ENOSYS
        if mode == "x86_64" and number >= X32_BIT and "x32" not in self.present:
            return KILL
        return self.first_match(mode, number, arguments)

    def newer(self, mode: str, number: int) -> bool:
        """Say whether a forbidding profile cannot have known the call."""
        last = self.last[mode]
        if not last or self.profile["defaultAction"] in PERMISSIVE:
            return False
        return number > last or (mode.startswith("s390") and number == 0)

    def first_match(self, mode: str, number: int, arguments: tuple[int, ...]) -> int:
        """Give the action of the first rule without conditions, else of the first rule that matches."""
        found = list(rules(self.profile, mode, number, self.default))
        bits = (1 << 32) - 1 if mode in NARROW else (1 << 64) - 1
        for conditions, answer in found:
            if not conditions:
                return answer
        for conditions, answer in found:
            if all(holds(each, bits, arguments) for each in conditions):
                return answer
        return self.default


def last_named(profile: dict[str, Any], mode: str) -> int:
    """Give the largest number among the names of a profile that have one way in."""
    names = [name for group in profile["syscalls"] for name in group["names"]]
    entries = [table(mode)[name] for name in names if name in table(mode)]
    return max([0, *(entry.number for entry in entries if entry.number and not entry.multiplexer)])


def rules(profile: dict[str, Any], mode: str, number: int, default: int) -> Iterator[tuple[list[Any], int]]:
    """Give the rules that speak of a number, in their order, without those that ask for the default."""
    for group in profile["syscalls"]:
        answer = action(group["action"], group.get("errnoRet"))
        for name in group["names"] if answer != default else []:
            given = group.get("args") or []
            shared = len({each["index"] for each in given}) < len(given)
            for conditions in [[each] for each in given] if shared else [given]:
                for implied in ways(mode, name, number):
                    others = [each for each in conditions if not (implied and each["index"] == 0)]
                    yield implied + others, answer


def ways(mode: str, name: str, number: int) -> list[list[dict[str, Any]]]:
    """Give the conditions under which a number means a name: none, or that a multiplexer is asked for it."""
    entry = table(mode).get(name)
    if entry is None:
        return []
    found: list[list[dict[str, Any]]] = []
    if entry.multiplexer and table(mode)[entry.multiplexer].number == number:
        found.append([{"index": 0, "op": "SCMP_CMP_EQ", "value": entry.call}])
    if entry.number == number:
        found.append([])
    return found


def holds(condition: dict[str, Any], bits: int, arguments: tuple[int, ...]) -> bool:
    """Say whether one condition holds, in the width of the architecture's registers."""
    two = condition.get("valueTwo") or 0
    argument = arguments[condition["index"]] & bits
    return bool(OPERATORS[condition["op"]](argument, condition["value"] & bits, two & bits))
