"""Descriptors: which ones a program that we start may see.

Callers leak theirs into us. `close_range` with CLOSE_RANGE_CLOEXEC marks all of them at once to be closed by
the next execve, so that nothing of the host reaches the container unless it was asked for (`--preserve-fds`,
LISTEN_FDS).

See close_range(2), fcntl(2).
"""

from __future__ import annotations

import posix

from minicontainer.linux.kernel import check, long, syscall
from minicontainer.linux.numbers import SYS_close_range

CLOSE_RANGE_CLOEXEC = 4
LAST = 0xFFFFFFFF


def read_beginning(path: str, size: int = 4096) -> bytes:
    """Read what a short file holds, as those of /proc are."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(fd, size)
    finally:
        posix.close(fd)


def close_on_exec_from(first: int) -> None:
    """Mark every descriptor from `first` on to be closed by execve."""
    check(syscall(SYS_close_range, long(first), long(LAST), CLOSE_RANGE_CLOEXEC))


def keep_only(preserved: int, needed: list[int]) -> None:
    """Close every descriptor but the standard streams, the `preserved` ones after them, and the `needed`."""
    first = 3 + preserved
    for fd in sorted({fd for fd in needed if fd >= first}):
        if fd > first:
            check(syscall(SYS_close_range, long(first), long(fd - 1), 0))
        first = fd + 1
    check(syscall(SYS_close_range, long(first), long(LAST), 0))
