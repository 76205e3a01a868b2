"""The assembler of the seccomp compiler: classic BPF, written from its end to its beginning.

All jumps of a filter go forward. So the last instruction is written first, and a jump's target is always
there already: an *address* counts the instructions that stand after it. A conditional jump reaches 255
instructions; for a farther target one instruction is put between, a copy of a `ret` or a long jump.

    address  4        3            2         1            0
             ld [nr]  jge #3, 1,2  ja ...    ret ALLOW    ret ERRNO

See bpf(4) of BSD, <linux/bpf_common.h>, <linux/filter.h>; seccomp(2), "struct seccomp_data".
"""

from __future__ import annotations

from _struct import pack

from minicontainer.errors import Unsupported

BPF_LD, BPF_JMP_JA, BPF_JEQ, BPF_JGT, BPF_JGE, BPF_RET, BPF_AND = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06, 0x54
BPF_MAXINSNS = 4096
NEAR = 254  # one less than a jump reaches: the other branch may still need an instruction between
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data


class Program:
    """A filter that grows from its end."""

    __slots__ = ("_code", "_returns", "little")

    def __init__(self, *, little: bool) -> None:
        self.little = little
        self._code: list[tuple[int, int, int, int]] = []
        self._returns: dict[int, int] = {}

    def _write(self, code: int, yes: int, no: int, operand: int) -> int:
        self._code.append((code, yes, no, operand))
        return len(self._code) - 1

    def _skips(self, target: int) -> int:
        """Count the instructions between the one to be written next and its target."""
        return len(self._code) - target - 1

    def ret(self, action: int) -> int:
        """Give the address of `ret action`; near ones are shared."""
        known = self._returns.get(action)
        if known is None or self._skips(known) >= NEAR:
            known = self._returns[action] = self._write(BPF_RET, 0, 0, action)
        return known

    def test(self, jump: int, operand: int, yes: int, no: int) -> int:
        """Write a conditional jump on the accumulator."""
        yes, no = self._near(yes), self._near(no)
        return self._write(jump, self._skips(yes), self._skips(no), operand)

    def _near(self, target: int) -> int:
        if self._skips(target) < NEAR:
            return target
        code, _, _, operand = self._code[target]
        return self.ret(operand) if code == BPF_RET else self._write(BPF_JMP_JA, 0, 0, self._skips(target))

    def mask(self, bits: int) -> int:
        """Write the AND of the accumulator, before the instruction that was written last."""
        return self._write(BPF_AND, 0, 0, bits)

    def load(self, offset: int) -> int:
        """Write the loading of 32 bits of seccomp_data, before the instruction that was written last."""
        return self._write(BPF_LD, 0, 0, offset)

    def load_half(self, argument: int, *, high: bool) -> int:
        """Write the loading of one half of an argument, before the instruction that was written last."""
        return self.load(ARGUMENTS + 8 * argument + (4 if high == self.little else 0))

    def __bytes__(self) -> bytes:
        """Give the array of struct sock_filter, in the byte order of the machine it is for."""
        if len(self._code) > BPF_MAXINSNS:
            raise Unsupported(f"seccomp: {len(self._code)} instructions, the kernel takes {BPF_MAXINSNS}")
        form = "<HBBI" if self.little else ">HBBI"
        return b"".join([pack(form, *instruction) for instruction in reversed(self._code)])
