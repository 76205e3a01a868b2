"""The seccomp compiler: from the `linux.seccomp` object of a container to the program that the kernel runs.

    profile (names, conditions)          seccomp_rules       what each number's rules are
      -> verdict of each number          seccomp_intervals   where on the line of numbers the verdict changes
      -> intervals of equal verdict      seccomp_tree        a balanced search, argument tests at the leaves
      -> tree -> instructions            seccomp_program     the assembler

    ld arch; x86-64? -> tree of x86-64 and x32;  i386? -> tree of i386;  else kill

It answers as runc does with libseccomp for every number, architecture and argument (the tests compare the
two) with a third of the instructions. Loaded only when the cache has no compiled filter for the profile.

Implements: runtime-spec config-linux.md, "Seccomp". See seccomp(2).
"""

from __future__ import annotations

from minicontainer.linux.seccomp_architectures import chosen
from minicontainer.linux.seccomp_intervals import BAD_ARCHITECTURE, intervals
from minicontainer.linux.seccomp_program import ARCHITECTURE, BPF_JEQ, Program
from minicontainer.linux.seccomp_rules import default_action
from minicontainer.linux.seccomp_tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.linux.seccomp_architectures import Architecture


def compile_filter(seccomp: dict[str, Any], machine: str) -> bytes:
    """Compile a validated `linux.seccomp` object for a machine as uname(2) names it.

    The result is an array of `struct sock_filter`. A rule that the specification forbids raises SpecError, an
    architecture or a size that cannot be had Unsupported.
    """
    architectures = chosen(seccomp.get("architectures") or [], machine)
    families = _families(architectures)
    program = Program(little=architectures[0].little)
    tree = Tree(program, default_action(seccomp))
    # The program grows from its end: the machine's own architecture is written last, to be asked about first.
    addresses = [(audit, tree.write(intervals(seccomp, families[audit]))) for audit in reversed(families)]
    address = program.ret(BAD_ARCHITECTURE)
    for audit, section in addresses:
        address = program.test(BPF_JEQ, audit, section, address)
    program.load(ARCHITECTURE)
    return bytes(program)


def _families(architectures: list[Architecture]) -> dict[int, list[Architecture]]:
    families: dict[int, list[Architecture]] = {}
    for architecture in architectures:
        families.setdefault(architecture.audit, []).append(architecture)
    return families
