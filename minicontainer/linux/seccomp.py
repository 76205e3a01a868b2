"""Loading a seccomp filter: from here on the kernel asks the program before every system call.

A filter cannot be taken off again and is inherited by every child. Without CAP_SYS_ADMIN it may only be
loaded by a process that has given up gaining privileges (no_new_privs).

See seccomp(2), "SECCOMP_SET_MODE_FILTER".
"""

from __future__ import annotations

from minicontainer.linux.kernel import check, kernel_call, long, pointer, syscall, u64
from minicontainer.linux.numbers import SYS_seccomp

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 2, 4
SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 8, 16
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 32


@kernel_call
def seccomp(operation: int, flags: int, program: bytes) -> int:
    """Load an array of `struct sock_filter`; with NEW_LISTENER returns the listener. See seccomp(2)."""
    filter_program = u64(len(program) // 8) + pointer(program)
    return check(syscall(SYS_seccomp, operation, long(flags), filter_program))
