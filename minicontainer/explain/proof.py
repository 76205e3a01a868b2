"""The proof: what the kernel itself says in /proc about the container, beside what it says about us.

Nothing here asks the runtime. The evidence is taken at the one moment when everything is in place and the
user's program has not started: the container's first process waits for its last GO.

See proc(5), namespaces(7), proc_pid_status(5), proc_pid_mountinfo(5), cgroups(7), capabilities(7).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from minicontainer.explain.story import CALLED, CALLING, Event
from minicontainer.explain.text import ENDLESS, Page
from minicontainer.linux.capabilities import NAMES

NAMESPACES = {
    "cgroup": "cgroup tree", "ipc": "message queues", "mnt": "mounts", "net": "network", "pid": "processes",
    "uts": "host name", "user": "user ids", "time": "clocks",
}  # fmt: skip
SECCOMP = {"0": "off", "1": "strict", "2": "a filter (mode 2)"}
WIDE = 110


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that /proc says: where, about us, and about the container."""

    what: str
    file: str
    outside: str
    inside: str

    @property
    def differs(self) -> bool:
        """Say whether the container has something else than we have."""
        return self.outside != self.inside


def facts(pid: int, proc: Path = Path("/proc")) -> list[Fact]:
    """Collect the evidence about process `pid` of the host. Raises OSError when it is gone."""
    us, it = proc / "self", proc / str(pid)
    return [
        *(namespace_fact(kind, us, it) for kind in NAMESPACES if (it / "ns" / kind).is_symlink()),
        Fact(
            "process number",
            "status: NSpid",
            status(us, "NSpid"),
            " and inside ".join(status(it, "NSpid").split()),
        ),
        Fact("root directory", "root", inode(us / "root"), inode(it / "root")),
        Fact("root mount", "mountinfo", root_mount(us), root_mount(it)),
        Fact("mounts in sight", "mountinfo", count_mounts(us), count_mounts(it)),
        Fact("cgroup", "cgroup", cgroup(us), cgroup(it)),
        Fact("capabilities", "status: CapBnd", capabilities(us, "CapBnd"), capabilities(it, "CapBnd")),
        Fact("seccomp", "status: Seccomp", SECCOMP[status(us, "Seccomp")], SECCOMP[status(it, "Seccomp")]),
    ]


def namespace_fact(kind: str, us: Path, it: Path) -> Fact:
    """Compare one namespace: two processes share it when the numbers are equal."""
    return Fact(NAMESPACES[kind], f"ns/{kind}", namespace(us, kind), namespace(it, kind))


def namespace(process: Path, kind: str) -> str:
    """Read the number of a namespace."""
    return (process / "ns" / kind).readlink().name.partition("[")[2].rstrip("]")


def status(process: Path, field: str) -> str:
    """Read a field of /proc/PID/status."""
    for line in (process / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return " ".join(value.split())
    return "not told by this kernel"


def inode(root: Path) -> str:
    """Say which directory a process has for its root: file system and inode, as the kernel counts them."""
    found = root.stat()
    return f"inode {found.st_ino} on {os.major(found.st_dev)}:{os.minor(found.st_dev)}"


def mounts(process: Path) -> list[list[str]]:
    """Read mountinfo, each line as its fields."""
    return [line.split() for line in (process / "mountinfo").read_text().splitlines()]


def root_mount(process: Path) -> str:
    """Say what is mounted on `/` for a process."""
    for fields in mounts(process):
        if fields[4] == "/":
            rest = fields[fields.index("-") + 1 :]
            return f"{rest[0]} from {rest[1]}"
    return "nothing"


def count_mounts(process: Path) -> str:
    """Count what a process sees mounted."""
    return f"{len(mounts(process))}"


def cgroup(process: Path) -> str:
    """Say in which cgroup v2 group a process is."""
    for line in (process / "cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "none of version 2"


def capabilities(process: Path, field: str) -> str:
    """Count the capabilities of a set."""
    bits = int(status(process, field), 16)
    return f"{bits.bit_count()} of {len(NAMES)} ({bits:x})"


class Proof:
    """Shows the facts when the container is ready, and at the end that nothing of it is left."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pid = 0
        self.ready = False
        self.shown = False
        self.group = ""

    def note(self, event: Event) -> None:
        """Learn from the story which process it is, and when it is about to become the program."""
        if (
            event.kind == CALLED
            and event.name == "clone3"
            and not event.errno
            and event.speaker.role == "runtime"
        ):
            self.pid = event.result[0]
        self.ready = self.ready or (event.kind == CALLING and event.name == "execve")

    def show(self) -> None:
        """Show the facts once, when everything is in place."""
        if not self.ready or self.shown:
            return
        self.shown = True
        self.group = cgroup(Path("/proc") / str(self.pid))
        found = facts(self.pid)
        self.page.line()
        self.page.line(
            Text(f"The proof: /proc/self, which is us, and /proc/{self.pid}, the container", "bold")
        )
        show_table(self.page.console, found)
        different = sum(fact.differs for fact in found)
        self.page.line(f"{different} of {len(found)} differ; what is equal, the container shares with us.")
        self.page.line()
        self.page.line(Text("Now the program starts", "bold"))

    def end(self) -> None:
        """Show that the process and its cgroup are gone."""
        if not self.shown:
            return
        self.page.line()
        self.page.line(Text("And afterwards", "bold"))
        self.page.line(f"/proc/{self.pid}: {gone(Path('/proc') / str(self.pid))}")
        for tree in cgroup_trees():
            self.page.line(f"{tree}{self.group}: {gone(Path(tree + self.group))}")


def gone(path: Path) -> str:
    """Say whether a path is there."""
    return "still there" if path.exists() else "gone"


def cgroup_trees() -> list[str]:
    """Find where the cgroup v2 tree is mounted."""
    return [fields[4] for fields in mounts(Path("/proc/self")) if fields[fields.index("-") + 1] == "cgroup2"]


def show_table(console: Console, found: list[Fact]) -> None:
    """Print the facts as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    for column in ("has its own", "in /proc/PID", "we", "the container"):
        table.add_column(column, overflow="fold")
    for fact in found:
        colour = "green" if fact.differs else "yellow"
        table.add_row(fact.what, fact.file, fact.outside, Text(fact.inside, style=colour))
    if console.width == ENDLESS:
        console.print(table, width=WIDE)
    else:
        console.print(table)
