"""The words of `requires`, and what the test suite does with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import needs

pytest_plugins = ["pytester"]
CHECKOUT = Path(__file__).parent.parent
CONFIGURATION = """
import sys
sys.path.insert(0, {checkout!r})
from tests.conftest import *
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Give a small test suite of its own that uses our conftest."""
    monkeypatch.delenv("MINICONTAINER_TEST_STRICT", raising=False)
    pytester.makeconftest(CONFIGURATION.format(checkout=str(CHECKOUT)))
    pytester.makeini("[pytest]\nmarkers = requires(*needs): see tests/needs.py\naddopts = --strict-markers\n")
    return pytester


def test_an_unknown_word_is_an_error_and_names_the_known_ones() -> None:
    with pytest.raises(needs.UnknownNeedError, match=r"rooot.*cgroup2.*controller:\.\.\."):
        needs.met("rooot")


@pytest.mark.parametrize("word", ["root:", "tool", "tool:", "controller", ":strace", "", "controler:memory"])
def test_a_word_with_the_wrong_form_is_an_error(word: str) -> None:
    with pytest.raises(needs.UnknownNeedError):
        needs.met(word)


def test_every_plain_word_is_answered_yes_or_no() -> None:
    assert {type(needs.met(word)) for word in needs.PLAIN} == {bool}


def test_values_are_compared_with_the_machine() -> None:
    assert needs.met("kernel:2.6")
    assert needs.unmet("kernel:99.0")
    assert needs.met("tool:sh")
    assert needs.unmet("tool:no-such-tool")
    assert needs.met("filesystem:proc")
    assert needs.unmet("controller:no-such-controller")
    assert needs.unmet("peer:no-such-peer")
    assert needs.unmet("import:no_such_module")
    assert needs.unmet("lsm:no-such-module")
    assert needs.unmet("arch:vax")


def test_a_test_can_be_about_some_runtimes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINICONTAINER_RUNTIME", raising=False)
    assert needs.is_runtime("ours")
    assert not needs.is_runtime("runc|crun")
    monkeypatch.setenv("MINICONTAINER_RUNTIME", "/usr/bin/crun")
    assert needs.is_runtime("ours|crun")
    assert not needs.is_runtime("ours|runc")
    with pytest.raises(needs.UnknownNeedError, match="crun, ours, runc"):
        needs.is_runtime("ours|podman")


def test_capabilities_are_read_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    only_the_last = f"CapEff:\t{1 << 40:016x}\n"
    monkeypatch.setattr(Path, "read_text", lambda _: only_the_last)
    assert needs.has_capability("checkpoint_restore")
    assert not needs.has_capability("CAP_SYS_ADMIN")


def test_an_unknown_word_stops_the_whole_run(suite: pytest.Pytester) -> None:
    suite.makepyfile("import pytest\n@pytest.mark.requires('rooot')\ndef test_it(): pass")
    result = suite.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it: no such requirement: 'rooot'*"])


LIMITED = """
import pytest
@pytest.mark.requires("controller:no-such-controller")
def test_memory_is_limited(): assert False
@pytest.mark.requires("tool:sh")
def test_shell(): pass
@pytest.mark.requires("tool:no-such-tool")
def test_other(): assert False
"""


def test_limits_that_were_skipped_are_listed_by_name(suite: pytest.Pytester) -> None:
    suite.makepyfile(LIMITED)
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(
        ["*limits to be proven in a VM*", "*test_memory_is_limited: controller:no-such-controller"]
    )
    result.stdout.no_fnmatch_line("*test_other: *")


def test_in_strict_mode_every_skip_is_a_failure(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makepyfile(
        LIMITED,
        test_by_hand="import pytest\ndef test_it(): pytest.skip('by hand')",
        test_module="import pytest\npytest.skip('all', allow_module_level=True)",
        test_expected="import pytest\n@pytest.mark.xfail\ndef test_it(): assert False",
    )
    suite.runpytest_subprocess("--ignore=test_module.py").assert_outcomes(passed=1, skipped=3, xfailed=1)
    monkeypatch.setenv("MINICONTAINER_TEST_STRICT", "1")
    suite.runpytest_subprocess("--ignore=test_module.py").assert_outcomes(
        passed=1, failed=1, errors=2, xfailed=1
    )
    suite.runpytest_subprocess("test_module.py").assert_outcomes(errors=1)


def test_strict_mode_lets_a_peer_skip_what_is_about_ours(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makepyfile("import pytest\n@pytest.mark.requires('runtime:ours')\ndef test_it(): assert False")
    monkeypatch.setenv("MINICONTAINER_TEST_STRICT", "1")
    monkeypatch.setenv("MINICONTAINER_RUNTIME", "/usr/bin/crun")
    suite.runpytest_subprocess().assert_outcomes(skipped=1)
    monkeypatch.delenv("MINICONTAINER_RUNTIME")
    suite.runpytest_subprocess().assert_outcomes(failed=1)


def test_rounds_are_few_unless_asked_for(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_it(rounds): assert rounds(2, 7) == EXPECTED")
    source = (suite.path / "test_rounds_are_few_unless_asked_for.py").read_text()
    for option, expected in (("small", 2), ("full", 7), ("5", 5)):
        suite.makepyfile(source.replace("EXPECTED", str(expected)))
        suite.runpytest_subprocess(f"--rounds={option}").assert_outcomes(passed=1)
