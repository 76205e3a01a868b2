"""What a test may leave on the machine, and did it?

A `Snapshot` lists what minicontainer makes: mounts, network links, nftables' tables, cgroups, named
network namespaces, containers' state, processes. A test that needs root must end with the snapshot that it
began with; the kernel takes some things down later, so the comparison waits, with a deadline.

Processes are ours if they descend from the test process. It makes itself a subreaper, as conmon and
containerd's shim do, so that a container that its creator leaves behind becomes our child and not init's.
See proc_pid_mountinfo(5), proc_tid_children(5), cgroups(7), PR_SET_CHILD_SUBREAPER(2const), waitpid(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from tests.needs import cgroup2_tree

DEADLINE = 30.0
PR_SET_CHILD_SUBREAPER = 36
STATE = Path("/run/minicontainer-runtime")
BUNDLES = Path("/run/minicontainer/bundles")
KEPT = {"interpreter", ".empty", ".seccomp"}  # made once a boot, on purpose: docs/decisions/0002 and 0003
# systemd's own comings and goings
NOT_OURS = re.compile(r"(\.service|/session-[^/]*\.scope|/user-[^/]*\.slice)$")
MAY_VANISH = {"process", "cgroup"}  # by themselves; and the kernel refuses to remove a cgroup that is in use

NETLINK_NETFILTER = 12
NFT_MSG_GETTABLE = 10 << 8 | 1
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE, NFTA_TABLE_NAME = 2, 3, 1


class Snapshot(dict[str, set[str]]):
    """What was there, by kind; `tick` is when it was looked at, in clock ticks since the boot."""

    tick = 0


class LeftBehindError(AssertionError):
    """A test changed the machine and did not put it back."""


def take() -> Snapshot:
    """List everything once; a few milliseconds at most."""
    reap_orphans()
    tick = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
    found = Snapshot(
        {
            "mount": mounts(),
            "network link": names_in(Path("/sys/class/net")),
            "network namespace": names_in(Path("/run/netns")),
            "nftables table": nftables_tables(),
            "cgroup": cgroups(),
            "container state": directories_in(STATE) - KEPT | directories_in(BUNDLES),
            "process": processes(),
        }
    )
    found.tick = tick
    return found


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Say in words what is there now and was not, and the reverse."""
    found = []
    for kind in after:
        for name in sorted(after[kind] - before[kind]):
            if kind == "process" and started(name) < before.tick:
                continue  # it was overlooked: /proc/PID/children may miss one while its brothers are buried
            if kind != "cgroup" or not is_of_others(name):
                found.append(f"left behind: {kind} {name}" + (command_of(name) if kind == "process" else ""))
        for name in sorted(before[kind] - after[kind]):
            if kind not in MAY_VANISH:
                found.append(f"taken away: {kind} {name}")
    return found


def demand_no_trace(before: Snapshot, deadline: float = DEADLINE) -> None:
    """Wait until the machine is as it was; LeftBehindError names what differs after `deadline` seconds."""
    end = time.monotonic() + deadline
    while different := differences(before, take()):
        if time.monotonic() > end:
            raise LeftBehindError("\n".join(different))
        time.sleep(0.01)


@contextlib.contextmanager
def no_trace(deadline: float = DEADLINE) -> Iterator[None]:
    """Compare the machine before and after the block."""
    before = take()
    yield
    demand_no_trace(before, deadline)


def mounts() -> set[str]:
    """Every mount of our namespace but the interpreter's read-only view and the one that ip-netns(8) keeps.

    The mount's number is part of it: the same thing mounted twice on one place is two mounts.
    """
    found = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        number, _, _, root, place = fields.split()[:5]
        kind, source = rest.split()[:2]
        if place != "/run/netns" and not place.startswith(f"{STATE}/interpreter"):
            found.add(f"{place} ({kind} {source}, {root} of it, mount {number})")
    return found


def names_in(directory: Path) -> set[str]:
    """The names in a directory, none if it is not there."""
    try:
        return set(os.listdir(directory))  # noqa: PTH208 - half the time of iterdir()
    except FileNotFoundError:
        return set()


def directories_in(directory: Path) -> set[str]:
    """The directories in a directory, none if it is not there."""
    try:
        with os.scandir(directory) as entries:
            return {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    except FileNotFoundError:
        return set()


def cgroups() -> set[str]:
    """Every group of the cgroup v2 tree that is not a systemd service's or a login's."""
    tree = cgroup2_tree()
    if tree is None:
        return set()
    found = {folder.removeprefix(str(tree)) for folder, _, _ in os.walk(tree)}
    return {name for name in found if not NOT_OURS.search(name)}


def is_of_others(group: str) -> bool:
    """Tell whether a cgroup holds processes that are not ours: others may use the machine as well."""
    try:
        members = Path(f"{cgroup2_tree()}{group}/cgroup.procs").read_text().split()
    except OSError:  # gone, or a threaded group
        return False
    return bool(members) and not {int(pid) for pid in members} & set(descendants(os.getpid()))


def processes() -> set[str]:
    """Every descendant of this process: its number, and its start time, for numbers are used again."""
    found = set()
    for pid in descendants(os.getpid()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.add(f"{pid} since tick {stat_of(pid)[19]}")
    return found


def descendants(pid: int) -> Iterator[int]:
    """Walk down from a process."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield int(child)
                yield from descendants(int(child))


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat that follow the name, which may itself hold blanks and parentheses."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def started(process: str) -> int:
    """Say when one of `processes()` was started, in clock ticks since the boot."""
    return int(process.rpartition(" ")[2])


def command_of(process: str) -> str:
    """Give the command line of one of `processes()`, for a report."""
    try:
        words = Path(f"/proc/{process.split(maxsplit=1)[0]}/cmdline").read_bytes().replace(b"\0", b" ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return f": {words.decode(errors='replace').strip()}"


def become_subreaper() -> None:
    """Ask the kernel to hand us our grandchildren when our children end."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def reap_orphans() -> None:
    """Wait for children that have ended: between tests nobody else will."""
    with contextlib.suppress(ChildProcessError):
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is not None:
            pass


def nftables_tables() -> set[str]:
    """Ask the kernel for nftables' tables in this network namespace, as `nft list tables` does slowly."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as channel:
        channel.send(struct.pack("=IHHIIBBH", 20, NFT_MSG_GETTABLE, NLM_F_REQUEST_DUMP, 1, 0, 0, 0, 0))
        found: set[str] = set()
        while True:
            data = channel.recv(1 << 16)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    return found
                found.add(table_name(data[20:length]))
                data = data[(length + 3) & ~3 :]


def table_name(attributes: bytes) -> str:
    """Find the name among the attributes of one table."""
    while attributes:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == NFTA_TABLE_NAME:
            return attributes[4 : length - 1].decode()
        attributes = attributes[(length + 3) & ~3 :]
    return "?"
