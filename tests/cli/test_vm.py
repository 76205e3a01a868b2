"""The words of `minicontainer vm`, and what it does where there is no machine to do it with."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.cli import vm, vm_show, vm_words
from minicontainer.cli.help import answer, build
from minicontainer.errors import Conflict, Error, NotFound
from minicontainer.vm import nodes
from minicontainer.vm.nodes import Fleet, FleetRecord, NodeRecord, Publish
from tests.vm.guests import short_place

NOTHING: dict[str, Any] = {}


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    with short_place() as place:
        monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / "run"))
        monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests' own process keeps its handlers
        yield nodes.find()


def make(fleet: Fleet, *known: NodeRecord) -> None:
    """Write what `vm up` leaves on the disk."""
    nodes.make(fleet.state)
    fleet.keep(FleetRecord(nodes=len(known)))
    for each in known:
        fleet.keep(each)


# --- words ---------------------------------------------------------------------------------------


def test_without_options_there_is_one_small_node() -> None:
    wishes = vm_words.read_wishes(NOTHING)
    assert (wishes.nodes, wishes.memory, wishes.cpus, wishes.disk) == (1, 1024, 1, 8 << 30)
    assert (wishes.snapshot, wishes.online, wishes.init, wishes.share) == (True, False, "plain", None)


def test_every_option_of_up_is_heard(tmp_path: Path) -> None:
    line = ["--nodes", "3", "-m", "512m", "--cpus", "2", "--disk", "1.5g", "--share", f"{tmp_path}:ro"]
    line += ["-p", "8080:80", "-p", "node3:2222:22", "--online", "--no-snapshot", "--init", "systemd"]
    context = build().commands["vm"].commands["up"].make_context("up", line)  # type: ignore[attr-defined]
    values = {name: list(v) if isinstance(v, tuple) else v for name, v in context.params.items()}
    wishes = vm_words.read_wishes(values)
    assert (wishes.nodes, wishes.memory, wishes.cpus, wishes.disk) == (3, 512, 2, 3 << 29)
    assert (wishes.snapshot, wishes.online, wishes.init) == (False, True, "systemd")
    assert wishes.share is not None
    assert wishes.share.read_only
    assert wishes.publish == (
        Publish(node="node1", host_port=8080, guest_port=80),
        Publish(node="node3", host_port=2222, guest_port=22),
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"nodes": "0"}, "--nodes 0: a number from 1 to 99"),
        ({"nodes": "100"}, "--nodes 100"),
        ({"nodes": "-1"}, "--nodes -1"),
        ({"nodes": "two"}, "--nodes two"),
        ({"nodes": "²"}, "--nodes"),
        ({"cpus": "1.5"}, "--cpus 1.5"),
        ({"memory": "64m"}, "--memory 64m: at least 256m"),
        ({"memory": "much"}, "much"),
        ({"disk": "1m"}, "--disk 1m: at least"),
        ({"init": "upstart"}, "there is plain and systemd"),
        ({"publish": ["80"]}, r"--publish 80: \[NODE:\]PORT:PORT"),
        ({"publish": ["1:2:3:4"]}, "--publish"),
        ({"publish": ["0:80"]}, "port 0"),
        ({"publish": ["80:65536"]}, "port 65536"),
        ({"publish": ["node2:80:80"]}, "there is no node node2"),
        ({"publish": ["80:80", "node1:80:81"]}, "port 80 is published already"),
        ({"share": "/no/such/directory"}, "no such directory"),
    ],
)
def test_a_wish_that_cannot_come_true_is_refused_in_one_line(values: dict[str, Any], said: str) -> None:
    with pytest.raises(Error, match=said) as problem:
        vm_words.read_wishes(values)
    assert "\n" not in problem.value.message


@pytest.mark.parametrize("word", ["2", "node2"])
def test_a_node_may_be_called_by_its_number(word: str) -> None:
    assert vm_words.node_name(word, 2) == "node2"


@pytest.mark.parametrize(
    "word", ["3", "node3", "node", "", "0", "node02", "-1", "nodes", "../node1", "²", "9" * 9]
)
def test_a_node_that_does_not_exist_is_not_found(word: str) -> None:
    with pytest.raises(NotFound, match="there is no node"):
        vm_words.node_name(word, 2)


@given(st.text(max_size=20))
def test_any_word_is_a_node_or_not_found(word: str) -> None:
    try:
        assert vm_words.node_name(word, 9) in [f"node{number}" for number in range(1, 10)]
    except NotFound:
        return


def test_the_keepers_command_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["vm", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "console" in shown
    assert "keeper" not in shown


@pytest.mark.parametrize("words", [["x", "y"], ["0", "99999"]])
def test_the_keepers_command_is_not_for_people(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["vm", "keeper", *words]) == 1
    assert "is started by `vm up` alone" in capsys.readouterr().err


# --- list, without a keeper ----------------------------------------------------------------------


def show(capsys: pytest.CaptureFixture[str], form: str = "json") -> str:
    capsys.readouterr()
    assert vm_show.show({"format": form}) == 0
    return capsys.readouterr().out


def test_a_node_that_should_run_and_has_no_keeper_is_dead(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(show(capsys)) == []
    make(fleet, NodeRecord(name="node1", running=True), NodeRecord(name="node2"))
    found = json.loads(show(capsys))
    assert [(node["name"], node["state"]) for node in found] == [("node1", "dead"), ("node2", "stopped")]
    with nodes.seized(fleet):
        assert {node["state"] for node in json.loads(show(capsys))} == {"busy"}


def test_the_table_has_a_line_for_each_node(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    make(fleet, NodeRecord(name="node1", running=True), NodeRecord(name="node2"))
    head, *lines = show(capsys, "table").splitlines()
    assert head.split() == ["NAME", "STATE", "ADDRESS", "PORTS", "CABLE", "MEMORY", "CPUS", "PID", "WHY"]
    assert [line.split()[:3] for line in lines] == [
        ["node1", "dead", "10.77.0.1"],
        ["node2", "stopped", "10.77.0.2"],
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["vm", "start"],
        ["vm", "stop"],
        ["vm", "ssh"],
        ["vm", "console"],
        ["vm", "cp", "node1:x", "y"],
        ["vm", "cable", "cut", "node1"],
    ],
)
def test_without_machines_every_command_says_so(
    fleet: Fleet, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(words) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "no virtual machine" in said[0]
    assert not fleet.state.exists()


@pytest.mark.parametrize("words", [["a", "b"], ["node1:a", "node2:b"], ["./node1:a", "b"]])
def test_cp_needs_a_node_on_one_side(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["vm", "cp", *words]) == 1
    assert "one of both must be in a node" in capsys.readouterr().err


# --- down ----------------------------------------------------------------------------------------


def test_down_removes_what_a_killed_up_has_left(fleet: Fleet) -> None:
    for place in (fleet.state, fleet.runtime):
        nodes.make(place)
        (place / "something").touch()
    assert vm.down({"yes": False}) == 0
    assert not fleet.state.exists()
    assert not fleet.runtime.exists()
    assert vm.down({"yes": False}) == 0


def test_down_does_not_delete_what_was_written_without_asking(fleet: Fleet) -> None:
    make(fleet, NodeRecord(name="node1"), NodeRecord(name="node2", written=True))
    with pytest.raises(Conflict, match="no terminal to ask") as problem:
        vm.down({"yes": False})
    assert "-y" in problem.value.hint
    assert fleet.exists()
    assert vm.down({"yes": True}) == 0
    assert not fleet.state.exists()


def test_down_does_not_ask_when_nothing_was_written(fleet: Fleet) -> None:
    make(fleet, NodeRecord(name="node1"))
    assert vm.down({"yes": False}) == 0
    assert not fleet.state.exists()


@pytest.mark.parametrize(
    ("typed", "stays"), [("y\n", False), ("yes\n", False), ("n\n", True), ("\n", True), ("", True)]
)
def test_on_a_terminal_down_asks(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, typed: str, stays: bool
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return typed

    make(fleet, NodeRecord(name="node1", running=True))
    monkeypatch.setattr(sys, "stdin", Terminal())
    if stays:
        with pytest.raises(Conflict, match="nothing was deleted"):
            vm.down({"yes": False})
    else:
        vm.down({"yes": False})
    assert fleet.exists() == stays


def test_a_second_up_is_refused(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    make(fleet, NodeRecord(name="node1"))
    assert answer(["vm", "up"]) == 1
    assert "there are virtual machines already" in capsys.readouterr().err


def test_a_wish_that_is_refused_leaves_nothing(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["vm", "up", "--memory", "8000g"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "of memory, this machine has" in said[0]
    assert not fleet.state.exists()
    assert not fleet.runtime.exists()
