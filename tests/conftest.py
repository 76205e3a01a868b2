"""What every test of the house has: the words of `requires`, a strict mode, the promise to leave no trace.

`MINICONTAINER_TEST_STRICT=1` turns every skip into a failure; it is set where everything must exist.
`--guest` chooses the tests that are run in a virtual machine: tests/guests.py.
`--rounds` says how often a test repeats what goes wrong only now and then: a few times by default, in full
for `make soak`.
See tests/needs.py (the vocabulary) and tests/leftovers.py (what counts as a trace).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

# Whatever the tests share asserts as readably as they do; it must be said before the first import.
HERE = Path(__file__).parent
pytest.register_assert_rewrite(*(f"tests.{entry.name}" for entry in HERE.iterdir() if entry.is_dir()))

from tests import guests, leftovers, needs  # noqa: E402

STRICT = "MINICONTAINER_TEST_STRICT"

hypothesis.settings.register_profile("small", deadline=None, database=None, max_examples=50)
hypothesis.settings.register_profile("full", deadline=None, database=None, max_examples=2000)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that all repeating tests share, and the one that chooses the tests for a guest."""
    parser.addoption("--rounds", default="small", help="how often to repeat: small, full or a number")
    parser.addoption("--guest", help="only the tests for a guest: plain, plain:0/2 (the first half), systemd")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the number of examples, and take in the orphans of what the tests start."""
    hypothesis.settings.load_profile("full" if config.getoption("--rounds") == "full" else "small")
    leftovers.become_subreaper()
    # A shell without job control starts `make test &` deaf to both, and containers would inherit that.
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def rounds(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """Say how often to repeat: `rounds(20, 2000)` is 20, in `make soak` 2000, and N with `--rounds=N`."""
    wanted = pytestconfig.getoption("--rounds")
    return lambda small, full: {"small": small, "full": full}.get(wanted) or int(wanted)


# --- requires(...) -----------------------------------------------------------------------------


def needs_of(item: pytest.Item) -> list[str]:
    """Give all words of a test, its class's and its module's included."""
    return [need for mark in item.iter_markers("requires") for need in mark.args]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a word that is not in the vocabulary before any test has run; choose the tests for a guest."""
    for item in items:
        for need in needs_of(item):
            try:
                needs.met(need)
            except needs.UnknownNeedError as problem:
                raise pytest.UsageError(f"{item.nodeid}: {problem}") from problem
    guests.refuse_wrong_marks(items)
    config.stash[guests.MARKED] = [item.nodeid for item in items if guests.guest_of(item)]
    if config.getoption("--guest"):
        items[:], others = guests.split(items, guests.read_part(config.getoption("--guest")))
        config.hook.pytest_deselected(items=others)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write down beside the junit file what a guest is to run, and what all guests are."""
    if session.config.getoption("--guest") and session.config.option.xmlpath:
        folder = Path(session.config.option.xmlpath).parent
        chosen = [item.nodeid for item in session.items]
        for name, tests in (("chosen", chosen), ("marked", session.config.stash[guests.MARKED])):
            (folder / name).write_text("".join(f"{test}\n" for test in tests))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs what the machine has not."""
    missing = [need for need in needs_of(item) if needs.unmet(need)]
    if missing:
        pytest.skip(f"requires {', '.join(missing)}")


def is_for_another_runtime(item: pytest.Item) -> bool:
    """Say whether no machine could run the test with the runtime that it is asked to test."""
    return any(need.startswith("runtime:") and needs.unmet(need) for need in needs_of(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the limits that could not be tried, and in strict mode make a failure of every skip.

    But for the tests that are not about the runtime under test, when that is a peer.
    """
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.user_properties.append(("limits", [n for n in needs_of(item) if n.startswith("controller:")]))
        if not is_for_another_runtime(item):
            fail_if_strict(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In strict mode make a failure of a module that skips itself."""
    report = yield
    if report.skipped:
        fail_if_strict(report)
    return report


def fail_if_strict(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure where MINICONTAINER_TEST_STRICT is set."""
    if os.environ.get(STRICT):
        report.outcome = "failed"
        report.longrepr = f"skipped, and {STRICT} allows no skip: {report.longrepr}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the limits that this machine cannot show, so that nobody takes them for proven."""
    skipped = terminalreporter.stats.get("skipped", [])
    limits = [(r.nodeid, found) for r in skipped if (found := dict(r.user_properties).get("limits"))]
    if limits:
        terminalreporter.section("limits to be proven in a VM")
        for nodeid, found in limits:
            terminalreporter.line(f"{nodeid}: {', '.join(found)}")


# --- leaves no trace ---------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def leaves_no_trace(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that needs root and does not put the machine back."""
    if "root" in needs_of(request.node) and not needs.unmet("root"):
        with leftovers.no_trace():
            yield
    else:
        yield


@pytest.fixture(autouse=True, scope="module")
def module_leaves_no_trace(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold the fixtures that a module's tests share to the same promise."""
    items = [item for item in request.session.items if item.path == request.path]
    if any("root" in needs_of(item) for item in items) and not needs.unmet("root"):
        with leftovers.no_trace():
            yield
    else:
        yield
