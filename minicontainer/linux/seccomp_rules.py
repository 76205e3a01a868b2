"""First part of the seccomp compiler: from the groups of a profile to the rules of each system call's number.

    {"names": ["personality"], "action": "SCMP_ACT_ALLOW",        135: ((((0, EQ, ~0, 8, True),), ALLOW),)
     "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}   ->

A number's verdict is an action, or rules that are tried in order (the default action follows). As with
libseccomp the first rule without conditions decides alone. As with runc a rule whose action is the default
one is dropped, an unknown name is skipped, and conditions on the same argument become rules of their own.

Implements: runtime-spec config-linux.md, "Seccomp". See seccomp(2), seccomp_rule_add(3).
"""

from __future__ import annotations

from minicontainer.errors import SpecError
from minicontainer.linux.syscalls import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minicontainer.linux.seccomp_architectures import Architecture

    # argument, test, mask, value, wanted: the test of (argument & mask) against value must give wanted
    Condition = tuple[int, int, int, int, bool]
    Rule = tuple[tuple[Condition, ...], int]  # all conditions hold -> action
    Verdict = int | tuple[Rule, ...]

EPERM = 1
MAX_ERRNO = 4095
EVERY_BIT, LOW_BITS = (1 << 64) - 1, (1 << 32) - 1
EQ, GE, GT = 0, 1, 2

ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
CARRY_ERRNO = {"SCMP_ACT_ERRNO": MAX_ERRNO, "SCMP_ACT_TRACE": 0xFFFF}
"""The actions that take a number, and the largest one: an errno, or a message for the tracer."""

OPERATORS = {
    "SCMP_CMP_EQ": (EQ, True),
    "SCMP_CMP_NE": (EQ, False),
    "SCMP_CMP_GE": (GE, True),
    "SCMP_CMP_LT": (GE, False),
    "SCMP_CMP_GT": (GT, True),
    "SCMP_CMP_LE": (GT, False),
    "SCMP_CMP_MASKED_EQ": (EQ, True),
}
"""Operator -> the test that a filter has for it, and whether it must hold."""


def default_action(seccomp: dict[str, Any]) -> int:
    """Give the action for calls that no rule speaks of."""
    if seccomp["defaultAction"] == "SCMP_ACT_NOTIFY":
        raise SpecError("linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action")
    return _action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"), "linux.seccomp.defaultErrnoRet")


def _action(name: str, number: int | None, path: str) -> int:
    action = ACTIONS[name]
    if name not in CARRY_ERRNO:
        if number is not None:
            raise SpecError(path, f"{name} takes no errno")
        return action
    if number is not None and not 0 <= number <= CARRY_ERRNO[name]:
        raise SpecError(path, f"{number} is not between 0 and {CARRY_ERRNO[name]}")
    return action | (EPERM if number is None else number)


def verdicts(seccomp: dict[str, Any], architecture: Architecture) -> dict[int, Verdict]:
    """Give what the profile says of each number on one architecture; other numbers get the default action."""
    collected: dict[int, list[Rule]] = {}
    for number, rule in _rules(seccomp, architecture):
        collected.setdefault(number, []).append(rule)
    return {number: _verdict(rules) for number, rules in collected.items()}


def _verdict(rules: list[Rule]) -> Verdict:
    for conditions, action in rules:
        if not conditions:
            return action
    return tuple(dict.fromkeys(rules))


def _rules(seccomp: dict[str, Any], architecture: Architecture) -> Iterator[tuple[int, Rule]]:
    default = default_action(seccomp)
    register = EVERY_BIT if architecture.wide else LOW_BITS
    for index, group in enumerate(seccomp.get("syscalls") or []):
        path = f"linux.seccomp.syscalls[{index}]"
        action = _action(group["action"], group.get("errnoRet"), f"{path}.errnoRet")
        _refuse_listening_to_write(group, path)
        if action == default:
            continue
        choices = _alternatives(group.get("args") or [], register)
        for name in group["names"]:
            for conditions in choices:
                for number, all_conditions in _ways(architecture.name, name, conditions):
                    yield number, (all_conditions, action)


def _refuse_listening_to_write(group: dict[str, Any], path: str) -> None:
    # The runtime itself writes the listener's descriptor to whoever serves it, when the filter is on already.
    if group["action"] == "SCMP_ACT_NOTIFY" and "write" in group["names"]:
        raise SpecError(f"{path}.names", "SCMP_ACT_NOTIFY cannot be used for the write syscall")


def _alternatives(arguments: list[dict[str, Any]], register: int) -> list[tuple[Condition, ...]]:
    """Give the conditions of each rule that a group stands for; `register` has the bits of a register set."""
    conditions = [_condition(argument, register) for argument in arguments]
    if len({condition[0] for condition in conditions}) < len(conditions):
        return [(condition,) for condition in conditions]
    return [tuple(sorted(conditions))]


def _condition(argument: dict[str, Any], register: int) -> Condition:
    test, wanted = OPERATORS[argument["op"]]
    mask, value = register, argument["value"]
    if argument["op"] == "SCMP_CMP_MASKED_EQ":
        mask, value = argument["value"] & register, argument.get("valueTwo") or 0
    return argument["index"], test, mask, value & mask, wanted


def _ways(
    architecture: str, name: str, conditions: tuple[Condition, ...]
) -> Iterator[tuple[int, tuple[Condition, ...]]]:
    """Give each number by which a call is reached; a multiplexer's argument 0 says which call is meant."""
    calls = table(architecture)
    entry = calls.get(name)
    if entry is None:
        return
    if entry.multiplexer:
        which: Condition = (0, EQ, LOW_BITS, entry.call, True)
        others = tuple(condition for condition in conditions if condition[0] != 0)
        number = calls[entry.multiplexer].number
        if number is not None:
            yield number, (which, *others)
    if entry.number is not None:
        yield entry.number, conditions


def last_number(seccomp: dict[str, Any], architecture: Architecture) -> int:
    """Give the largest number that the profile names, 0 where it names none.

    Its author did not know the later ones. Multiplexed calls do not count: libseccomp has no number for them.
    """
    calls = table(architecture.name)
    named = (calls.get(name) for group in seccomp.get("syscalls") or [] for name in group["names"])
    return max((entry.number or 0 for entry in named if entry and not entry.multiplexer), default=0)
