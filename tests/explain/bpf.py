"""Programs for the kernel as strace -v writes them, back to the bytes that the kernel was given.

    BPF_STMT(BPF_LD|BPF_W|BPF_ABS, 0x4)          seccomp: code 16 bit, jt 0, jf 0, k 32 bit
    BPF_JUMP(BPF_JMP|BPF_K|BPF_JEQ, 0x3e, 0, 1)  code, k, jt, jf
    {code=BPF_LDX|BPF_MEM|BPF_W, dst_reg=BPF_REG_2, src_reg=BPF_REG_1, off=0, imm=0}    devices: eBPF

See <linux/bpf_common.h>, <linux/filter.h>, <linux/bpf.h>.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from tests.explain.words import Macro, Name, Struct, Unreadable

CODES = {
    "BPF_LD": 0x00, "BPF_LDX": 0x01, "BPF_ST": 0x02, "BPF_STX": 0x03,
    "BPF_ALU": 0x04, "BPF_JMP": 0x05, "BPF_RET": 0x06, "BPF_MISC": 0x07,
    "BPF_W": 0x00, "BPF_H": 0x08, "BPF_B": 0x10,
    "BPF_IMM": 0x00, "BPF_ABS": 0x20, "BPF_IND": 0x40, "BPF_MEM": 0x60, "BPF_LEN": 0x80, "BPF_MSH": 0xA0,
    "BPF_ADD": 0x00, "BPF_SUB": 0x10, "BPF_MUL": 0x20, "BPF_DIV": 0x30, "BPF_OR": 0x40, "BPF_AND": 0x50,
    "BPF_LSH": 0x60, "BPF_RSH": 0x70, "BPF_NEG": 0x80, "BPF_MOD": 0x90, "BPF_XOR": 0xA0,
    "BPF_JA": 0x00, "BPF_JEQ": 0x10, "BPF_JGT": 0x20, "BPF_JGE": 0x30, "BPF_JSET": 0x40,
    "BPF_K": 0x00, "BPF_X": 0x08, "BPF_A": 0x10, "BPF_TAX": 0x00, "BPF_TXA": 0x80,
}  # fmt: skip
ACTIONS = {
    "SECCOMP_RET_KILL_PROCESS": 0x80000000, "SECCOMP_RET_KILL_THREAD": 0, "SECCOMP_RET_KILL": 0,
    "SECCOMP_RET_TRAP": 0x00030000, "SECCOMP_RET_ERRNO": 0x00050000, "SECCOMP_RET_USER_NOTIF": 0x7FC00000,
    "SECCOMP_RET_TRACE": 0x7FF00000, "SECCOMP_RET_LOG": 0x7FFC0000, "SECCOMP_RET_ALLOW": 0x7FFF0000,
}  # fmt: skip


# The same names mean other numbers in eBPF, and some depend on the class of the instruction.
EBPF = CODES | {
    "BPF_JMP32": 0x06, "BPF_ALU64": 0x07, "BPF_DW": 0x18, "BPF_XADD": 0xC0, "BPF_ATOMIC": 0xC0,
    "BPF_MOV": 0xB0, "BPF_ARSH": 0xC0, "BPF_END": 0xD0, "BPF_JNE": 0x50, "BPF_JSGT": 0x60, "BPF_JSGE": 0x70,
    "BPF_CALL": 0x80, "BPF_EXIT": 0x90, "BPF_JLT": 0xA0, "BPF_JLE": 0xB0, "BPF_JSLT": 0xC0, "BPF_JSLE": 0xD0,
}  # fmt: skip


def assemble_ebpf(program: tuple[Any, ...]) -> bytes:
    """Give the program as an array of struct bpf_insn."""
    return b"".join(map(ebpf_instruction, program))


def ebpf_instruction(shown: Any) -> bytes:
    """Give one struct bpf_insn."""
    if not isinstance(shown, Struct):
        raise Unreadable(f"not an instruction: {shown!r}")
    target, source = (register(shown.get(name)) for name in ("dst_reg", "src_reg"))
    offset, immediate = shown.get("off"), shown.get("imm")
    return struct.pack("<BBhi", word(shown.get("code"), EBPF), source << 4 | target, offset, immediate)


def register(value: Any) -> int:
    """Give the number of a register."""
    return value if isinstance(value, int) else int(value.name.removeprefix("BPF_REG_"))


def assemble(filter_: tuple[Any, ...]) -> bytes:
    """Give the program as an array of struct sock_filter."""
    return b"".join(map(instruction, filter_))


def instruction(macro: Any) -> bytes:
    """Give one struct sock_filter."""
    if not isinstance(macro, Macro):
        raise Unreadable(f"not an instruction: {macro!r}")
    code, k, *jumps = macro.arguments
    yes, no = jumps if macro.name == "BPF_JUMP" else (0, 0)
    return struct.pack("<HBBI", word(code, CODES), yes, no, word(k, ACTIONS))


def word(value: Any, names: Mapping[str, int]) -> int:
    """Give the number of a word of flags."""
    if isinstance(value, int):
        return value
    parts = value if isinstance(value, frozenset) else {value.name if isinstance(value, Name) else value}
    total = 0
    for part in parts:
        total |= part if isinstance(part, int) else names[part]
    return total
