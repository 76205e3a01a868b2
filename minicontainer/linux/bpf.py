"""Programs that the kernel runs for us: loading one, and tying it to a cgroup.

A program lives as long as a descriptor or an attachment holds it. With BPF_F_ALLOW_MULTI a cgroup can have
several, and an access must please all of them, those of the cgroups above included; BPF_F_REPLACE swaps one
for another in a single step.

See bpf(2); <linux/bpf.h>, "union bpf_attr".
"""

from __future__ import annotations

import posix

from minicontainer.linux.kernel import address, buffer, check, keep, kernel_call, syscall, u32, u64
from minicontainer.linux.numbers import SYS_bpf

BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_DETACH = 5, 8, 9
BPF_PROG_GET_FD_BY_ID, BPF_OBJ_GET_INFO_BY_FD, BPF_PROG_QUERY = 13, 15, 16
BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE = 15, 6
BPF_F_ALLOW_MULTI, BPF_F_REPLACE = 2, 4
LICENCE = b"GPL\0"
NAME_LENGTH = 16
INSTRUCTION = 8  # bytes
MANY = 64  # as many programs as the kernel ties to one cgroup


@kernel_call
def bpf_prog_load(program: bytes, name: str) -> int:
    """Load a device filter; returns a descriptor, closed on exec. See bpf(2), BPF_PROG_LOAD."""
    instructions, licence = keep(program), keep(LICENCE)
    head = u32(BPF_PROG_TYPE_CGROUP_DEVICE, len(program) // INSTRUCTION)
    head += u64(address(instructions), address(licence))
    log = bytes(24)  # log_level, log_size, log_buf, kern_version, prog_flags
    return check(syscall(SYS_bpf, BPF_PROG_LOAD, head + log + name.encode().ljust(NAME_LENGTH, b"\0"), 64))


@kernel_call
def bpf_prog_attach(cgroup: int, program: int, replaced: int = -1) -> None:
    """Tie a program to a cgroup, beside those there or in place of `replaced`. See bpf(2)."""
    flags = BPF_F_ALLOW_MULTI | (BPF_F_REPLACE if replaced >= 0 else 0)
    attributes = u32(cgroup, program, BPF_CGROUP_DEVICE, flags, max(replaced, 0))
    check(syscall(SYS_bpf, BPF_PROG_ATTACH, attributes, len(attributes)))


@kernel_call
def bpf_prog_detach(cgroup: int, program: int) -> None:
    """Untie a program from a cgroup. See bpf(2), BPF_PROG_DETACH."""
    attributes = u32(cgroup, program, BPF_CGROUP_DEVICE)
    check(syscall(SYS_bpf, BPF_PROG_DETACH, attributes, len(attributes)))


def bpf_prog_query(cgroup: int) -> list[int]:
    """Give the ids of the programs that are tied to a cgroup itself. See bpf(2), BPF_PROG_QUERY."""
    ids = buffer(4 * MANY)
    attributes = keep(u32(cgroup, BPF_CGROUP_DEVICE, 0, 0) + u64(address(ids)) + u32(MANY, 0))
    check(syscall(SYS_bpf, BPF_PROG_QUERY, attributes, 32))
    count = int.from_bytes(bytes(attributes)[24:28], "little")
    found = bytes(ids)
    return [int.from_bytes(found[at : at + 4], "little") for at in range(0, 4 * count, 4)]


def bpf_prog_get_fd_by_id(number: int) -> int:
    """Give a descriptor of a loaded program, closed on exec. See bpf(2), BPF_PROG_GET_FD_BY_ID."""
    return check(syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, u32(number, 0, 0), 12))


def bpf_prog_name(program: int) -> str:
    """Give the name that a program was loaded with. See bpf(2), BPF_OBJ_GET_INFO_BY_FD."""
    information = buffer(80)
    check(syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, u32(program, 80) + u64(address(information)), 16))
    return bytes(information)[64:80].rstrip(b"\0").decode("ascii", "replace")


def programs_named(cgroup: int, name: str) -> list[int]:
    """Open the programs of this name that are tied to a cgroup; the caller closes them."""
    found = []
    for number in bpf_prog_query(cgroup):
        program = bpf_prog_get_fd_by_id(number)
        if bpf_prog_name(program) == name:
            found.append(program)
        else:
            posix.close(program)
    return found
