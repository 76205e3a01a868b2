"""The flags of seccomp(2) that a profile asks for."""

from __future__ import annotations

import pytest

from minicontainer.errors import SpecError
from minicontainer.linux.seccomp_flags import filter_flags, has_listener
from tests.linux.seccomp_profiles import group, profile

LISTENING = group("NOTIFY", "mkdir")


@pytest.mark.parametrize(
    ("names", "flags"),
    [(None, 4), ([], 0), (["TSYNC"], 1), (["LOG", "SPEC_ALLOW"], 6), (["WAIT_KILLABLE_RECV"], 0)],
)
def test_flags_are_those_of_the_profile(names: list[str] | None, flags: int) -> None:
    wanted = None if names is None else [f"SECCOMP_FILTER_FLAG_{name}" for name in names]
    assert filter_flags(profile("ALLOW", flags=wanted)) == flags
    assert not has_listener(profile("ALLOW"))


@pytest.mark.parametrize(
    ("names", "flags"), [([], 8), (["TSYNC"], 8 | 1 | 16), (["WAIT_KILLABLE_RECV"], 8 | 32)]
)
def test_a_rule_that_notifies_asks_for_a_listener(names: list[str], flags: int) -> None:
    seccomp = profile("ALLOW", LISTENING, flags=[f"SECCOMP_FILTER_FLAG_{name}" for name in names])
    assert has_listener(seccomp)
    assert filter_flags(seccomp) == flags


def test_an_unknown_flag_is_an_error_that_names_it() -> None:
    with pytest.raises(SpecError, match=r"linux.seccomp.flags\[1\]: SECCOMP_FILTER_FLAG_NEW"):
        filter_flags(profile("ALLOW", flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_NEW"]))
