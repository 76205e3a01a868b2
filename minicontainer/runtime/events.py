"""events: what a container uses, as JSON lines, and when the kernel killed one of its processes for memory.

    {"type":"stats","id":ID,"data":{...}}    once with --stats, else at every interval
    {"type":"oom","id":ID}                   at once, whatever the interval

It goes on until the last process of the container's cgroup has ended.

See runc(8) "events"; cgroups(7) "memory.events", <Documentation/admin-guide/cgroup-v2.rst>.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from minicontainer.errors import Conflict, Error, NotFound
from minicontainer.runtime.command_show import say
from minicontainer.runtime.statistics import Watch, statistics
from minicontainer.trace.json_lines import dumps

if TYPE_CHECKING:
    from minicontainer.runtime.container import Container

UNITS = {
    "ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
PART = re.compile("([0-9]+\\.?[0-9]*|\\.[0-9]+)(" + "|".join(UNITS) + ")")


def follow_events(container: Container, once: bool, interval: str) -> int:
    """Print one line of statistics, or one at every interval until the container's last process ends."""
    seconds = duration(interval)
    path = container.record.get("cgroup")
    if not path:
        raise Conflict(f"container {container.identifier} has no cgroup: there are no statistics")
    if once:
        print_event(container, "stats", statistics(path))
        return 0
    with Watch(path) as watch:
        follow(container, watch, path, seconds)
    return 0


def follow(container: Container, watch: Watch, path: str, seconds: float) -> None:
    """Print what happens, as it happens, and statistics when they are due."""
    due = time.monotonic() + seconds
    while (seen := watch.wait(max(0.0, due - time.monotonic()))) != "ended":
        if seen == "oom":
            print_event(container, "oom", None)
            continue
        try:
            print_event(container, "stats", statistics(path))
        except NotFound:
            return  # it has gone in this moment
        due = max(due + seconds, time.monotonic())


def print_event(container: Container, kind: str, data: object) -> None:
    """Print one event."""
    event: dict[str, object] = {"type": kind, "id": container.identifier}
    if data is not None:
        event["data"] = data
    say(dumps(event) + "\n")


def duration(text: str) -> float:
    """Read a duration as Go writes it (5s, 500ms, 1m30s), in seconds. Raises Error unless it is positive."""
    parts = PART.findall(text)
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        raise Error(f'invalid interval "{text}"', "write for example 5s, 500ms or 1m30s")
    return seconds
