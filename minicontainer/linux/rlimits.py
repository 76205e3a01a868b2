"""Resource limits: how much of each thing one process, or all processes of one user, may take.

A soft limit is what holds; its owner may raise it up to the hard limit. Raising the hard one needs
CAP_SYS_RESOURCE in the first user namespace: limits are set before a container's user namespace is entered.

See prlimit(2); config.md "process.rlimits".
"""

from __future__ import annotations

from minicontainer.linux.kernel import address, buffer, check, keep, kernel_call, long, syscall, u64
from minicontainer.linux.numbers import SYS_prlimit64

# The order is the kernel's: the position is the number.
RLIMITS = (
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
)
NUMBERS = {name: number for number, name in enumerate(RLIMITS)}
RLIM_INFINITY = 0xFFFFFFFFFFFFFFFF


@kernel_call
def prlimit64(pid: int, resource: int, soft: int, hard: int) -> None:
    """Set both limits of process `pid` (0: the caller)."""
    block = keep(u64(soft, hard))
    check(syscall(SYS_prlimit64, pid, resource, long(address(block)), long(0)))


def limits_of(pid: int, resource: int) -> tuple[int, int]:
    """Read (soft, hard) of process `pid` (0: the caller)."""
    block = buffer(16)
    check(syscall(SYS_prlimit64, pid, resource, long(0), long(address(block))))
    both = bytes(block)
    return int.from_bytes(both[:8], "little"), int.from_bytes(both[8:], "little")
