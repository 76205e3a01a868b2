"""A small machine that runs classic BPF programs on `struct seccomp_data`, as the kernel does.

See <linux/filter.h>, <linux/bpf_common.h>; seccomp(2).
"""

from __future__ import annotations

import struct

BPF_LD_W_ABS, BPF_RET_K, BPF_AND_K, BPF_JA = 0x20, 0x06, 0x54, 0x05
JUMPS = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: a & k != 0,
}

Instruction = tuple[int, int, int, int]


def decode(program: bytes, order: str = "<") -> list[Instruction]:
    """Give the instructions: code, jt, jf, k."""
    return list(struct.iter_unpack(f"{order}HBBI", program))


def seccomp_data(number: int, audit: int, arguments: tuple[int, ...] = (), order: str = "<") -> bytes:
    """Give what the kernel shows to the filter of one call."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    return struct.pack(f"{order}IIQ6Q", number, audit, 0xDEADBEEFCAFE, *padded)


def run(program: list[Instruction], data: bytes, order: str = "<") -> tuple[int, int]:
    """Run a filter; give its verdict and the number of instructions that it took."""
    at = steps = accumulator = 0
    while True:
        code, jt, jf, k = program[at]
        at, steps = at + 1, steps + 1
        if code == BPF_LD_W_ABS:
            assert k % 4 == 0, "the kernel refuses loads that are not aligned"
            (accumulator,) = struct.unpack_from(f"{order}I", data, k)
        elif code in JUMPS:
            at += jt if JUMPS[code](accumulator, k) else jf
        elif code == BPF_AND_K:
            accumulator &= k
        elif code == BPF_JA:
            at += k
        elif code == BPF_RET_K:
            return k, steps
        else:
            raise AssertionError(f"instruction {at - 1}: code {code:#x}")
