"""The device filter of a cgroup: from OCI rules to an eBPF program that is asked at each open and mknod.

    r2 type  r3 what is asked for (m 1, r 2, w 4)  r4 major  r5 minor  r0 the answer, 1 unless set to 0

For each kind of access the last rule that matches wins. So the rules are tried from the last to the first:
one that denies a kind that is asked for ends in 0, one that allows takes its kinds off r3 and ends in 1 when
none is left. A rule for everything ends the program: the verifier refuses instructions that nothing reaches.
Where no rule speaks, the answer is 0. (runc takes a request as a whole: where `w` is denied it grants `rw`.)

Implements: runtime-spec config-linux.md, "Allowed Device list". See bpf(2), "struct bpf_cgroup_dev_ctx".
"""

from __future__ import annotations

import posix
from errno import EPERM

from minicontainer.errors import KernelError, Unsupported
from minicontainer.linux.bpf import bpf_prog_attach, bpf_prog_detach, bpf_prog_load, programs_named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "mc_devices"
BLOCK, CHARACTER = 1, 2  # BPF_DEVCG_DEV_*
TYPES = {"b": BLOCK, "c": CHARACTER, "u": CHARACTER}
ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
ALL = 7
LARGEST = 0x7FFFFFFF  # an operand is signed; Linux's device numbers end at 2^12 and 2^20

LOAD, COPY, SET, SHIFT, AND, EXIT = 0x61, 0xBF, 0xB7, 0x77, 0x57, 0x95
JUMP_UNEQUAL, JUMP_BITS_SET = 0x55, 0x45

DENY_ALL: dict[str, Any] = {"allow": False, "access": "rwm"}
DEFAULT_DEVICE_RULES: list[dict[str, Any]] = [
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in (
            (1, 3),  # null
            (1, 5),  # zero
            (1, 7),  # full
            (1, 8),  # random
            (1, 9),  # urandom
            (5, 0),  # tty
            (5, 2),  # ptmx
            (136, None),  # pts/*
            (10, 200),  # net/tun
        )
    ),
]
"""What every container may use: runc 1.3's list. A node of any kind may be made, but not opened."""


def container_rules(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give all rules of a container: nothing, then what the spec says, then in any case the default devices.

    podman repeats "deny all" in every update; the default devices must outlive that.
    """
    return [DENY_ALL, *rules, *DEFAULT_DEVICE_RULES]


def device_program(rules: list[dict[str, Any]]) -> bytes:
    """Assemble the program of a list of OCI rules, of which the last that matches wins."""
    program = [
        _instruction(LOAD, 2, 1, 0),
        _instruction(COPY, 3, 2),
        _instruction(AND, 2, operand=0xFFFF),
        _instruction(SHIFT, 3, operand=16),
        _instruction(LOAD, 4, 1, 4),
        _instruction(LOAD, 5, 1, 8),
        _instruction(SET, 0, operand=1),
    ]
    for rule in reversed(rules):
        tests, answer = _tests(rule), _answer(rule)
        if tests is not None:
            program += _rule(tests, answer)
            if not tests and answer in (ALLOW, DENY):
                return b"".join(program)
    return b"".join(program + DENY)


def _instruction(code: int, target: int, source: int = 0, offset: int = 0, operand: int = 0) -> bytes:
    registers = source << 4 | target
    return (
        bytes((code, registers)) + offset.to_bytes(2, "little", signed=True) + operand.to_bytes(4, "little")
    )


ALLOW = [_instruction(EXIT, 0)]
DENY = [_instruction(SET, 0, operand=0), _instruction(EXIT, 0)]


def _tests(rule: dict[str, Any]) -> list[tuple[int, int]] | None:
    """Give the registers that a rule compares, and with what; None for a device that cannot exist."""
    tests = []
    kind = rule.get("type") or "a"
    if kind != "a":
        tests.append((2, TYPES[kind]))
    for register, number in ((4, rule.get("major")), (5, rule.get("minor"))):
        if number is not None and number > LARGEST:
            return None
        if number is not None and number >= 0:  # -1 is the wildcard of older callers
            tests.append((register, number))
    return tests


def _answer(rule: dict[str, Any]) -> list[bytes]:
    """Give the instructions for a device that matches: they end the program or leave the rest."""
    access = sum(ACCESS[kind] for kind in set(rule.get("access") or "rwm"))
    if rule["allow"]:
        if access == ALL:
            return ALLOW
        others = _instruction(AND, 3, operand=ALL & ~access)
        return [others, _instruction(JUMP_UNEQUAL, 3, offset=len(ALLOW)), *ALLOW]
    if access == ALL:
        return DENY
    # Over the jump that passes by, into the denial.
    return [_instruction(JUMP_BITS_SET, 3, offset=1, operand=access), _jump(len(DENY)), *DENY]


def _jump(offset: int) -> bytes:
    return _instruction(0x05, 0, offset=offset)


def _rule(tests: list[tuple[int, int]], answer: list[bytes]) -> list[bytes]:
    """Guard an answer by its tests: each jumps over the rest of the rule."""
    left = len(tests) + len(answer)
    guards = [
        _instruction(JUMP_UNEQUAL, register, offset=left - at - 1, operand=value)
        for at, (register, value) in enumerate(tests)
    ]
    return guards + answer


def attach_device_filter(cgroup: int, rules: list[dict[str, Any]]) -> None:
    """Give a cgroup, an open directory, its first device filter."""
    program = _load(rules)
    try:
        bpf_prog_attach(cgroup, program)
    finally:
        posix.close(program)


def replace_device_filter(cgroup: int, rules: list[dict[str, Any]]) -> None:
    """Put a new device filter in the place of ours; at no moment is the cgroup without one.

    Filters of others (systemd's) stay. A second one of ours, left by an update that was killed, goes.
    """
    program = _load(rules)
    before = programs_named(cgroup, NAME)
    try:
        bpf_prog_attach(cgroup, program, before[0] if before else -1)
        for old in before[1:]:
            bpf_prog_detach(cgroup, old)
    finally:
        for descriptor in (program, *before):
            posix.close(descriptor)


def _load(rules: list[dict[str, Any]]) -> int:
    try:
        return bpf_prog_load(device_program(rules), NAME)
    except KernelError as problem:
        if problem.errno == EPERM and _locked_memory_counts():
            raise Unsupported(
                "device filter: the limit of locked memory (RLIMIT_MEMLOCK) is too low for this kernel",
                hint="raise it (ulimit -l unlimited), or use Linux 5.11 or later",
            ) from problem
        raise


def _locked_memory_counts() -> bool:
    """Say whether the kernel takes a program's memory from RLIMIT_MEMLOCK, as it did before 5.11."""
    major, minor = posix.uname().release.split(".")[:2]
    return (int(major), int(minor)) < (5, 11)
