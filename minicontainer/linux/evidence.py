"""What can be seen of a process whose call was refused: its mounts, rights, identity and limits, from /proc.

Reading changes nothing. What cannot be read raises OSError, and counts as not seen, never as fine.

See proc(5), proc_pid_mountinfo(5), proc_pid_status(5), ioctl_nsfs(2).
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

from minicontainer.linux.capabilities import NUMBERS

NS_GET_USERNS = 0xB701


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo."""

    id: int
    parent: int
    place: str
    options: frozenset[str]
    shared: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What can be seen of process `pid`, which must be alive ("self": the one that looks)."""

    pid: int | str = "self"
    proc: Path = Path("/proc")

    def read(self, name: str) -> str:
        """Read a file of the process' folder in /proc."""
        return (self.proc / str(self.pid) / name).read_text()

    def system(self, name: str) -> str:
        """Read a file of /proc itself, as `sys/kernel/ngroups_max`; empty when the kernel has none such."""
        try:
            return (self.proc / name).read_text().strip()
        except FileNotFoundError:
            return ""

    def status(self, field: str) -> str:
        """Read one field of the process' status."""
        for line in self.read("status").splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return value.strip()
        raise OSError(f"/proc/{self.pid}/status has no field {field}")

    def can(self, capability: str) -> bool:
        """Say whether the process has a capability (`CAP_SYS_ADMIN`) effective."""
        return bool(int(self.status("CapEff"), 16) >> NUMBERS[capability] & 1)

    def path(self, name: object) -> Path:
        """Say where the process' path `name` lies for us."""
        inside = Path(os.fsdecode(name) if isinstance(name, str | bytes) else "")
        folder = self.proc / str(self.pid)
        if not inside.is_absolute():
            return folder / "cwd" / inside
        return inside if self.pid == "self" else folder / "root" / inside.relative_to("/")

    def folder(self, descriptor: object) -> Path:
        """Say which folder a descriptor of the process is; one of a trace file brings its path along."""
        if isinstance(descriptor, list | tuple):
            return Path(str(descriptor[1]))
        return (self.proc / str(self.pid) / "fd" / str(descriptor)).readlink()

    def mounts(self) -> list[Mount]:
        """Read the mounts that the process sees."""
        return [_mount(line) for line in self.read("mountinfo").splitlines()]

    def mount_of(self, name: object) -> Mount:
        """Find the mount on which the process' path `name` lies."""
        return self.mount(_mount_number(self.path(name)))

    def mount(self, number: int) -> Mount:
        """Find a mount by its number."""
        for mount in self.mounts():
            if mount.id == number:
                return mount
        raise OSError(f"mount {number} is not in /proc/{self.pid}/mountinfo")

    def is_mount_point(self, name: object) -> bool:
        """Say whether something is mounted exactly at the path."""
        place = self.path(name)
        if place.samefile(self.path("/")):
            return True
        above = place / ".." if place.is_dir() else place.parent
        return _mount_number(place) != _mount_number(above)

    def in_first_user_namespace(self) -> bool:
        """Say whether the process' ids are the machine's."""
        return self.read("uid_map").split() == ["0", "0", "4294967295"]

    def owns(self, kind: str) -> bool:
        """Say whether the process' user namespace owns its namespace `kind`, a name of /proc/PID/ns."""
        folder = self.proc / str(self.pid) / "ns"
        handle = os.open(folder / kind, os.O_RDONLY | os.O_CLOEXEC)
        try:
            owner = fcntl.ioctl(handle, NS_GET_USERNS)
        except PermissionError:
            return False  # the owner is an ancestor of our own
        finally:
            os.close(handle)
        try:
            return os.fstat(owner).st_ino == (folder / "user").stat().st_ino
        finally:
            os.close(owner)


def _mount_number(place: Path) -> int:
    handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        told = Path(f"/proc/self/fdinfo/{handle}").read_text()
    finally:
        os.close(handle)
    return int(told.split("mnt_id:")[1].split()[0])


def _mount(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    number, parent, _device, _root, place, options, *tags = left.split(" ")
    return Mount(
        id=int(number),
        parent=int(parent),
        place=re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place),
        options=frozenset(options.split(",")),
        shared=any(tag.startswith("shared:") for tag in tags),
        kind=right.split(" ")[0],
    )
