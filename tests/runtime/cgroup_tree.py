"""A cgroup v2 tree of plain files, for machines whose own tree has no controllers.

It does what the kernel does as far as limits need it: a new group has the files of the controllers that its
parent hands down, and `+NAME` in cgroup.subtree_control makes those files appear in the groups below. What
was written is kept in order.

See <Documentation/admin-guide/cgroup-v2.rst>, "Enabling and Disabling".
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from minicontainer.errors import KernelError
from minicontainer.linux import cgroups
from minicontainer.linux.paths import mkdirat
from minicontainer.runtime import cgroup_limits, cgroup_paths

if TYPE_CHECKING:
    import pytest

CORE = {
    "cgroup.controllers": "",
    "cgroup.subtree_control": "",
    "cgroup.procs": "",
    "cgroup.type": "domain\n",
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cgroup.freeze": "0\n",
}
FILES = {
    "cpu": {"cpu.max": "max 100000\n", "cpu.max.burst": "0\n", "cpu.weight": "100\n", "cpu.idle": "0\n"},
    "cpuset": {"cpuset.cpus": "\n", "cpuset.mems": "\n"},
    "io": {"io.max": "", "io.weight": "default 100\n"},
    "memory": {
        **{"memory.max": "max\n", "memory.low": "0\n", "memory.high": "max\n", "memory.swap.max": "max\n"},
        "memory.current": "4096\n",
    },
    "pids": {"pids.max": "max\n"},
    "hugetlb": {"hugetlb.2MB.max": "max\n"},
    "misc": {"misc.max": ""},
}


class FakeTree:
    """The tree at `top`, in place of the machine's own while the test runs."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch, *controllers: str) -> None:
        self.top = top
        self.writes: list[tuple[str, str, str]] = []
        self.refused: dict[tuple[str, str], int] = {}
        self.fill(top, [])
        (top / "cgroup.controllers").write_text(" ".join(controllers) + "\n")
        monkeypatch.setattr(cgroup_paths, "_root", [str(top)])
        monkeypatch.setattr(cgroup_limits, "write_control", self.write)
        monkeypatch.setattr(cgroups, "make_group", self.make)
        monkeypatch.setattr(cgroups, "remove_group", self.remove)

    def fill(self, group: Path, controllers: list[str]) -> None:
        """Give a group its files."""
        for name, text in CORE.items():
            (group / name).write_text(text)
        self.add(group, controllers)

    def add(self, group: Path, controllers: list[str]) -> None:
        """Hand controllers down to a group."""
        given = (group / "cgroup.controllers").read_text().split()
        (group / "cgroup.controllers").write_text(" ".join([*given, *controllers]) + "\n")
        for controller in controllers:
            for name, text in FILES[controller].items():
                (group / name).write_text(text)

    def place(self, directory: int) -> Path:
        """Say which group a descriptor is."""
        return Path(f"/proc/self/fd/{directory}").readlink()

    def write(self, directory: int, name: str, value: str) -> None:
        """Write as the kernel would, or refuse as it was told to."""
        group = self.place(directory)
        number = self.refused.pop((name, value), 0) or (0 if (group / name).exists() else errno.ENOENT)
        if number:
            raise KernelError(number, "write_control", (directory, name, value))
        self.writes.append(("/" + str(group.relative_to(self.top)).strip("."), name, value))
        if name != "cgroup.subtree_control":
            (group / name).write_text(value + "\n")
            return
        added = [word[1:] for word in value.split()]
        (group / name).write_text(" ".join([*(group / name).read_text().split(), *added]) + "\n")
        for below in group.iterdir():
            if below.is_dir():
                self.add(below, added)

    def make(self, directory: int, name: str) -> int:
        """Make a group, as mkdir(2) would."""
        mkdirat(directory, name, 0o755)
        group = self.place(directory) / name
        self.fill(group, (group.parent / "cgroup.subtree_control").read_text().split())
        return os.open(group, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def remove(self, directory: int, name: str) -> None:
        """Remove a group, whose files do not count."""
        group = self.place(directory) / name
        if not group.exists():
            raise KernelError(errno.ENOENT, "unlinkat", (directory, name))
        if any(path.is_dir() for path in group.iterdir()):
            raise KernelError(errno.EBUSY, "unlinkat", (directory, name))
        for path in group.iterdir():
            path.unlink()
        group.rmdir()

    def groups(self) -> list[str]:
        """List the groups that there are."""
        return sorted("/" + str(path.relative_to(self.top)) for path in self.top.rglob("*") if path.is_dir())

    def limits(self) -> list[tuple[str, str]]:
        """List what was written, without the handing down of controllers."""
        return [(name, value) for _, name, value in self.writes if name != "cgroup.subtree_control"]
