"""How a story is told: by whom, in which step, with every call spelled, folded where calls are alike."""

from __future__ import annotations

import io
import json
import os
from typing import Any

import pytest
from rich.console import Console

from minicontainer.errors import SpecError
from minicontainer.explain.narration import reading, title
from minicontainer.explain.narrator import Narrator, Teller
from minicontainer.explain.story import read_events
from minicontainer.explain.text import LEGEND, Page, breaks, screen

STEP = "minicontainer.cli.scratch:take_own_mount_table"


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(kind: str, name: str, *arguments: object, role: str = "runtime", **more: Any) -> dict[str, Any]:
    what = "step" if kind in ("entered", "left") else "name"
    return {"kind": kind, what: name, "pid": 7, "role": role, "at": 1.0, "arguments": list(arguments), **more}


def tell(*events: dict[str, Any], stream: io.StringIO | None = None) -> str:
    out = stream or io.StringIO()
    teller = Teller(Page(screen(out)))
    for one in read_events("\n".join(map(json.dumps, events)).encode()):
        teller.tell(one)
    teller.end()
    return out.getvalue()


def test_a_step_is_told_by_the_first_line_of_its_docstring() -> None:
    told = tell(
        event("entered", STEP), event("called", "unshare", 0x20000, result=None, errno=0), event("left", STEP)
    )
    assert told.splitlines() == [
        LEGEND,
        "",
        "-- runtime: process 7, on the host --",
        "> Give this command a mount table of its own, so that nothing it mounts shows up on the host.",
        "  [mount_namespaces(7), unshare(2)]",
        "    unshare(CLONE_NEWNS)",
    ]


def test_a_step_inside_another_is_told_deeper() -> None:
    told = tell(
        event("entered", STEP), event("entered", STEP), event("called", "setsid", result=None, errno=0)
    )
    assert "\n  > Give this" in told
    assert told.endswith("\n      setsid()\n")


def test_after_a_step_the_depth_is_the_former() -> None:
    told = tell(event("entered", STEP), event("left", STEP), event("called", "setsid", result=None, errno=0))
    assert told.endswith("\n  setsid()\n")


def test_a_step_without_a_docstring_is_told_by_its_name() -> None:
    assert title("minicontainer.nowhere:nothing") == "minicontainer.nowhere:nothing"
    assert reading("minicontainer.nowhere:nothing") == ""


def test_what_to_read_is_only_told_where_it_is_something_to_read() -> None:
    assert reading(STEP) == "mount_namespaces(7), unshare(2)"
    assert reading("minicontainer.explain.narration:title") == ""


def called(name: str, role: str = "runtime", result: object = None) -> dict[str, Any]:
    arguments = (0, 17, -1) if name == "clone3" else ()
    return event("called", name, *arguments, role=role, result=result, errno=0)


def test_each_process_is_announced_when_it_begins_to_speak() -> None:
    mine, its = called("setsid"), called("setsid", "init")
    assert tell(called("clone3", result=[20, 6]), mine, its, mine).count("-- runtime") == 2
    assert "-- init: becomes the container; inside it is process 7 --" in tell(its)


def test_a_process_is_told_of_after_the_call_that_made_it() -> None:
    """The child may be faster than its maker, who tells of the call only when it has come back."""
    told = tell(
        called("setsid"),
        called("setns", "init"),
        called("clone3", result=[20, 6]),
        called("umask", "init", 0),
    )
    assert 0 < told.index("clone3(") < told.index("-- init") < told.index("setns(") < told.index("umask(")
    assert told.count("-- ") == 2


def test_a_step_is_not_broken_off_for_what_others_do_meanwhile() -> None:
    begin, end = event("entered", STEP), event("left", STEP)
    told = tell(called("clone3", result=[20, 6]), called("setns", "init"), begin, called("umask", "init", 0),
                called("setsid"), end, called("chroot", "init"))  # fmt: skip
    order = ["clone3(", "setns(", "> Give", "setsid(", "umask(", "chroot("]
    assert sorted(order, key=told.index) == order
    assert told.count("-- init") == 2


def test_a_step_that_made_a_process_lets_it_speak() -> None:
    told = tell(
        event("entered", STEP), called("clone3", result=[20, 6]), called("umask", "init", 0), called("setsid")
    )
    order = ["> Give", "clone3(", "umask(", "setsid("]
    assert sorted(order, key=told.index) == order


def test_a_step_that_never_ends_holds_nobody_for_ever() -> None:
    told = tell(
        called("clone3", result=[20, 6]),
        called("setns", "init"),
        event("entered", STEP),
        called("umask", "init", 0),
    )
    assert told.index("> Give") < told.index("umask(")


def test_a_process_of_which_nobody_tells_that_it_was_made_is_not_left_out() -> None:
    assert "setsid()" in tell(called("umask", result=18), called("setsid", "init"))


def test_a_mask_is_answered_in_octal() -> None:
    told = tell(event("called", "umask", 0, result=0o22, errno=0))
    assert told.endswith("umask(000) = 022\n")


def test_a_refused_call_is_told_with_its_errno() -> None:
    told = tell(event("called", "setgroups", [], result=None, errno=1))
    assert "setgroups(0, []) = -1 EPERM (Operation not permitted)" in told


def test_calls_that_differ_in_their_last_word_only_are_folded() -> None:
    drops = [event("called", "prctl", 24, number, result=0, errno=0) for number in (5, 6, 7, 8)]
    assert tell(*drops).splitlines()[3:] == [
        "  prctl(PR_CAPBSET_DROP, CAP_KILL)",
        "  ... and 3 more: CAP_SETGID, CAP_SETUID, CAP_SETPCAP",
    ]


def test_few_calls_and_calls_that_differ_elsewhere_are_not_folded() -> None:
    two = [event("called", "prctl", 24, number, result=0, errno=0) for number in (5, 6)]
    assert "more" not in tell(*two)
    mkdirs = [event("called", "mkdirat", 5, name, 0o755, result=None, errno=0) for name in "abcd"]
    assert tell(*mkdirs).count("mkdirat(") == 4
    refused = [event("called", "prctl", 24, number, result=None, errno=1) for number in range(5)]
    assert tell(*refused).count("EPERM") == 5


def test_a_call_that_does_not_come_back_is_told_too() -> None:
    told = tell(event("calling", "execve", "/bin/sh", ["sh"], ["A=1"], role="init"))
    assert told.endswith('  execve("/bin/sh", ["sh"], [/* 1 vars */])\n')


def test_a_terminal_gets_colours_and_no_color_takes_them_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    one = event("called", "unshare", 0x20000, result=None, errno=0)
    assert "\x1b[36m" in tell(one, stream=Tty())
    assert "\x1b" not in tell(one)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in tell(one, stream=Tty())


def test_a_long_line_is_broken_for_a_terminal_and_goes_on_deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    data = "lowerdir=/a,upperdir=/b,workdir=/" + "c" * 90
    long = event("called", "mount", "overlay", "/merged", "overlay", 0, data, result=None, errno=0)
    lines = tell(long, stream=Tty()).splitlines()
    assert all(len(line) <= 60 for line in lines)
    call = next(number for number, line in enumerate(lines) if line.startswith("  mount("))
    assert lines[call + 1].startswith("      ")
    assert len(tell(long).splitlines()) == 4


def test_on_a_terminal_each_line_begins_at_the_left_edge_though_it_may_be_raw() -> None:
    one = event("called", "unshare", 0x20000, result=None, errno=0)
    assert tell(one, stream=Tty()).endswith("\r\n")
    assert "\r" not in tell(one)


def test_breaks_lose_nothing() -> None:
    text = "mount(A|B|C, " + "x" * 50 + ")"
    assert "".join(text[start:end] for start, end in breaks(text, 20)) == text


def test_what_is_no_story_is_an_error_that_names_the_line() -> None:
    good = json.dumps(event("called", "setsid", result=None, errno=0))
    with pytest.raises(SpecError, match="line 2: not an event"):
        list(read_events(f"{good}\nnonsense\n".encode()))


def test_the_narrator_tells_whole_lines_only_and_each_once() -> None:
    out = io.StringIO()
    narrator = Narrator(Teller(Page(Console(file=out, width=200))), None)
    narrator.called("setsid", (), None, 0)
    os.write(narrator.descriptor, b'{"kind":"called","name":"umask"')
    narrator.flush()
    assert (out.getvalue().count("setsid()"), out.getvalue().count("umask")) == (1, 0)
    os.write(narrator.descriptor, b',"arguments":[18],"result":0,"errno":0,"pid":1,"role":"init","at":2}\n')
    narrator.end()
    assert (out.getvalue().count("setsid()"), out.getvalue().count("umask(022)")) == (1, 1)
