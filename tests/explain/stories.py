"""Both stories of one run, process by process: what strace saw, what was told; and the comparison.

strace writes one file for each process. Both stories are put into the order of a family tree, each process
behind the one that made it: clone3 gives the number of a child, as its maker sees it; in a new PID namespace
it sees itself as 1.

See strace(1), "-ff"; minicontainer/trace/file.py.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minicontainer.explain.text import LEGEND
from minicontainer.linux.spelling import spell_call, spell_errno
from tests.explain.calls import WATCHED, Call, as_printed, common, counts, read_call, shown
from tests.explain.words import Line, read_line

# A question mark before a name: an strace that does not know the call may leave it out.
OPENING = ("open", "openat", "openat2", "dup", "pidfd_open", "memfd_create")
STRACE = ("strace", "-ff", "-y", "--pidns-translation", "-v", "-qq", "-s", "1000000", "-e", "signal=none",
          "-e", "trace=" + ",".join(f"?{name}" for name in sorted((*WATCHED, *OPENING))))  # fmt: skip
BIRTHS = ("clone3", "clone", "fork", "vfork")


@dataclass
class Process:
    """One process of a story: its number on the host, and what it did, in order."""

    pid: int
    calls: list[Call] = field(default_factory=list)
    made: list[Birth] = field(default_factory=list)


@dataclass(frozen=True)
class Birth:
    """A child, as its maker numbers it, and whether it has a PID namespace of its own."""

    pid: int
    first: bool

    def is_of(self, process: Process) -> bool:
        """Say whether this is the birth of a process that gives its number as it sees itself."""
        return process.pid == (1 if self.first else self.pid)


# --- what strace saw ---------------------------------------------------------------------------


def read_strace(prefix: Path, notes: Iterable[str] = ()) -> list[Process]:
    """Read the files of `strace -ff -o PREFIX`: the first process, then the others as they were born."""
    files = {int(path.name.rpartition(".")[2]): path for path in prefix.parent.glob(prefix.name + ".*")}
    lines = {pid: [read_line(text) for text in path.read_text(errors="surrogateescape").splitlines()
                   if is_call(text)] for pid, path in files.items()}  # fmt: skip
    children = {pid: births(found) for pid, found in lines.items()}
    born = {child for made in children.values() for child in made}
    (first,) = set(files) - born
    order = descend(first, children)
    return [Process(pid, counting_calls(pid, lines[pid], notes)) for pid in order]


def counting_calls(pid: int, lines: list[Line], notes: Iterable[str]) -> list[Call]:
    """Give the calls of one process that count, in the common form."""
    opened: dict[int, str] = {}
    found = []
    for line in lines:
        if line.named and line.result is not None:
            opened[line.result] = line.named
        if counts(line, notes):
            found.append(common(line, pid, opened))
    return found


def is_call(text: str) -> bool:
    """Tell a call from lines about signals and exits, and from calls that the kernel began anew after one."""
    return not text.startswith(("+++", "---")) and " = ? ERESTART" not in text


def births(lines: list[Line]) -> list[int]:
    """List the children that a process made."""
    return [
        line.outside or line.result
        for line in lines
        if line.name in BIRTHS and line.result and line.result > 0
    ]


def descend(first: int, children: dict[int, list[int]]) -> list[int]:
    """List a process and its descendants, each behind its parent."""
    order = [first]
    for child in children.get(first, []):
        order += descend(child, children)
    return order


# --- what was told -----------------------------------------------------------------------------


def read_trace(text: str) -> list[Process]:
    """Read a trace file (`--trace-fd`), every event with all its arguments."""
    speakers: dict[tuple[str, int], Process] = {}
    for event in map(json.loads, text.splitlines()):
        if event["kind"] in ("entered", "left"):
            continue
        process = speakers.setdefault((event["role"], event["pid"]), Process(event["pid"]))
        if event["name"] == "execve" and event["kind"] == "called":
            process.calls.pop()  # the attempt was told before, and came back
        process.calls.append(told_call(event, process.pid))
        if event["name"] == "clone3" and not event["errno"]:
            process.made.append(birth(event["result"][0], process.calls[-1]))
    return family(list(speakers.values()))


def birth(pid: int, call: Call) -> Birth:
    """Note that a process was made."""
    return Birth(pid, "CLONE_NEWPID" in shown(call.arguments[0]))


def family(processes: list[Process]) -> list[Process]:
    """Put the processes of a story in order: the first, and each behind the one that made it."""
    if not processes:
        return []
    first, *others = processes
    order = [first]

    def follow(parent: Process) -> None:
        for made in parent.made:
            child = next((process for process in others if made.is_of(process)), None)
            if child:
                others.remove(child)
                order.append(child)
                follow(child)

    follow(first)
    return order + others  # those that nobody made come last, and will be found different


def told_call(event: dict[str, Any], pid: int) -> Call:
    """Bring one event into the common form."""
    text = spell_call(event["name"], event["arguments"])
    if event["name"] == "seccomp":
        program = event["arguments"][2].encode("utf-8", "surrogateescape")
        text = text.replace("}", f', sha256="{hashlib.sha256(program).hexdigest()}"}}')
    if event["name"] == "bpf_prog_load":
        program = event["arguments"][0].encode("utf-8", "surrogateescape")
        text = text.replace("}", f', sha256="{hashlib.sha256(program).hexdigest()}"}}')
    if event["name"] == "execve":
        text = re.sub(r"\[/\* \d+ vars? \*/\]", lambda _: quoted(event["arguments"][2]), text)
    if event.get("errno"):
        text += f" = -1 {spell_errno(event['errno'])}"
    elif event["name"] == "clone3":
        text += f" = {event['result'][0]}"
    call = read_call(text, pid)
    if call.arguments and isinstance(call.arguments[-1], bytes) and "sha256" in text:
        *rest, digest = call.arguments
        return Call(call.name, (*rest, digest.decode()), call.errno)
    return call


def quoted(environment: list[str]) -> str:
    """Write an environment as strace -v does."""
    return spell_call("list", environment).replace("list(", "[", 1).removesuffix(")") + "]"


HEADING = re.compile(r"-- (.*) --")
FOLDED = re.compile(r"\.\.\. and (\d+) more: (.*)")


def read_page(text: str) -> list[Process]:
    """Read the story as a terminal got it (`--explain`), every line that is not understood is an error."""
    speakers: dict[str, Process] = {}
    process: Process | None = None
    last = ""
    for line in filter(None, map(str.strip, text.removeprefix(LEGEND).splitlines())):
        if heading := HEADING.fullmatch(line):
            number = re.search(r"process (\d+)", heading[1])
            process = speakers.setdefault(heading[1], Process(int(number[1]) if number else 0))
        elif line.startswith(("> ", "[", "why: ")):
            continue
        else:
            assert process, f"somebody speaks before it is said who: {line}"
            for spelled in unfold(line, last):
                read = read_line(spelled)
                process.calls.append(as_printed(common(read, process.pid)))
                if read.name == "clone3" and read.result and read.result > 0:
                    process.made.append(birth(read.result, process.calls[-1]))
                last = spelled
    return family(list(speakers.values()))


def unfold(line: str, last: str) -> list[str]:
    """Give the calls that a line stands for: itself, or those that differ from the last in one word only."""
    folded = FOLDED.fullmatch(line)
    if not folded:
        return [line]
    words = folded[2].split(", ")
    assert len(words) == int(folded[1]), line
    return [f"{last.rpartition(', ')[0]}, {word})" for word in words]


# --- the comparison ----------------------------------------------------------------------------


def differences(told: list[Process], seen: list[Process]) -> list[str]:
    """Compare two stories; empty when they are the same.

    Of the first process its first execve calls are left out, by position: sh, Python, ourselves. Of the
    others everything after their execve: that is the user's program.
    """
    told = [Process(told[0].pid, without_start(told[0].calls)), *told[1:]] if told else []
    seen = [Process(seen[0].pid, without_start(seen[0].calls)), *map(until_program, seen[1:])]
    seen = [process for process in seen if process.calls]
    found = ["nothing was told"] if seen and not told else []
    if len(told) != len(seen):
        found.append(f"{len(told)} processes tell, strace saw {len(seen)}")
    for number in range(max(len(told), len(seen))):
        ours = list(map(str, told[number].calls)) if number < len(told) else []
        theirs = list(map(str, seen[number].calls)) if number < len(seen) else []
        found += difflib.unified_diff(
            theirs, ours, f"process {number}, seen", f"process {number}, told", n=1, lineterm=""
        )
    return found


def without_start(calls: list[Call]) -> list[Call]:
    """Leave out the execve calls with which everything begins."""
    return list(itertools.dropwhile(lambda call: call.name == "execve", calls))


def until_program(process: Process) -> Process:
    """Leave out what the user's program did: it begins behind the first execve that succeeded."""
    for number, call in enumerate(process.calls):
        if call.name == "execve" and not call.errno:
            return Process(process.pid, process.calls[: number + 1])
    return process


def printed(processes: list[Process]) -> list[Process]:
    """Reduce a story to what a terminal shows of it."""
    return [Process(process.pid, list(map(as_printed, process.calls))) for process in processes]
