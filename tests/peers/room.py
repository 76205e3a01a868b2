"""A room of the machine where container engines may make a mess: what they leave is gone with it.

Engines keep locks in /dev/shm, states and network namespaces under /run, networks under /etc, caches under
/var/lib, bridges and nft rules in their network namespace, and a mount for each container. A room is a mount
and a network namespace held by one process, with its own /run, /dev/shm, /etc and /var/lib (overlays), and on
a hybrid host the "v2 only" view. Commands enter it with nsenter. Cgroups and processes are the machine's, and
the network, too, where engines are to share its loopback. The room knows which cgroups were there before, and
finds its processes by the namespaces that they or their parents are in.

    pytest --- stdin --> cat (holds mnt + net) <-- nsenter -- podman, containerd, ctr ...
See mount_namespaces(7), nsenter(1), unshare(1), cgroups(7).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from tests.peers import in_v2_view, is_unified
from tests.runtime.waiting import eventually

FURNISH = """
set -e
mount --make-rprivate /
for place in /run /dev/shm; do mount -t tmpfs -o mode=1777 room "$place"; done
chmod 755 /run
for place in /etc /var/lib; do
    own=/run/room$place
    mkdir -p "$own/upper" "$own/work"
    mount -t overlay -o "lowerdir=$place,upperdir=$own/upper,workdir=$own/work" room "$place"
done
ip link set lo up
echo ready
exec cat
"""


class Room:
    """A mount and a network namespace that live until `close()`, or until the test process itself is gone."""

    def __init__(self, *, own_network: bool = True) -> None:
        self._cgroups_before = set(cgroups())
        self._flags = {"mnt": "--mount"} | ({"net": "--net"} if own_network else {})
        holder = in_v2_view(["unshare", *self._flags.values(), "sh", "-c", FURNISH])
        self._holder = subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n", "the room could not be furnished"

    def argv(self, command: Iterable[str | Path]) -> list[str]:
        """Wrap a command so that it runs in the room; its working directory is the room's root."""
        enter = ["nsenter", "--target", str(self._holder.pid), *self._flags.values()]
        return [*enter, *(str(word) for word in command)]

    def run(self, *command: str | Path, text: str = "") -> str:
        """Run a small command of the system's in the room, which must succeed; give its output."""
        return subprocess.run(
            self.argv(command), input=text, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def append(self, path: str, text: str) -> None:
        """Add text to a file of the room, as its own /etc/passwd."""
        self.run("sh", "-c", 'cat >> "$1"', "sh", path, text=text)

    def read(self, path: str) -> str:
        """Read a file as the room sees it."""
        return self.run("cat", path)

    def seen(self, path: str | Path) -> Path:
        """Give the way from outside to a place in the room."""
        return Path(f"/proc/{self._holder.pid}/root", str(path).lstrip("/"))

    def namespaces(self, kinds: Iterable[str]) -> dict[str, str | None]:
        """Name the namespaces that a command in the room has."""
        return {kind: namespace(self._holder.pid, kind) for kind in kinds}

    def processes(self) -> dict[int, str]:
        """Find the living processes of the room, the holder apart, with their command lines."""
        ours = {namespace(self._holder.pid, kind) for kind in self._flags}
        parents = {int(entry.name): parent_of(int(entry.name)) for entry in Path("/proc").glob("[0-9]*")}
        found = {pid for pid in parents if {namespace(pid, kind) for kind in self._flags} & ours}
        while children := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= children
        return {pid: line for pid in found - {self._holder.pid} if (line := command_line(pid))}

    def new_cgroups(self) -> list[Path]:
        """List the cgroups that were not there before the room was, the deepest first."""
        return sorted(set(cgroups()) - self._cgroups_before, key=lambda path: len(path.parts), reverse=True)

    def close(self, wanted: Sequence[Path] = ()) -> None:
        """End the room: kill what still runs in it and in the cgroups named, and remove these cgroups."""
        tops = [cgroup2_root() / str(path).lstrip("/") for path in wanted]
        left = [
            group for group in self.new_cgroups() if any(group == top or top in group.parents for top in tops)
        ]
        for group in left:
            (group / "cgroup.kill").write_text("1")
        for pid in self.processes():
            kill(pid)
        eventually(lambda: not self.processes(), "processes of the room outlive SIGKILL")
        for group in left:
            eventually(partial(is_empty, group), f"{group} lives on")
            group.rmdir()
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(30)
        assert self._holder.stdout is not None
        self._holder.stdout.close()


def cgroup2_root() -> Path:
    """Give where this process sees the cgroup v2 hierarchy."""
    return Path("/sys/fs/cgroup") if is_unified() else Path("/sys/fs/cgroup/unified")


def is_empty(group: Path) -> bool:
    """Say whether no process is left in a cgroup or below it."""
    return "populated 0" in (group / "cgroup.events").read_text()


def cgroups() -> list[Path]:
    """List all cgroups of the v2 hierarchy."""
    return [Path(folder) for folder, _, _ in os.walk(cgroup2_root())]


def namespace(pid: int, kind: str) -> str | None:
    """Give the name of a process's namespace, None where it has ended or is not ours to look at."""
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def parent_of(pid: int) -> int | None:
    """Give a process's parent, None where the process has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def command_line(pid: int) -> str:
    """Give a process's command line, or nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def kill(pid: int) -> None:
    """Send SIGKILL to a process that may have ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
