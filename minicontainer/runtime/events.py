"""events: what a container uses, as JSON lines, and when the kernel killed one of its processes for memory.

See runc(8) "events"; cgroups(7) "memory.events", <Documentation/admin-guide/cgroup-v2.rst>.
"""

from __future__ import annotations

import posix
import select
import time

from minicontainer.errors import Conflict, Error
from minicontainer.runtime.statistics import statistics
from minicontainer.trace.json_lines import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.container import Container

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def follow_events(container: Container, once: bool, interval: str) -> int:
    """Print one line of statistics, or one at every interval until the container's first process ends."""
    path = container.record.get("cgroup")
    if not path:
        raise Conflict(f"container {container.identifier} has no cgroup: there are no statistics")
    if once:
        print_event(container, "stats", statistics(path))
        return 0
    seconds = duration(interval)
    handle = container.open_process()
    watch = select.poll()
    watch.register(handle, select.POLLIN)
    killed = oom_kills(path)
    due = time.monotonic() + seconds
    while not watch.poll(max(0.0, due - time.monotonic()) * 1000):
        print_event(container, "stats", statistics(path))
        now = oom_kills(path)
        if now > killed:
            print_event(container, "oom", None)
        killed = now
        due += seconds
    return 0


def print_event(container: Container, kind: str, data: object) -> None:
    """Print one event."""
    event: dict[str, object] = {"type": kind, "id": container.identifier}
    if data is not None:
        event["data"] = data
    posix.write(1, (dumps(event) + "\n").encode())


def oom_kills(path: str) -> int:
    """Count the processes that the kernel has killed for memory so far; 0 without the memory controller."""
    from minicontainer.linux.cgroups import find_cgroup2

    try:
        with open(f"{find_cgroup2()}{path}/memory.events", "rb", buffering=0) as file:
            for line in file.read().splitlines():
                name, _, count = line.partition(b" ")
                if name == b"oom_kill":
                    return int(count)
    except FileNotFoundError:
        return 0
    return 0


def duration(text: str) -> float:
    """Read a duration as Go writes it (5s, 500ms), in seconds. Raises Error."""
    for unit, seconds in UNITS.items():
        digits = text.removesuffix(unit)
        if digits != text and digits.replace(".", "", 1).isdigit() and float(digits) > 0:
            return float(digits) * seconds
    raise Error(f'invalid interval "{text}"', "write for example 5s or 500ms")
