"""Namespaces: a private view of one kind of global resource.

A process lives in one namespace of each kind. `unshare` moves the caller into fresh ones, `setns` into those
of another process; PID and time namespaces are special, they take effect for the *next child*. The kernel's
order of rights: whoever makes a user namespace owns the namespaces made after it.

See namespaces(7), unshare(2), setns(2), time_namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import posix

from minicontainer.linux.descriptors import read_beginning
from minicontainer.linux.kernel import check, kernel_call, long, syscall
from minicontainer.linux.numbers import SYS_setdomainname, SYS_sethostname, SYS_setns, SYS_unshare

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# The OCI's name of each kind, its flag, and its name under /proc/PID/ns.
KINDS = {
    "user": (CLONE_NEWUSER, "user"),
    "mount": (CLONE_NEWNS, "mnt"),
    "pid": (CLONE_NEWPID, "pid"),
    "network": (CLONE_NEWNET, "net"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "uts": (CLONE_NEWUTS, "uts"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "time": (CLONE_NEWTIME, "time"),
}
ALL_IDS = [b"0", b"0", b"4294967295"]


def in_user_namespace() -> bool:
    """Tell whether we are in a user namespace other than the machine's first: root is not root there."""
    return read_beginning("/proc/self/uid_map").split() != ALL_IDS


@kernel_call
def unshare(flags: int) -> None:
    """Move the caller (for PID and time: its next child) into new namespaces. See unshare(2)."""
    check(syscall(SYS_unshare, long(flags)))


@kernel_call
def setns(fd: int, nstype: int) -> None:
    """Move the caller into the namespace `fd`, or into several of the process of a pidfd. See setns(2)."""
    check(syscall(SYS_setns, fd, nstype))


@kernel_call
def sethostname(name: str) -> None:
    """Set the host name of the caller's UTS namespace. See sethostname(2)."""
    raw = name.encode()
    check(syscall(SYS_sethostname, raw, len(raw)))


@kernel_call
def setdomainname(name: str) -> None:
    """Set the NIS domain name of the caller's UTS namespace. See setdomainname(2)."""
    raw = name.encode()
    check(syscall(SYS_setdomainname, raw, len(raw)))


@kernel_call
def write_id_map(pid: int, kind: str, lines: str) -> None:
    """Write uid_map, gid_map, setgroups or timens_offsets (`kind`) at once. See user_namespaces(7)."""
    fd = posix.open(f"/proc/{pid}/{kind}" if pid else f"/proc/self/{kind}", posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, lines.encode())
    finally:
        posix.close(fd)
