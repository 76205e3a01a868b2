"""Capabilities: root's power in 41 slices, and the five sets in which a process holds them.

Bounding limits what execve may give; permitted is what may be used; effective is what counts now; inheritable
and ambient are what a program that is not root keeps through execve. Dropping from the bounding set alone
changes nothing until execve.

See capabilities(7), capset(2), prctl(2).
"""

from __future__ import annotations

from minicontainer.linux.descriptors import read_beginning
from minicontainer.linux.kernel import buffer, check, kernel_call, syscall, u32
from minicontainer.linux.numbers import SYS_capget, SYS_capset

NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE"
).split()
NUMBERS = {"CAP_" + name: number for number, name in enumerate(NAMES)}
VERSION_3 = 0x20080522
CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 6, 7, 8, 21, 24


def mask(names: list[str]) -> int:
    """Turn names (`CAP_CHOWN`) into a bit mask; names that this table does not know are left out."""
    bits = 0
    for name in names:
        number = NUMBERS.get(name)
        if number is not None:
            bits |= 1 << number
    return bits


@kernel_call
def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set three of the caller's capability sets, as bit masks. See capset(2)."""
    low, high = 0xFFFFFFFF, 32
    data = u32(
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )
    check(syscall(SYS_capset, u32(VERSION_3, 0), data))


def capget() -> tuple[int, int, int]:
    """Read the caller's effective, permitted and inheritable sets. See capget(2)."""
    data = buffer(24)
    check(syscall(SYS_capget, u32(VERSION_3, 0), data))
    words = [int.from_bytes(bytes(data)[at : at + 4], "little") for at in range(0, 24, 4)]
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def last_capability() -> int:
    """Read the highest capability number that the running kernel knows."""
    return int(read_beginning("/proc/sys/kernel/cap_last_cap"))
