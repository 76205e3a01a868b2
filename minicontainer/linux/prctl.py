"""prctl: attributes of a process that have no call of their own.

This is the hot lane's form: it costs no import. The readable one, through python-prctl, stands beside it in
`readable_prctl`, and a test proves both equal.

See prctl(2), PR_SET_NO_NEW_PRIVS(2const), PR_SET_DUMPABLE(2const), PR_CAP_AMBIENT(2const).
"""

from __future__ import annotations

from minicontainer.linux.kernel import check, kernel_call, long, syscall
from minicontainer.linux.numbers import SYS_prctl

PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_KEEPCAPS = 1, 3, 4, 8
PR_SET_NAME, PR_CAPBSET_READ, PR_CAPBSET_DROP = 15, 23, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 39, 47
ZERO = long(0)
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_LOWER, PR_CAP_AMBIENT_CLEAR_ALL = 2, 3, 4


@kernel_call
def prctl(option: int, arg2: int = 0, arg3: int = 0) -> int:
    """Operate on the calling process. See prctl(2)."""
    return check(syscall(SYS_prctl, option, long(arg2), long(arg3), ZERO, ZERO))
