"""The seccomp compiler: each call gets the verdict that the profile gives it when it is read literally."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.errors import SpecError, Unsupported
from minicontainer.linux.seccomp_compiler import compile_filter
from minicontainer.linux.syscalls import table
from tests.linux.classic_bpf import decode, run, seccomp_data
from tests.linux.libseccomp import ACTIONS, AUDIT
from tests.linux.naive_seccomp import OPERATORS, Naive, table_name
from tests.linux.seccomp_profiles import (
    DOCKER_CAPABILITIES,
    NAMES,
    VALUES,
    X86,
    any_profile,
    arguments,
    condition,
    docker,
    group,
    profile,
)

ALLOW, ERRNO = ACTIONS["SCMP_ACT_ALLOW"], ACTIONS["SCMP_ACT_ERRNO"]
EPERM, EINVAL, ENOSYS = ERRNO | 1, ERRNO | 22, ERRNO | 38
EDGES = [2**30 - 1, 2**30, 2**31 - 1, 2**31, 3 * 2**30 - 1, 3 * 2**30, 2**32 - 2, 2**32 - 1]
SAMPLES = [
    (0,) * 6,
    (8, 0x7E020000, 0, 0, 0, 0),
    (38,) * 6,
    (39,) * 6,
    (2**40 + 1, 2**32 - 1, 0, 0, 0, 2**64 - 1),
]


class Machine:
    """A machine of one architecture with one compiled profile."""

    def __init__(self, seccomp: dict[str, Any], machine: str = "x86_64") -> None:
        self.order = ">" if machine == "s390x" else "<"
        self.program = decode(compile_filter(seccomp, machine), self.order)

    def __call__(self, number: int, architecture: str, *args: int) -> int:
        return self.steps(number, architecture, *args)[0]

    def steps(self, number: int, architecture: str, *args: int) -> tuple[int, int]:
        audit = (AUDIT | {"SCMP_ARCH_S390X": 0x80000016, "SCMP_ARCH_S390": 0x16})[architecture]
        return run(self.program, seccomp_data(number, audit, args, self.order), self.order)

    def named(self, name: str, *args: int, architecture: str = "SCMP_ARCH_X86_64") -> int:
        number = table(table_name(architecture))[name].number
        assert number is not None
        return self(number, architecture, *args)


def numbers_that_look_at_arguments(seccomp: dict[str, Any], architecture: str) -> set[int | None]:
    calls = table(table_name(architecture))
    names = {name for each in seccomp["syscalls"] if each.get("args") for name in each["names"]}
    return {calls[name].number for name in names | {"socketcall", "ipc"} if name in calls}


def numbers_of_interest(architecture: str) -> list[int]:
    base = 2**30 if architecture == "SCMP_ARCH_X32" else 0
    return [*range(base, base + 600), *EDGES]


@pytest.mark.parametrize(
    ("machine", "architectures"),
    [
        ("x86_64", ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]),
        ("aarch64", ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        ("riscv64", ["SCMP_ARCH_RISCV64"]),
        ("s390x", ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"]),
        ("ppc64le", ["SCMP_ARCH_PPC64LE"]),
    ],
)
@pytest.mark.parametrize(
    "capabilities", [DOCKER_CAPABILITIES, ["CAP_SYS_ADMIN", "CAP_BPF"]], ids=["docker", "admin"]
)
def test_dockers_profile_means_what_it_says_for_every_number(
    machine: str, architectures: list[str], capabilities: list[str]
) -> None:
    seccomp = docker(machine, capabilities)
    compiled, naive = Machine(seccomp, machine), Naive(seccomp, architectures[0])
    for architecture in architectures:
        looking = numbers_that_look_at_arguments(seccomp, architecture)
        for number in numbers_of_interest(architecture):
            for sample in SAMPLES if number in looking else SAMPLES[:1]:
                expected, found = naive(number, architecture, sample), compiled(number, architecture, *sample)
                assert found == expected, f"{architecture} {number} {sample}: {found:#x}, not {expected:#x}"


@given(any_profile, st.lists(st.tuples(st.sampled_from(NAMES), arguments), max_size=20))
def test_any_profile_means_what_it_says(
    seccomp: dict[str, Any], calls: list[tuple[str, tuple[int, ...]]]
) -> None:
    compiled, naive = Machine(seccomp), Naive(seccomp)
    for architecture in X86:
        known = table(table_name(architecture))
        for name, args in calls:
            entry = known.get(name)
            number = EDGES[len(name) % len(EDGES)] if entry is None or entry.number is None else entry.number
            assert compiled(number, architecture, *args) == naive(number, architecture, args)


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("value", VALUES)
def test_a_comparison_uses_all_64_bits_on_64_bit_machines_and_32_on_others(op: str, value: int) -> None:
    two = VALUES[VALUES.index(value) - 1]
    seccomp = profile(
        "LOG",
        group("ALLOW", "ioctl", args=[condition(3, op.removeprefix("SCMP_CMP_"), value, two)]),
        architectures=X86,
    )
    compiled, naive = Machine(seccomp), Naive(seccomp)
    for architecture in X86:
        number = table(table_name(architecture))["ioctl"].number
        assert number is not None
        for near in VALUES:
            for argument in (max(near - 1, 0), near, min(near + 1, 2**64 - 1)):
                args = (9, 9, 9, argument, 9, 9)
                assert compiled(number, architecture, *args) == naive(number, architecture, args)


@pytest.mark.parametrize(
    ("action", "more", "expected"),
    [
        ("KILL", {}, 0),
        ("KILL_THREAD", {}, 0),
        ("KILL_PROCESS", {}, 0x80000000),
        ("TRAP", {}, 0x00030000),
        ("ERRNO", {}, 0x00050001),
        ("ERRNO", {"errnoRet": 0}, 0x00050000),
        ("ERRNO", {"errnoRet": 4095}, 0x00050FFF),
        ("TRACE", {}, 0x7FF00001),
        ("TRACE", {"errnoRet": 0xFFFF}, 0x7FF0FFFF),
        ("LOG", {}, 0x7FFC0000),
        ("NOTIFY", {}, 0x7FC00000),
        ("ALLOW", {}, 0x7FFF0000),
    ],
)
def test_an_action_becomes_the_kernels_value(action: str, more: dict[str, int], expected: int) -> None:
    default = "LOG" if action == "ALLOW" else "ALLOW"
    assert Machine(profile(default, group(action, "getpid", **more))).named("getpid") == expected


def test_the_first_rule_without_conditions_decides_alone() -> None:
    only_seven = [condition(0, "EQ", 7)]
    compiled = Machine(
        profile(
            "KILL", group("TRAP", "getpid", args=only_seven), group("ALLOW", "getpid"), group("LOG", "getpid")
        )
    )
    assert compiled.named("getpid", 7) == ALLOW


def test_a_rule_that_asks_for_the_default_action_is_as_if_it_were_not_there() -> None:
    two = [group("ERRNO", "dup3", args=[condition(0, "EQ", 1)]), group("ERRNO", "getpid")]
    compiled = Machine(
        profile("ERRNO", *two, group("ALLOW", "dup3", args=[condition(1, "EQ", 2)]), group("ALLOW", "getpid"))
    )
    assert compiled.named("dup3", 1, 2) == ALLOW
    assert compiled.named("getpid") == ALLOW


def test_rules_for_the_same_call_are_alternatives() -> None:
    rules = [group("ALLOW", "personality", args=[condition(0, "EQ", value)]) for value in (0, 8)]
    compiled = Machine(profile("ERRNO", *rules))
    assert [compiled.named("personality", value) for value in (0, 4, 8)] == [ALLOW, EPERM, ALLOW]


def test_conditions_on_the_same_argument_are_alternatives_too() -> None:
    both = [condition(0, "EQ", 1), condition(0, "EQ", 2)]
    compiled = Machine(profile("ERRNO", group("ALLOW", "personality", args=both)))
    assert [compiled.named("personality", value) for value in (1, 2, 3)] == [ALLOW, ALLOW, EPERM]


def test_conditions_on_different_arguments_must_all_hold() -> None:
    both = [condition(0, "EQ", 1), condition(1, "EQ", 2)]
    compiled = Machine(profile("ERRNO", group("ALLOW", "dup3", args=both)))
    assert [compiled.named("dup3", *pair) for pair in ((1, 2), (1, 3), (2, 2))] == [ALLOW, EPERM, EPERM]


def test_a_call_newer_than_the_profile_gets_enosys_where_the_default_forbids() -> None:
    known = group("ALLOW", "read", "openat2")
    assert Machine(profile("ERRNO", known)).named("faccessat2") == ENOSYS
    assert Machine(profile("ERRNO", known)).named("clone3") == EPERM
    assert Machine(profile("KILL", known)).named("faccessat2") == ENOSYS
    assert Machine(profile("LOG", known)).named("faccessat2") == ACTIONS["SCMP_ACT_LOG"]


def test_an_architecture_that_the_profile_does_not_name_is_killed() -> None:
    compiled = Machine(profile("ALLOW", group("ERRNO", "read")))
    assert compiled(3, "SCMP_ARCH_X86") == 0
    assert compiled(2**30, "SCMP_ARCH_X86_64") == 0
    assert compiled(2**32 - 1, "SCMP_ARCH_X86_64") == ALLOW, "a call that a tracer cancelled"


def test_i386_sockets_are_reached_both_ways() -> None:
    compiled = Machine(profile("ERRNO", group("ALLOW", "socket", "statx"), architectures=X86))
    assert compiled.named("socket", architecture="SCMP_ARCH_X86") == ALLOW
    assert compiled.named("socketcall", 1, architecture="SCMP_ARCH_X86") == ALLOW
    assert compiled.named("socketcall", 2, architecture="SCMP_ARCH_X86") == EPERM


def test_other_conditions_hold_through_a_multiplexer_too() -> None:
    args = [condition(0, "EQ", 2), condition(2, "EQ", 7)]
    compiled = Machine(
        profile("ERRNO", group("ALLOW", "socket", args=args), group("ALLOW", "statx"), architectures=X86)
    )
    asked = [(1, 9, 7), (1, 9, 8), (2, 9, 7)]
    found = [compiled.named("socketcall", *each, architecture="SCMP_ARCH_X86") for each in asked]
    assert found == [ALLOW, EPERM, EPERM], (
        "the call's own first argument lies in memory, where no filter looks"
    )


def test_dockers_profile_blocks_what_it_is_known_for() -> None:
    compiled = Machine(docker())
    families = {"unix": 1, "inet": 2, "packet": 17, "alg": 38, "nfc": 39, "vsock": 40, "kcm": 41}
    verdicts = {name: compiled.named("socket", family) for name, family in families.items()}
    assert [name for name, verdict in verdicts.items() if verdict != ALLOW] == ["alg", "vsock"]
    assert verdicts["alg"] == verdicts["vsock"] == EPERM
    assert compiled.named("clone3") == ENOSYS
    assert compiled.named("clone", 0x10000000) == EPERM, "CLONE_NEWUSER"
    assert compiled.named("clone", 0x00010F00) == ALLOW, "a thread"
    for name in (
        "mount",
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "kexec_load",
        "open_by_handle_at",
        "pivot_root",
    ):
        assert compiled.named(name) == EPERM, name


def test_a_verdict_takes_few_instructions() -> None:
    compiled = Machine(docker())
    assert len(compiled.program) <= 400
    assert max(compiled.steps(number, "SCMP_ARCH_X86_64")[1] for number in range(500)) <= 25


def test_far_jumps_are_bridged() -> None:
    many = [group("ALLOW", "ioctl", args=[condition(1, "EQ", 2**33 + value)]) for value in range(150)]
    others = [
        group("TRAP", name) for name in ("read", "close", "mmap", "writev", "getpid", "openat", "statx")
    ]
    compiled = Machine(profile("ERRNO", *others, *many, architectures=X86))
    assert len(compiled.program) > 600
    for name in ("read", "close", "mmap", "writev", "getpid", "openat", "statx"):
        assert compiled.named(name) == ACTIONS["SCMP_ACT_TRAP"]
    assert [compiled.named("ioctl", 0, 2**33 + value) for value in (0, 149, 150)] == [ALLOW, ALLOW, EPERM]
    assert compiled.named("read", architecture="SCMP_ARCH_X86") == ACTIONS["SCMP_ACT_TRAP"]


def test_a_program_that_is_too_long_is_refused() -> None:
    many = [group("ALLOW", "ioctl", args=[condition(1, "EQ", value)]) for value in range(2000)]
    with pytest.raises(Unsupported, match="4096"):
        compile_filter(profile("ERRNO", *many), "x86_64")


@pytest.mark.parametrize(
    ("seccomp", "path"),
    [
        (profile("NOTIFY"), "linux.seccomp.defaultAction"),
        (profile("ALLOW", group("NOTIFY", "read", "write")), r"linux.seccomp.syscalls\[0\].names"),
        (
            profile("ALLOW", group("LOG", "read"), group("KILL", "read", errnoRet=1)),
            r"syscalls\[1\].errnoRet",
        ),
        (profile("ALLOW", group("ERRNO", "read", errnoRet=4096)), r"syscalls\[0\].errnoRet"),
        (profile("ALLOW", defaultErrnoRet=1), "linux.seccomp.defaultErrnoRet"),
        (profile("ALLOW", architectures=["x86"]), r"linux.seccomp.architectures\[0\]"),
    ],
)
def test_what_the_specification_forbids_is_an_error_that_names_the_field(
    seccomp: dict[str, Any], path: str
) -> None:
    with pytest.raises(SpecError, match=path):
        compile_filter(seccomp, "x86_64")


@pytest.mark.parametrize("architecture", ["SCMP_ARCH_MIPS64", "SCMP_ARCH_S390X"])
def test_an_architecture_without_a_table_or_of_the_other_byte_order_is_refused(architecture: str) -> None:
    with pytest.raises(Unsupported, match=architecture):
        compile_filter(profile("ALLOW", architectures=[architecture]), "x86_64")


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(Unsupported, match="m68k"):
        compile_filter(profile("ALLOW"), "m68k")
