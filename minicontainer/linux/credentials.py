"""Who a process is: user, groups, and the mask of its new files.

See setresuid(2), setresgid(2), setgroups(2), umask(2), credentials(7).
"""

from __future__ import annotations

import posix

from minicontainer.linux.kernel import kernel_call


@kernel_call
def setresuid(ruid: int, euid: int, suid: int) -> None:
    """Set real, effective and saved user id. See setresuid(2)."""
    posix.setresuid(ruid, euid, suid)


@kernel_call
def setresgid(rgid: int, egid: int, sgid: int) -> None:
    """Set real, effective and saved group id. See setresgid(2)."""
    posix.setresgid(rgid, egid, sgid)


@kernel_call
def setgroups(groups: list[int]) -> None:
    """Set the supplementary groups. See setgroups(2)."""
    posix.setgroups(groups)


@kernel_call
def umask(mask: int) -> int:
    """Set the mask of new files' modes; returns the former one. See umask(2)."""
    return posix.umask(mask)


@kernel_call
def setsid() -> None:
    """Start a new session, without a controlling terminal. See setsid(2)."""
    posix.setsid()
