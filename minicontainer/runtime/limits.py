"""Limits of a process: what setrlimit(2) knows, and the OOM killer's score.

They are set while the process has the host's rights and ids: inside a user namespace the right to raise a
limit is gone, and of a process that has changed its ids they could not be set from outside either.

Implements runtime-spec, config.md "rlimits", "oomScoreAdj"; see prlimit(2), proc(5) "oom_score_adj".
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import KernelError, Refused
from minicontainer.linux.kernel import kernel_call
from minicontainer.linux.rlimits import NUMBERS, prlimit64
from minicontainer.trace.events import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.process_plan import ProcessPlan


@kernel_call
def write_oom_score_adj(pid: int, value: int) -> None:
    """Write /proc/PID/oom_score_adj. See proc(5)."""
    fd = posix.open(f"/proc/{pid or 'self'}/oom_score_adj", posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, str(value).encode())
    finally:
        posix.close(fd)


def set_process_limits(pid: int, process: ProcessPlan) -> None:
    """Set the limits that the configuration names, on a process that waits for us, or (0) on the caller."""
    if process.rlimits:
        set_rlimits(pid, process)
    if process.oom_score_adj is not None:
        set_oom_score_adj(pid, process.oom_score_adj)


@step
def set_oom_score_adj(pid: int, value: int) -> None:
    """Say how soon the kernel may choose this process, of all, when memory runs out.

    proc(5) "oom_score_adj"
    """
    write_oom_score_adj(pid, value)


@step
def set_rlimits(pid: int, process: ProcessPlan) -> None:
    """Limit how much of each thing the process may take.

    prlimit(2), getrlimit(2)
    """
    for limit in process.rlimits:
        try:
            prlimit64(pid, NUMBERS[limit["type"]], limit["soft"], limit["hard"])
        except KernelError as problem:
            if problem.errno != errno.EPERM:
                raise
            # Not the kernel's own words: podman would take them for a problem with the program.
            raise Refused(
                f"process.rlimits: {limit['type']} cannot be raised to {limit['hard']}: "
                "CAP_SYS_RESOURCE is missing"
            ) from None
