"""The commands that end or hold a container: kill, delete, pause, resume.

See runc(8); kill(1), cgroups(7) "cgroup.freeze".
"""

from __future__ import annotations

import _signal
import errno

from minicontainer.errors import Conflict, Error, KernelError
from minicontainer.linux.process import kill, pidfd_send_signal
from minicontainer.runtime.cgroup_processes import freeze, is_frozen, kill_group, processes, thaw
from minicontainer.runtime.container import CREATED, RUNNING, STOPPED, Container, open_container
from minicontainer.runtime.destroy import delete, owns_cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.options import CommandLine

SIGTERM, SIGKILL = 15, 9


def signal_number(text: str) -> int:
    """Read a signal: 15, TERM, SIGTERM, RTMIN+3. Raises Error for what is none."""
    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdigit():
        if 0 <= int(name) <= _signal.SIGRTMAX:
            return int(name)
    elif name[:5] in ("RTMIN", "RTMAX"):
        rest = name[5:] or "+0"
        base: int = _signal.SIGRTMIN if name[:5] == "RTMIN" else _signal.SIGRTMAX
        if (
            rest[0] in "+-"
            and rest[1:].isdigit()
            and _signal.SIGRTMIN <= base + int(rest) <= _signal.SIGRTMAX
        ):
            return base + int(rest)
    else:
        found = getattr(_signal, "SIG" + name, None)
        if isinstance(found, int) and not name.startswith("_"):
            return found
    raise Error(f'unknown signal "{text}"')


def kill_command(line: CommandLine) -> int:
    """Send a signal to the container's first process, or with --all to every process in it."""
    number = signal_number(line.operands[1] if len(line.operands) > 1 else "TERM")
    container = open_container(line.settings["root"], line.operands[0])
    if line.options["all"] or (container.record.get("sharesPids") and number == SIGKILL):
        kill_all(container, number, line.options["all"])
        return 0
    handle = container.open_process()
    try:
        pidfd_send_signal(handle, number)
    except KernelError as problem:
        if problem.errno == errno.ESRCH:
            raise Conflict("container not running") from None
        raise
    return 0


def kill_all(container: Container, number: int, may_be_gone: bool) -> None:
    """Signal everything in the container's cgroup; without one, the first process."""
    path = container.record.get("cgroup")
    if not path or not owns_cgroup(container):
        if container.is_alive():
            pidfd_send_signal(container.open_process(), number)
        elif not may_be_gone:
            raise Conflict("container not running")
        return
    if not container.is_alive() and not may_be_gone and not processes(path):
        raise Conflict("container not running")
    if number == SIGKILL:
        kill_group(path)
        return
    for pid in processes(path):
        try:
            kill(pid, number)
        except KernelError as problem:
            if problem.errno != errno.ESRCH:
                raise


def delete_command(line: CommandLine) -> int:
    """Remove everything that belongs to a container."""
    delete(line.settings["root"], line.operands[0], line.options["force"])
    return 0


def pause_command(line: CommandLine) -> int:
    """Freeze all processes of a container."""
    container = open_container(line.settings["root"], line.operands[0], lock=True)
    if container.status() not in (RUNNING, CREATED):
        raise Conflict("container not running")
    freeze(own_group(container))
    return 0


def resume_command(line: CommandLine) -> int:
    """Let a frozen container go on."""
    container = open_container(line.settings["root"], line.operands[0], lock=True)
    path = container.record.get("cgroup")
    if container.status() in (STOPPED,) or not path or not is_frozen(path):
        raise Conflict("container not paused")
    thaw(path)
    return 0


def own_group(container: Container) -> str:
    """Give the container's cgroup. Raises Conflict for a container that runs without one."""
    path = container.record.get("cgroup")
    if not path:
        raise Conflict(f"container {container.identifier} has no cgroup: it cannot be paused")
    return str(path)
