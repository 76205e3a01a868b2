"""What can be done to all processes of a cgroup at once: list, join, kill, freeze, thaw, await their end.

Everything works from the group's path and from what the kernel says now, never from what was remembered.
A group that has vanished has no processes; it cannot be frozen.

See cgroups(7), <Documentation/admin-guide/cgroup-v2.rst> "cgroup.kill", "cgroup.freeze", "cgroup.events".
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import Error, KernelError, NotFound, Refused, SpecError
from minicontainer.linux.cgroups import groups_below, own_cgroup, read_control, wait_for_event, write_control
from minicontainer.linux.process import kill
from minicontainer.runtime.cgroup_paths import GONE, open_path
from minicontainer.trace.events import step

FREEZE_SECONDS = 10.0
SIGKILL = 9


def group_for_exec(path: str | None, init_pid: int, sub_cgroup: str | None = None) -> int:
    """Open the group that a further process joins: the container's, or one below it; -1 without a group.

    A container that hands controllers down in its own group (systemd inside) can have no process there: then
    it is the group in which its first process is now. Raises NotFound for a `sub_cgroup` that is not there.
    """
    below = (sub_cgroup or "").strip("/")
    if ".." in below.split("/"):
        raise SpecError("", f"bad sub cgroup path: {sub_cgroup}")
    if not path:
        return -1
    directory = open_path(f"{path}/{below}" if below else path)
    if directory is None and below:
        raise NotFound(f"cgroup {path}/{below} does not exist")
    if directory is not None:
        if below or not hands_down(directory):
            return directory
        posix.close(directory)
    now = open_path(own_cgroup(init_pid))
    return -1 if now is None else now


def hands_down(directory: int) -> bool:
    """Tell whether a group gives controllers to those below it, and so may have no process itself."""
    try:
        return bool(read_control(directory, "cgroup.subtree_control").strip())
    except OSError as problem:
        if problem.errno in GONE:
            return True
        raise


def groups_in(path: str) -> list[str]:
    """Name a group and all groups in it, each before those below it."""
    found = [path]
    for group in found:  # grows as it is walked
        directory = open_path(group)
        if directory is not None:
            try:
                found += [f"{group.rstrip('/')}/{name}" for name in groups_below(directory)]
            finally:
                posix.close(directory)
    return found


def processes(path: str | None) -> list[int]:
    """List the processes of a group and of all groups in it."""
    if not path:
        return []
    found: list[int] = []
    for group in groups_in(path):
        directory = open_path(group)
        if directory is not None:
            try:
                found += members(directory)
            finally:
                posix.close(directory)
    return found


def members(directory: int) -> list[int]:
    """List the processes of one group; a threaded one only lists threads."""
    try:
        listed = read_control(directory, "cgroup.procs")
    except OSError as problem:
        if problem.errno in GONE:
            return []
        if problem.errno != errno.EOPNOTSUPP:
            raise
        listed = read_control(directory, "cgroup.threads")
    return [int(pid) for pid in listed.split()]


@step
def kill_group(path: str | None) -> None:
    """Kill every process in the cgroup at once, those that are being forked included."""
    if path == "/":
        raise Refused("the root of the cgroup tree holds every process of the machine")
    directory = open_path(path)
    if directory is None:
        return
    try:
        write_control(directory, "cgroup.kill", "1")
    except KernelError as problem:
        # Before Linux 5.14 the file is missing, and a threaded group refuses; or the group has just gone.
        if problem.errno not in (*GONE, errno.EOPNOTSUPP):
            raise
        kill_each(path)
    finally:
        posix.close(directory)


def kill_each(path: str | None) -> None:
    """Kill the processes of a group one by one until none is left: a fork may always have been faster."""
    while inside := processes(path):
        for pid in inside:
            try:
                kill(pid, SIGKILL)
            except KernelError as problem:
                if problem.errno != errno.ESRCH:
                    raise
        wait_until_empty(path, 0.01)


def wait_until_empty(path: str | None, seconds: float) -> bool:
    """Wait until no process is left in the group; False when that takes too long."""
    directory = open_path(path)
    if directory is None:
        return True
    try:
        return wait_for_event(directory, "populated 0", seconds)
    finally:
        posix.close(directory)


@step
def freeze(path: str) -> None:
    """Stop every process in the cgroup, wherever it is, until it is thawed."""
    set_frozen(path, True)


@step
def thaw(path: str) -> None:
    """Let the processes in the cgroup go on."""
    set_frozen(path, False)


def set_frozen(path: str, wanted: bool) -> None:
    """Ask for a state and wait until the kernel has reached it."""
    directory = open_path(path)
    if directory is None:
        raise NotFound(f"cgroup {path} does not exist")
    try:
        write_control(directory, "cgroup.freeze", str(int(wanted)))
        if not wait_for_event(directory, f"frozen {int(wanted)}", FREEZE_SECONDS):
            if wanted:
                write_control(directory, "cgroup.freeze", "0")
            state = "frozen" if wanted else "thawed"
            raise Error(f"cgroup {path} was not {state} within {FREEZE_SECONDS:.0f} s")
    finally:
        posix.close(directory)


def is_frozen(path: str | None) -> bool:
    """Tell whether the group itself was asked to be frozen."""
    directory = open_path(path)
    if directory is None:
        return False
    try:
        return read_control(directory, "cgroup.freeze").strip() == "1"
    except OSError as problem:
        if problem.errno in GONE:
            return False
        raise
    finally:
        posix.close(directory)
