"""A story as it lies in a trace file: events, one JSON object a line, written by several processes.

See minicontainer/trace/file.py, which writes it; docs/explain.md, "The trace file".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from minicontainer.errors import SpecError

ENTERED, LEFT, CALLING, CALLED = "entered", "left", "calling", "called"


@dataclass(frozen=True, slots=True)
class Speaker:
    """One of the processes that tell: its part in the story, and its number in its own PID namespace."""

    role: str
    pid: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event: a step begins or ends, or a kernel call is about to be made, or came back."""

    kind: str
    speaker: Speaker
    name: str  # of the call, or of the step as `module:function`
    at: float = 0.0  # seconds, CLOCK_MONOTONIC
    arguments: list[Any] = field(default_factory=list)
    result: Any = None
    errno: int = 0


def read_events(text: bytes) -> Iterator[Event]:
    """Read whole lines as events. Raises SpecError for what is no trace file."""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            yield read_event(json.loads(line))
        except (ValueError, KeyError, TypeError) as problem:
            raise SpecError(f"line {number}", f"not an event of a trace file: {line[:60]!r}") from problem


def read_event(told: dict[str, Any]) -> Event:
    """Turn one decoded line into an event. Raises KeyError for a missing member."""
    return Event(
        kind=told["kind"],
        speaker=Speaker(told["role"], told["pid"]),
        name=told["step"] if told["kind"] in (ENTERED, LEFT) else told["name"],
        at=told["at"],
        arguments=told.get("arguments", []),
        result=told.get("result"),
        errno=told.get("errno", 0),
    )
