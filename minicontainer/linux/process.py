"""Processes: being born, watched, signalled, and turning into another program.

`clone3` makes the child in new namespaces and in its cgroup in one step, and gives a pidfd: a handle that,
unlike a number, never comes to mean another process. Writing a pid to cgroup.procs instead costs an RCU grace
period.

See clone3(2), pidfd_open(2), pidfd_send_signal(2), execve(2), waitpid(2).
"""

from __future__ import annotations

import posix

from minicontainer.errors import KernelError
from minicontainer.linux.kernel import CHILD, address, buffer, check, kernel_call, long, syscall, u64
from minicontainer.linux.numbers import (
    SYS_clone3,
    SYS_pidfd_getfd,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
)
from minicontainer.trace.events import witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_PIDFD, CLONE_PARENT, CLONE_CLEAR_SIGHAND = 0x1000, 0x8000, 0x100000000
CLONE_INTO_CGROUP = 0x200000000
SIGCHLD = 17


@kernel_call
def clone3(flags: int, exit_signal: int, cgroup: int) -> tuple[int, int]:
    """Fork into the namespaces of `flags`, and into the cgroup directory `cgroup` unless it is -1.

    Returns (pid, pidfd) in the parent. The child gets (0, -1) and is not told to the witnesses: the call is
    one. See clone3(2).
    """
    pidfd = buffer(8)
    asked = flags | CLONE_PIDFD | (CLONE_INTO_CGROUP if cgroup >= 0 else 0)
    arguments = u64(asked, address(pidfd), 0, 0, exit_signal, 0, 0, 0, 0, 0, max(cgroup, 0))
    pid = check(syscall(SYS_clone3, arguments, long(len(arguments))))
    if pid == 0:
        return CHILD
    return pid, int.from_bytes(bytes(pidfd)[:4], "little")


@kernel_call
def pidfd_open(pid: int, flags: int) -> int:
    """Open a handle to a process. See pidfd_open(2)."""
    return check(syscall(SYS_pidfd_open, pid, flags))


@kernel_call
def pidfd_send_signal(pidfd: int, sig: int) -> None:
    """Send a signal to the process behind the handle, and to no other. See pidfd_send_signal(2)."""
    check(syscall(SYS_pidfd_send_signal, pidfd, sig, None, 0))


@kernel_call
def pidfd_getfd(pidfd: int, targetfd: int) -> int:
    """Copy a descriptor out of another process. See pidfd_getfd(2)."""
    return check(syscall(SYS_pidfd_getfd, pidfd, targetfd, 0))


@kernel_call
def kill(pid: int, sig: int) -> None:
    """Send a signal to a process by number. See kill(2)."""
    posix.kill(pid, sig)


def execve(
    path: str, argv: list[str], envp: dict[str, str], when_told: Callable[[], None] | None = None
) -> None:
    """Turn this process into the program at `path`; told before it is made, because it does not come back.

    `when_told` is called in between, for witnesses to catch up. See execve(2).
    """
    arguments = (path, argv, [f"{name}={value}" for name, value in envp.items()])
    for witness in witnesses:
        witness.calling("execve", arguments)
    if when_told:
        when_told()
    try:
        posix.execve(path, argv, envp)
    except OSError as problem:
        for witness in witnesses:
            witness.called("execve", arguments, None, problem.errno or 0)
        raise KernelError(problem.errno or 0, "execve", arguments) from None


def start_time(pid: int) -> int:
    """Read when a process started, in clock ticks since boot: its identity, with the pid. OSError if gone."""
    fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        stat = posix.read(fd, 4096)
    finally:
        posix.close(fd)
    # The command's name may hold blanks and brackets: fields are counted from the last bracket on.
    return int(stat[stat.rindex(b")") + 2 :].split()[19])
