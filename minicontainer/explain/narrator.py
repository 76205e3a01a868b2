"""The narrator: a witness that reads what all processes write into one trace file, and tells it.

                       runtime --write--> +-----------+
    (forked) init, stage ... --write-->   |  memfd    |  --read--> Narrator.flush(), in the runtime only
                                          +-----------+

The child only ever writes: whatever is imported or printed happens in the parent, when the runtime says that
it is time (`flush`): before the user's program starts, and at the end.

See memfd_create(2); docs/explain.md.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from typing import Any

from minicontainer.explain.proof import Proof
from minicontainer.explain.story import CALLED, CALLING, ENTERED, LEFT, Event, Speaker, read_events
from minicontainer.explain.text import Page, screen
from minicontainer.linux.causes import cause_of
from minicontainer.linux.evidence import Evidence
from minicontainer.linux.spelling import spell_call
from minicontainer.linux.words import octal
from minicontainer.trace.file import TraceFile

BIRTHS = ("clone3",)
FOLD = 3  # this many calls that differ in their last argument only are told as one and "... more"
MANY = 1 << 24


def begin(*, aloud: bool, prove: bool) -> Narrator:
    """Make a narrator on standard error: `aloud` tells the story, `prove` shows the evidence."""
    page = Page(screen(sys.stderr))
    return Narrator(Teller(page) if aloud else None, Proof(page) if prove else None)


class Narrator(TraceFile):
    """A trace file in memory, and its reader."""

    def __init__(self, teller: Teller | None, proof: Proof | None) -> None:
        memory = os.memfd_create("story", os.MFD_CLOEXEC)
        fcntl.fcntl(memory, fcntl.F_SETFL, os.O_APPEND)
        super().__init__(memory)
        self.teller = teller
        self.proof = proof
        self.told = 0  # bytes of the file

    def flush(self) -> None:
        """Tell what happened since the last time."""
        text = os.pread(self.descriptor, MANY, self.told)
        text = text[: text.rfind(b"\n") + 1]  # another process may be writing the next line
        self.told += len(text)
        for event in read_events(text):
            if self.teller:
                self.teller.tell(event)
            if self.proof:
                self.proof.note(event)
        if self.teller:
            self.teller.pause()
        if self.proof:
            self.proof.show()

    def end(self) -> None:
        """Tell the rest, and close the file."""
        self.flush()
        if self.teller:
            self.teller.end()
        if self.proof:
            self.proof.end()
        os.close(self.proc)
        os.close(self.descriptor)


class Order:
    """Puts what several processes say at the same time into an order that can be followed.

    Of each process nothing is moved. A process is told of only after the call that made it; and a step is not
    broken off for what others do meanwhile, unless it has made a process, for which it may be waiting.
    """

    def __init__(self) -> None:
        self.born: set[Speaker] = set()
        self.births = 0  # processes that were made and have not spoken yet
        self.speaking: Speaker | None = None
        self.in_step = False  # the speaker is in a step that should not be broken off
        self.held: list[Event] = []

    def take(self, event: Event) -> Iterator[Event]:
        """Give what is to be told now that this event is there, too."""
        if not self.may_speak(event.speaker):
            self.held.append(event)
            return
        yield event
        if self.gives_way(event):
            yield from self.again()

    def again(self) -> Iterator[Event]:
        """Give those of the events that were held back whose turn has come."""
        held, self.held = self.held, []
        for event in held:
            yield from self.take(event)

    def release(self) -> Iterator[Event]:
        """Give all that was held back for the sake of a step."""
        self.in_step = False
        yield from self.again()

    def may_speak(self, speaker: Speaker) -> bool:
        """Say whether it is this process's turn."""
        if any(event.speaker == speaker for event in self.held):
            return False
        if self.in_step and speaker != self.speaking:
            return False
        if speaker not in self.born:
            if self.born and not self.births:  # of the first one nobody tells where it comes from
                return False
            self.births -= bool(self.born)
            self.born.add(speaker)
        return True

    def gives_way(self, event: Event) -> bool:
        """Note what an event means for the order; tells whether others may speak behind it."""
        self.speaking = event.speaker
        makes = event.name in BIRTHS and event.kind == CALLED and not event.errno
        self.births += makes
        if event.kind == ENTERED:
            self.in_step = True
        elif event.kind == LEFT or makes:
            self.in_step = False
            return True
        return False


class Teller:
    """Turns events into lines: who speaks, how deep in which steps, which calls are folded."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.speaking: Speaker | None = None
        self.depths: dict[Speaker, int] = {}
        # Their numbers on the host; 0, of which nothing can be seen, at first.
        self.children: dict[str, int] = {"init": 0}
        self.waiting: list[Event] = []  # calls of one kind that may be folded
        self.order = Order()

    def tell(self, event: Event) -> None:
        """Tell one event, or later, when its turn has come."""
        for one in self.order.take(event):
            self.tell_now(one)

    def tell_now(self, event: Event) -> None:
        """Tell one event, now."""
        if self.waiting and not alike(self.waiting[-1], event):
            self.rest()
        if event.kind == LEFT:
            self.depths[event.speaker] = max(0, self.depths.get(event.speaker, 0) - 1)
            return
        self.turn_to(event.speaker)
        depth = self.depths.get(event.speaker, 0)
        if event.kind == ENTERED:
            self.page.step(event.name, depth)
            self.depths[event.speaker] = depth + 1
        elif event.kind == CALLING:
            self.page.call(spell(event), depth)
        elif event.errno:
            self.page.refused(spell(event), depth, event.errno, self.cause(event))
        else:
            if event.name == "clone3":
                self.children["init"] = event.result[0]
            self.waiting.append(event)

    def cause(self, event: Event) -> str:
        """Find why the kernel refused a call, as far as it can still be seen in the process that made it."""
        pid: int | str = self.children.get(event.speaker.role, "self")
        found = cause_of(event.name, event.errno, event.arguments, Evidence(pid))
        return str(found) if found else ""

    def turn_to(self, speaker: Speaker) -> None:
        """Say who speaks, when it is somebody else than before."""
        if self.speaking is None:
            self.page.legend()
        if speaker != self.speaking:
            self.page.speaker(speaker)
            self.speaking = speaker

    def rest(self) -> None:
        """Tell the calls that were kept back in case more of their kind follow."""
        calls, self.waiting = self.waiting, []
        if not calls:
            return
        depth = self.depths.get(calls[0].speaker, 0)
        if len(calls) < FOLD:
            for call in calls:
                self.page.call(spell(call), depth, answer(call))
            return
        self.page.call(spell(calls[0]), depth)
        self.page.more(len(calls) - 1, [last_argument(call) for call in calls[1:]], depth)

    def pause(self) -> None:
        """Tell what can be told by now: the program of the container is about to speak."""
        for event in self.order.release():
            self.tell_now(event)
        self.rest()

    def end(self) -> None:
        """Tell what is left, whoever it is from."""
        self.pause()
        for event in self.order.held:
            self.tell_now(event)
        self.rest()


def spell(event: Event) -> str:
    """Write a call as strace would."""
    return spell_call(event.name, event.arguments)


def alike(one: Event, other: Event) -> bool:
    """Tell whether two successful calls of one process differ in their last argument only."""
    return (
        one.kind == other.kind == CALLED
        and not other.errno
        and (one.speaker, one.name, one.result) == (other.speaker, other.name, other.result)
        and len(one.arguments) == len(other.arguments) > 1
        and all(map(equal, stem(one), stem(other)))
    )


def stem(event: Event) -> list[Any]:
    """Give the words of a call before the last one that is spelled."""
    return spell(event).rsplit(", ", 1)[:1]


def equal(one: Any, other: Any) -> bool:
    """Compare two values."""
    return bool(one == other)


def last_argument(event: Event) -> str:
    """Give the last word of a call as it is spelled."""
    return spell(event).rsplit(", ", 1)[1].removesuffix(")")


def answer(event: Event) -> str:
    """Write a call's answer where it is more than "it worked"."""
    if isinstance(event.result, list):  # of clone3: the process's number and its handle
        return f" = {event.result[0]}"
    if event.name == "umask":
        return f" = {octal(event.result)}"
    if isinstance(event.result, int) and event.result > 0:
        return f" = {event.result}"
    return ""
