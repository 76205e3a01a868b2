"""What a container has used, read from its cgroup: the numbers that `events --stats` prints, in runc's form.

The form is cgroup v1's, which podman, containerd and others parse: times in nanoseconds, memory and swap
together, "no limit" as the largest 64-bit number (and 0 for pids). A file whose controller is not there
counts as zeros.

See runc-events(8), runc's types/events.go and opencontainers/cgroups fs2/;
<Documentation/admin-guide/cgroup-v2.rst>, <Documentation/accounting/psi.rst>.
"""

from __future__ import annotations

import errno
import posix
import select
import time
from pathlib import Path
from typing import Any

from minicontainer.errors import NotFound
from minicontainer.linux.cgroups import POLLPRI, read_control, read_whole
from minicontainer.runtime.cgroup_paths import open_path

UNLIMITED = 2**64 - 1
NANOSECONDS = 1000  # the kernel counts microseconds
READABLE = posix.O_RDONLY | posix.O_CLOEXEC
ABSENT = (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP)
CPUSET = (
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
)
IO_COUNTERS = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}
HUGE_PAGES = Path("/sys/kernel/mm/hugepages")
IN_KB = (("GB", 1 << 20), ("MB", 1 << 10), ("KB", 1))


def statistics(path: str) -> dict[str, Any]:
    """Read all statistics of a group. Raises NotFound when it is gone."""
    directory = open_path(path)
    if directory is None:
        raise NotFound(f"cgroup {path} does not exist")
    try:
        return {
            "cpu": cpu_statistics(directory),
            "cpuset": dict.fromkeys(CPUSET, 0),
            "memory": memory_statistics(directory),
            "pids": pids_statistics(directory),
            "blkio": io_statistics(directory),
            "hugetlb": hugetlb_statistics(directory),
            "intel_rdt": {},
            "network_interfaces": None,
        }
    finally:
        posix.close(directory)


# --- files --------------------------------------------------------------------------------------------------


def text(directory: int, name: str) -> str | None:
    """Read a file of the group; None where it is not there."""
    try:
        return read_control(directory, name)
    except OSError as problem:
        if problem.errno in ABSENT:
            return None
        raise


def number(directory: int, name: str) -> int | None:
    """Read a file of one number; "max" is the largest."""
    found = text(directory, name)
    if found is None:
        return None
    return UNLIMITED if found.strip() == "max" else int(found)


def table(directory: int, name: str) -> dict[str, int]:
    """Read a file of lines `key number`."""
    rows = (line.split() for line in (text(directory, name) or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}  # noqa: PLR2004 - key and number


def present(counters: dict[str, Any]) -> dict[str, Any]:
    """Leave out zeros and what is empty, as Go's `omitempty` does."""
    return {key: value for key, value in counters.items() if value}


def pressure(directory: int, name: str) -> dict[str, Any]:
    """Read how long processes had to wait: `{"psi": {"some": ..., "full": ...}}`, or nothing."""
    found = text(directory, name)
    if not found:
        return {}
    psi: dict[str, dict[str, float]] = {
        kind: {"avg10": 0, "avg60": 0, "avg300": 0, "total": 0} for kind in ("some", "full")
    }
    for line in found.splitlines():
        kind, *pairs = line.split()
        for pair in pairs:
            key, _, value = pair.partition("=")
            psi[kind][key] = int(value) if key == "total" else plain(float(value))
    return {"psi": psi}


def plain(value: float) -> float:
    """Give a whole number without its decimals, as Go prints it."""
    return int(value) if value.is_integer() else value


# --- controllers --------------------------------------------------------------------------------------------


def cpu_statistics(directory: int) -> dict[str, Any]:
    """Read the time used and the time throttled; these are kept for every group, without the controller."""
    found = table(directory, "cpu.stat")
    usage = {
        **present({"total": found.get("usage_usec", 0) * NANOSECONDS}),
        "kernel": found.get("system_usec", 0) * NANOSECONDS,
        "user": found.get("user_usec", 0) * NANOSECONDS,
    }
    throttling = {
        "periods": found.get("nr_periods", 0),
        "throttledPeriods": found.get("nr_throttled", 0),
        "throttledTime": found.get("throttled_usec", 0) * NANOSECONDS,
    }
    return {"usage": usage, "throttling": present(throttling), **pressure(directory, "cpu.pressure")}


def memory_statistics(directory: int) -> dict[str, Any]:
    """Read the memory used; v1's swap counter is that of memory and swap together."""
    raw = table(directory, "memory.stat")
    memory, swap = memory_entry(directory, "memory"), memory_entry(directory, "memory.swap")
    if raw:
        swap.pop("max", None)
        swap = {**swap, "usage": swap.get("usage", 0) + memory.get("usage", 0)}
        if swap["limit"] != UNLIMITED:
            swap["limit"] += memory["limit"]
    nothing = {"limit": 0, "failcnt": 0}
    return {
        **present({"cache": raw.get("file", 0)}),
        "usage": memory,
        "swap": swap,
        "kernel": nothing,
        "kernelTCP": nothing,
        **present({"raw": raw}),
        **pressure(directory, "memory.pressure"),
    }


def memory_entry(directory: int, prefix: str) -> dict[str, int]:
    """Read what is used, its limit and its peak."""
    used = {"usage": number(directory, f"{prefix}.current"), "max": number(directory, f"{prefix}.peak")}
    return {"limit": number(directory, f"{prefix}.max") or 0, **present(used), "failcnt": 0}


def pids_statistics(directory: int) -> dict[str, int]:
    """Count the processes: by the controller, or without it those of the group itself."""
    current, limit = number(directory, "pids.current"), number(directory, "pids.max")
    if current is None:
        listed = text(directory, "cgroup.procs") or text(directory, "cgroup.threads") or ""
        current = len(listed.split())
    return present({"current": current, "limit": 0 if limit == UNLIMITED else limit})


def io_statistics(directory: int) -> dict[str, Any]:
    """Read bytes and operations of each block device."""
    entries: dict[str, Any] = {}
    for line in (text(directory, "io.stat") or "").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in IO_COUNTERS:
                name, operation = IO_COUNTERS[key]
                entry = present(
                    {"major": int(major), "minor": int(minor), "op": operation, "value": int(value)}
                )
                entries.setdefault(name, []).append(entry)
    return {**entries, **pressure(directory, "io.pressure")}


def hugetlb_statistics(directory: int) -> dict[str, Any]:
    """Read the huge pages used, by size."""
    found = {}
    for size in sorted(page_sizes()):
        usage = number(directory, f"hugetlb.{size}.rsvd.current")
        if usage is None:
            usage = number(directory, f"hugetlb.{size}.current")
        if usage is not None:
            failed = table(directory, f"hugetlb.{size}.events").get("max", 0)
            found[size] = {**present({"usage": usage}), "failcnt": failed}
    return found


def page_sizes() -> list[str]:
    """Name the sizes of huge pages that this kernel has, as its files do: 64KB, 2MB, 1GB."""
    if not HUGE_PAGES.is_dir():
        return []
    sizes = [int(entry.name.removeprefix("hugepages-").removesuffix("kB")) for entry in HUGE_PAGES.iterdir()]
    return [next(f"{size // unit}{name}" for name, unit in IN_KB if size >= unit) for size in sizes]


# --- out of memory ------------------------------------------------------------------------------------------


class Watch:
    """Watches a group for kills by the kernel's out-of-memory killer, and for its end.

    Both are files that poll(2) reports on at each change. Without the memory controller only the end is seen.
    """

    def __init__(self, path: str) -> None:
        directory = open_path(path)
        if directory is None:
            raise NotFound(f"cgroup {path} does not exist")
        self.memory = -1
        try:
            self.events = posix.open("cgroup.events", READABLE, dir_fd=directory)
            if text(directory, "memory.events") is not None:
                self.memory = posix.open("memory.events", READABLE, dir_fd=directory)
        finally:
            posix.close(directory)
        self.seen = self.kills()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        posix.close(self.events)
        if self.memory >= 0:
            posix.close(self.memory)

    def kills(self) -> int:
        """Count the processes that were killed for want of memory so far."""
        return self.field(self.memory, "oom_kill", 0) if self.memory >= 0 else 0

    def field(self, fd: int, key: str, gone: int) -> int:
        """Read one field of an open events file; `gone` when the group is no more."""
        try:
            words = read_whole(fd).split()
        except OSError as problem:
            if problem.errno != errno.ENODEV:
                raise
            return gone
        return int(words[words.index(key) + 1]) if key in words else gone

    def wait(self, seconds: float) -> str:
        """Wait for "oom" or "ended", and give "" when neither happened in time."""
        poll = select.poll()
        for fd in (self.events, self.memory):
            if fd >= 0:
                poll.register(fd, POLLPRI)
        deadline = time.monotonic() + seconds
        while True:
            kills, self.seen = self.seen, max(self.seen, self.kills())
            if self.seen > kills:
                return "oom"
            if not self.field(self.events, "populated", 0):
                return "ended"
            left = deadline - time.monotonic()
            if left <= 0:
                return ""
            poll.poll(left * 1000)
