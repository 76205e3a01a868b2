"""The command line as runc reads it: where options may stand, and what a wrong one is told.

Implements: runc(8); runc's options are those of Go's flag package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from minicontainer.errors import Error
from minicontainer.runtime.caller import preserved
from minicontainer.runtime.options import parse
from tests.runtime.checks import accepts, refuses

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime


@pytest.mark.requires("root", "cgroup2")
def test_options_may_follow_the_id(runtime: Runtime, bundle: MakeBundle, workspace: Path) -> None:
    made = bundle().args("sleep", "1000")
    made.save()
    accepts(runtime.create(made))
    file = workspace / "resources.json"
    file.write_text("{}")
    accepts(runtime.start(made.id))
    for words in (
        ("update", made.id, "--resources", str(file)),
        ("kill", made.id, "WINCH", "--all"),
        ("delete", made.id, "--force"),
    ):
        assert (runtime.call(*words).returncode == 0) != runtime.deviates("options-first")
    gone = runtime.call("state", made.id).returncode != 0
    assert gone != runtime.deviates("options-first")


@pytest.mark.requires("root", "cgroup2")
def test_what_follows_the_id_of_exec_is_the_programs(runtime: Runtime, bundle: MakeBundle) -> None:
    done = runtime.exec(runtime.sleeping(bundle()), "echo", "--tty", "-d", "--", "x")
    accepts(done)
    assert done.stdout == "--tty -d -- x\n"


@pytest.mark.requires("root", "cgroup2")
def test_a_log_format_that_nobody_knows_is_refused(runtime: Runtime) -> None:
    refuses(runtime, runtime.call("--log-format", "yaml", "list"), "invalid log-format")


@pytest.mark.requires("root", "cgroup2")
def test_a_socket_whose_path_is_too_long_is_named_as_the_problem(
    runtime: Runtime, bundle: MakeBundle, workspace: Path
) -> None:
    path = workspace / ("x" * 120)
    done = runtime.create(bundle(), None, "--pidfd-socket", str(path))
    assert done.returncode != 0
    assert "success" not in done.stderr.lower()


@pytest.mark.parametrize(
    ("words", "operands", "option"),
    [
        (["kill", "web", "KILL", "--all"], ["web", "KILL"], ("all", True)),
        (["kill", "-a", "web"], ["web"], ("all", True)),
        (["kill", "web", "-1"], ["web", "-1"], ("all", False)),
        (["create", "web", "-b", "/b"], ["web"], ("bundle", "/b")),
        (["events", "web", "--interval=1s", "--stats"], ["web"], ("interval", "1s")),
        (["update", "-r", "-", "web"], ["web"], ("resources", "-")),
        (["exec", "web", "ls", "--tty"], ["web", "ls", "--tty"], ("tty", False)),
        (["ps", "web", "-f", "x"], ["web", "-f", "x"], ("format", "table")),
    ],
)
def test_options_and_words_are_told_apart(
    words: list[str], operands: list[str], option: tuple[str, object]
) -> None:
    line = parse(words)
    assert line.operands == operands
    assert line.options[option[0]] == option[1]


def test_after_two_dashes_there_are_no_options() -> None:
    with pytest.raises(Error, match="2 given"):
        parse(["delete", "--", "web", "--force"])


@pytest.mark.parametrize("count", ["²", "-1", "1.0", "", "x"])
def test_a_number_of_descriptors_has_only_digits(count: str) -> None:
    with pytest.raises(Error, match="is not a number"):
        preserved(count)
