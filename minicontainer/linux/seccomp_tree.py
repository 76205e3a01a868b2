"""Third part of the seccomp compiler: a balanced tree over the intervals, the argument tests at its leaves.

                        jge #39                  seven or eight comparisons lead to a verdict
                   no .----+----. yes            on any of 470 calls
               jge #16          jge #102
              .---+---.        .---+----.
            ALLOW   rules    ERRNO    ALLOW

On the way to a verdict that looks at no argument there are only jumps on the number. From such paths the
kernel learns at load time which calls are always allowed, and lets those pass without running the filter.

See seccomp(2); kernel/seccomp.c, "seccomp_is_const_allow".
"""

from __future__ import annotations

from minicontainer.linux.seccomp_program import BPF_JEQ, BPF_JGE, BPF_JGT, NUMBER
from minicontainer.linux.seccomp_rules import EQ, GT, LOW_BITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.linux.seccomp_intervals import Interval
    from minicontainer.linux.seccomp_program import Program
    from minicontainer.linux.seccomp_rules import Condition, Rule


class Tree:
    """Writes trees into a program; equal leaves are written once."""

    __slots__ = ("_default", "_leaves", "_program")

    def __init__(self, program: Program, default: int) -> None:
        self._program = program
        self._default = default
        self._leaves: dict[tuple[Rule, ...], int] = {}

    def write(self, line: list[Interval]) -> int:
        """Write the search for a number's interval; give the address at which it begins."""
        root = self._search(line)
        return self._program.load(NUMBER) if len(line) > 1 else root

    def _search(self, line: list[Interval]) -> int:
        if len(line) == 1:
            verdict = line[0][1]
            return self._program.ret(verdict) if isinstance(verdict, int) else self._rules(verdict)
        middle = len(line) // 2
        upper = self._search(line[middle:])
        lower = self._search(line[:middle])
        return self._program.test(BPF_JGE, line[middle][0], upper, lower)

    def _rules(self, rules: tuple[Rule, ...]) -> int:
        known = self._leaves.get(rules)
        if known is None:
            known = self._program.ret(self._default)
            for conditions, action in reversed(rules):
                known = self._rule(conditions, action, known)
            self._leaves[rules] = known
        return known

    def _rule(self, conditions: tuple[Condition, ...], action: int, otherwise: int) -> int:
        address = self._program.ret(action)
        for condition in reversed(conditions):
            address = self._condition(condition, address, otherwise)
        return address

    def _condition(self, condition: Condition, then: int, otherwise: int) -> int:
        argument, test, mask, value, wanted = condition
        yes, no = (then, otherwise) if wanted else (otherwise, then)
        if test == EQ:
            return self._equal(argument, mask, value, yes, no)
        return self._greater(argument, mask, (BPF_JGT if test == GT else BPF_JGE, value), yes, no)

    def _equal(self, argument: int, mask: int, value: int, yes: int, no: int) -> int:
        """Compare the masked halves, the high one first; a half without mask bits is equal in any case."""
        for high in (False, True):
            bits, wanted = (mask >> 32, value >> 32) if high else (mask & LOW_BITS, value & LOW_BITS)
            if bits:
                self._program.test(BPF_JEQ, wanted, yes, no)
                if bits != LOW_BITS:
                    self._program.mask(bits)
                yes = self._program.load_half(argument, high=high)
        return yes

    def _greater(self, argument: int, mask: int, test: tuple[int, int], yes: int, no: int) -> int:
        """Compare the low half where the high one is equal; a register of 32 bits has no high one."""
        jump, value = test
        low = self._program.test(jump, value & LOW_BITS, yes, no)
        low = self._program.load_half(argument, high=False)
        if mask == LOW_BITS:
            return low
        equal = self._program.test(BPF_JEQ, value >> 32, low, no)
        self._program.test(BPF_JGT, value >> 32, yes, equal)
        return self._program.load_half(argument, high=True)
