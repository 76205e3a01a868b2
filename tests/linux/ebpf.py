"""A small machine that runs the eBPF programs of device filters, and what the verifier would refuse.

See bpf(2), <linux/bpf.h>; the kernel's Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import struct

Instruction = tuple[int, int, int, int, int]
EXIT, JUMP = 0x95, 0x05
JUMPS = {JUMP: lambda _r, _k: True, 0x55: lambda r, k: r != k, 0x45: lambda r, k: r & k}
ARITHMETIC = {0xB7: lambda _r, k: k, 0x57: lambda r, k: r & k, 0x77: lambda r, k: r >> k}


def decode(program: bytes) -> list[Instruction]:
    """Give the instructions: code, target, source, offset, operand."""
    return [
        (code, registers & 15, registers >> 4, offset, operand)
        for code, registers, offset, operand in struct.iter_unpack("<BBhi", program)
    ]


def reachable(program: list[Instruction]) -> set[int]:
    """Give the instructions that some way through the program reaches: the verifier wants all of them."""
    seen: set[int] = set()
    todo = [0]
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        code, _, _, offset, _ = program[at]
        if code == JUMP:
            todo.append(at + 1 + offset)
        elif code != EXIT:
            todo.append(at + 1)
            todo += [at + 1 + offset] if code in JUMPS else []
    return seen


def run(program: list[Instruction], kind: int, access: int, major: int, minor: int) -> int:
    """Run a device filter for one access; give register 0."""
    context = struct.pack("<III", access << 16 | kind, major, minor)
    registers: list[int] = [0] * 11
    at = 0
    while True:
        code, target, source, offset, operand = program[at]
        at += 1
        if code == EXIT:
            return registers[0]
        if code in JUMPS:
            at += offset if JUMPS[code](registers[target], operand) else 0
        elif code == 0x61:
            assert source == 1, "the context is in r1"
            (registers[target],) = struct.unpack_from("<I", context, offset)
        elif code == 0xBF:
            registers[target] = registers[source]
        else:
            registers[target] = ARITHMETIC[code](registers[target], operand)
