"""Scheduling: when and where a process computes, from which memory, and which machine it believes to run on.

The tables turn the OCI's names, which are the kernel's, into numbers.

See sched_setattr(2), sched(7), ioprio_set(2), sched_setaffinity(2), personality(2), set_mempolicy(2);
config.md "process.scheduler", "process.ioPriority", "process.execCPUAffinity", config-linux.md "personality",
"memoryPolicy".
"""

from __future__ import annotations

import posix

from minicontainer.linux.kernel import check, kernel_call, long, syscall, u32, u64
from minicontainer.linux.numbers import SYS_ioprio_set, SYS_personality, SYS_sched_setattr, SYS_set_mempolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
IOPRIO_WHO_PROCESS, IOPRIO_CLASS_SHIFT = 1, 13
PERSONALITIES = {"LINUX": 0, "LINUX32": 8}
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
MOST = 65536  # no list names a processor or node beyond this


@kernel_call
def sched_setattr(pid: int, attributes: Sequence[int], flags: int = 0) -> None:
    """Set policy and parameters of process `pid` (0: the caller).

    `attributes` is (policy, flags, nice, priority, runtime, deadline, period), the last three in nanoseconds.
    """
    policy, policy_flags, nice, priority, *times = attributes
    block = u32(48, policy) + u64(policy_flags) + u32(nice, priority) + u64(*times)
    check(syscall(SYS_sched_setattr, pid, block, flags))


@kernel_call
def ioprio_set(which: int, who: int, ioprio: int) -> None:
    """Set the I/O class and priority of process `who` (0: the caller)."""
    check(syscall(SYS_ioprio_set, which, who, ioprio))


def set_io_priority(io_class: str, priority: int) -> None:
    """Set the caller's I/O priority, 0 (first) to 7 in its class."""
    ioprio_set(IOPRIO_WHO_PROCESS, 0, IO_CLASSES[io_class] << IOPRIO_CLASS_SHIFT | priority)


@kernel_call
def sched_setaffinity(pid: int, cpus: Sequence[int]) -> None:
    """Let process `pid` (0: the caller) run on these processors only."""
    posix.sched_setaffinity(pid, cpus)


@kernel_call
def personality(persona: int) -> int:
    """Set the execution domain, on which uname(2)'s machine depends; return the old one."""
    return check(syscall(SYS_personality, long(persona)))


@kernel_call
def set_mempolicy(mode: int, nodes: Sequence[int]) -> None:
    """Take the caller's memory from these NUMA nodes; `mode` holds the policy and its flags."""
    if not nodes:
        check(syscall(SYS_set_mempolicy, mode, None, long(0)))
        return
    bits = sum({1 << node for node in nodes})
    words = max(nodes) // 64 + 1
    # The kernel reads one bit less than it is told.
    check(syscall(SYS_set_mempolicy, mode, bits.to_bytes(8 * words, "little"), long(64 * words + 1)))


def numbers_of(text: str) -> list[int]:
    """Read a list of processors or nodes, such as "0-3,8"; raises ValueError (cpuset(7), "List format")."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = int(first), int(last if dash else first)
        if not 0 <= low <= high < MOST:
            raise ValueError(f"{part}: not a range of numbers")
        numbers.update(range(low, high + 1))
    return sorted(numbers)
