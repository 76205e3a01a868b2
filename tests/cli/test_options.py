"""The two parsers of the command line: what the quick one understands, click understands the same way."""

from __future__ import annotations

from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.cli import options
from minicontainer.cli.help import answer, build
from minicontainer.cli.main import main

RUN = options.COMMANDS["run"]
words = st.text("abAB=/-1 ", min_size=0, max_size=6)


@st.composite
def spelled(draw: st.DrawFn, option: options.Option) -> list[str]:
    """Write an option in one of the ways in which it can be written."""
    word = draw(st.sampled_from(option.words))
    if option.kind == options.FLAG:
        return [word]
    value = draw(words)
    if word.startswith("--"):
        return draw(st.sampled_from([[word, value], [f"{word}={value}"]]))
    return [word + value] if value and draw(st.booleans()) else [word, value]


lines = st.builds(
    lambda given, end, rest: [word for one in given for word in one] + end + rest,
    st.lists(st.sampled_from(RUN.options).flatmap(spelled), max_size=4),
    st.sampled_from([[], ["--"]]),
    st.lists(words, max_size=3),
)


def by_click(line: list[str]) -> dict[str, Any]:
    context = build().commands["run"].make_context("run", line[:], resilient_parsing=False)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in context.params.items()}


@given(lines)
def test_what_the_quick_parser_reads_click_reads_the_same_way(line: list[str]) -> None:
    try:
        quick = options.parse(RUN, line)
    except options.NotUnderstood:
        return
    assert by_click(line) == quick


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["busybox"], {"image": "busybox", "command": []}),
        (
            ["-it", "busybox", "sh", "-c", "ls -l"],
            {"tty": True, "interactive": True, "command": ["sh", "-c", "ls -l"]},
        ),
        (["-e", "A=1", "--env=B", "-eC=3", "busybox"], {"env": ["A=1", "B", "C=3"]}),
        (["--rootfs", "/x", "--", "-l"], {"rootfs": "/x", "image": "-l"}),
        (["-itu", "5", "busybox"], {"user": "5", "interactive": True}),
        (["busybox", "--explain"], {"explain": False, "command": ["--explain"]}),
        (
            ["-m64m", "--memory-swap", "-1", "--cpus=1.5", "busybox"],
            {"memory": "64m", "memory_swap": "-1", "cpus": "1.5"},
        ),
        (
            ["-m", "64m", "-c", "512", "--cpuset-cpus", "0-1", "--pids-limit=-1", "busybox", "-m", "1"],
            {
                "memory": "64m",
                "cpu_shares": "512",
                "cpuset_cpus": "0-1",
                "pids_limit": "-1",
                "command": ["-m", "1"],
            },
        ),
        (["-tim", "8m", "busybox"], {"tty": True, "interactive": True, "memory": "8m"}),
    ],
)
def test_a_line_is_read(line: list[str], expected: dict[str, Any]) -> None:
    quick = options.parse(RUN, line)
    assert {key: quick[key] for key in expected} == expected
    assert by_click(line) == quick


@pytest.mark.parametrize("line", [["--foo"], ["--help"], ["--tty=yes"], ["-e"], ["--user"], ["-x"], ["-tx"]])
def test_what_is_not_understood_is_left_to_click(line: list[str]) -> None:
    with pytest.raises(options.NotUnderstood):
        options.parse(RUN, line)


def test_a_command_takes_no_more_words_than_it_names() -> None:
    with pytest.raises(options.NotUnderstood):
        options.parse(options.COMMANDS["version"], ["more"])
    with pytest.raises(options.NotUnderstood):
        options.parse(options.COMMANDS["explain"], [])


@pytest.mark.parametrize(
    ("line", "name"), [(["run", "x"], "run"), (["system", "reset"], "system reset"), (["version"], "version")]
)
def test_a_command_of_one_or_two_words_is_found(line: list[str], name: str) -> None:
    assert options.find(line)[0] == name


@pytest.mark.parametrize("line", [[], ["system"], ["nothing"], ["--help"]])
def test_what_is_no_command_is_left_to_click(line: list[str]) -> None:
    with pytest.raises(options.NotUnderstood):
        options.find(line)


def test_every_command_has_a_function_that_can_be_loaded() -> None:
    for command in options.COMMANDS.values():
        assert callable(options.load(command))


def test_help_names_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name.split()[0] in shown for name in options.COMMANDS)
    assert answer(["run", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(
        option.words[-1] in shown and option.about.split()[0] in shown for option in options.RUN_OPTIONS
    )


@pytest.mark.parametrize(
    ("line", "code"), [(["run", "--foo"], 125), (["nothing"], 1), (["version", "more"], 1)]
)
def test_a_mistake_is_one_message_and_dockers_exit_code(
    line: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Error: No such" in shown.err or "Error: Got unexpected" in shown.err


def test_completion_is_clicks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COMP_WORDS", "minicontainer run --exp")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MINICONTAINER_COMPLETE", "bash_complete")
        with pytest.raises(SystemExit):
            build().main(["run"], "minicontainer", "_MINICONTAINER_COMPLETE")
    assert "--explain" in capsys.readouterr().out
    assert issubclass(click.Group, click.Command)
