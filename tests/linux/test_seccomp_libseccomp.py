"""The seccomp compiler against libseccomp: the filter that runc would load gives the same verdicts.

libseccomp 2.5 and 2.6 misjudge some odd profiles (several ordered comparisons of one argument; a small one
that begins with a multiplexed call), where their filter compares a value that it has not loaded. Made-up
profiles are therefore kept to what it gets right: one rule for each call, or rules that ask for equality.
What the rest means is the matter of test_seccomp_compiler.

See libseccomp.py for the peer, seccomp_rule_add(3).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.linux.seccomp_compiler import compile_filter
from minicontainer.linux.syscalls import table
from tests.linux.classic_bpf import decode, run, seccomp_data
from tests.linux.libseccomp import AUDIT, TOKENS, Oracle, name_of, number_of
from tests.linux.naive_seccomp import table_name
from tests.linux.seccomp_profiles import (
    ACTIONS,
    COMPARISONS,
    DIRECT,
    DOCKER_CAPABILITIES,
    X86,
    arguments,
    conditions,
    docker,
    profiles,
)

pytestmark = pytest.mark.requires("arch:x86_64")

NEWER_THAN_2_5_4 = {
    *(
        "file_getattr",
        "file_setattr",
        "getxattrat",
        "listmount",
        "listns",
        "listxattrat",
        "lsm_get_self_attr",
    ),
    *(
        "lsm_list_modules",
        "lsm_set_self_attr",
        "map_shadow_stack",
        "mseal",
        "open_tree_attr",
        "removexattrat",
    ),
    *("riscv_hwprobe", "rseq_slice_yield", "setxattrat", "statmount", "uprobe", "uretprobe"),
}
"""What the libseccomp of Debian 12 does not know, or not on all architectures."""
NUMBERS = [*range(520), *range(2**30 - 2, 2**30 + 600), 2**31 - 1, 2**31, 3 * 2**30 - 1, 3 * 2**30, 2**32 - 1]
SAMPLES = [
    (0,) * 6,
    (8,) * 6,
    (38, 1, 2, 0, 0, 0),
    (0x7E020000, 2**40, 0, 0, 0, 0),
    (2**40 + 8, 0, 0, 0, 0, 0),
]


def is_known(name: str, architecture: str) -> bool:
    """Say whether the library gives a name the number that our table gives it."""
    entry = table(table_name(architecture)).get(name)
    number = number_of(name, architecture)
    return number < 0 if entry is None else number in (entry.number, stand_in(entry.multiplexer, entry.call))


def stand_in(multiplexer: str, call: int) -> int | None:
    """Give libseccomp's stand-in for the number of a multiplexed call."""
    return {"socketcall": -100 - call, "ipc": -200 - call}.get(multiplexer)


def without_unknown_names(seccomp: dict[str, Any]) -> dict[str, Any]:
    """Leave out the names that this libseccomp does not know; only those listed above may be missing."""
    names = {name for group in seccomp["syscalls"] for name in group["names"]}
    unknown = {name for name in names if not all(is_known(name, architecture) for architecture in X86)}
    assert unknown <= NEWER_THAN_2_5_4
    groups = [
        {**each, "names": [n for n in each["names"] if n not in unknown]} for each in seccomp["syscalls"]
    ]
    return {**seccomp, "syscalls": groups}


def assert_same(seccomp: dict[str, Any], calls: list[tuple[int, str, tuple[int, ...]]]) -> None:
    program, oracle = decode(compile_filter(seccomp, "x86_64")), Oracle(seccomp)
    for number, architecture, args in calls:
        found, _ = run(program, seccomp_data(number, AUDIT[architecture], args))
        expected = oracle(number, architecture, args)
        assert found == expected, f"{architecture} {number} {args}: {found:#x}, libseccomp {expected:#x}"


@pytest.mark.parametrize("architectures", [X86, X86[:1], X86[:2], [X86[0], X86[2]]], ids=len)
@pytest.mark.parametrize(
    "capabilities", [DOCKER_CAPABILITIES, ["CAP_SYS_ADMIN", "CAP_SYSLOG"]], ids=["docker", "admin"]
)
def test_dockers_profile_gets_the_verdicts_of_libseccomp(
    architectures: list[str], capabilities: list[str]
) -> None:
    seccomp = without_unknown_names(docker("x86_64", capabilities)) | {"architectures": architectures}
    known = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"]
    assert_same(seccomp, [(number, arch, args) for arch in known for number in NUMBERS for args in SAMPLES])


def test_the_filter_is_at_most_a_third_of_what_libseccomp_makes() -> None:
    seccomp = without_unknown_names(docker())
    assert 3 * len(compile_filter(seccomp, "x86_64")) <= 8 * len(Oracle(seccomp))


def calls_of(names: list[str], args: list[tuple[int, ...]]) -> list[tuple[int, str, tuple[int, ...]]]:
    return [
        (table(table_name(architecture))[name].number or 0, architecture, each)
        for architecture in X86
        for name in names
        for each in args
    ]


def one_group(indexes: list[int], comparisons: list[str], names: st.SearchStrategy[list[str]]) -> Any:
    return st.fixed_dictionaries(
        {"names": names, "action": st.sampled_from(ACTIONS), "args": conditions(indexes, comparisons)}
    )


each_call_once = st.lists(
    one_group([0, 1, 5], COMPARISONS, st.sampled_from(DIRECT).map(lambda name: [name])),
    max_size=6,
    unique_by=lambda group: group["names"][0],
).map(
    lambda groups: [{**each, "args": list({c["index"]: c for c in each["args"]}.values())} for each in groups]
)

asking_for_equality = st.lists(
    one_group([0, 0, 1], ["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"], st.just(["personality"])),
    min_size=1,
    max_size=5,
).map(lambda groups: [{**each, "action": groups[0]["action"]} for each in groups])


@given(profiles(each_call_once), st.lists(arguments, min_size=1, max_size=10))
def test_one_rule_for_each_call_gets_the_verdicts_of_libseccomp(
    seccomp: dict[str, Any], args: list[tuple[int, ...]]
) -> None:
    assert_same(seccomp, calls_of(DIRECT, args))


@given(profiles(asking_for_equality), st.lists(arguments, min_size=1, max_size=10))
def test_alternatives_get_the_verdicts_of_libseccomp(
    seccomp: dict[str, Any], args: list[tuple[int, ...]]
) -> None:
    asked = [tuple(each["value"] for each in group["args"]) for group in seccomp["syscalls"]]
    likely = [(*values, 0, 0, 0, 0, 0, 0)[:6] for values in asked]
    assert_same(seccomp, calls_of(["personality", "read"], args + likely))


@pytest.mark.parametrize("architecture", sorted(TOKENS))
def test_the_table_holds_what_the_library_knows(architecture: str) -> None:
    calls = table(table_name(architecture))
    base = 2**30 if architecture == "SCMP_ARCH_X32" else 0
    known = {number: name for number in range(base, base + 600) if (name := name_of(number, architecture))}
    wrong = {name: number for number, name in known.items() if calls[name].number != number}
    assert not wrong
    assert len(known) > 300
    assert {name for name in calls if not is_known(name, architecture)} <= NEWER_THAN_2_5_4
