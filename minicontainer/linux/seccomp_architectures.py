"""The architectures of a seccomp filter: how the kernel names each, and how wide its registers are.

    audit value    what `seccomp_data.arch` holds when a process makes a call. x32 has no value of its own:
                   it is x86-64 with bit 30 of the call's number set.
    wide           arguments have 64 bits; on the others only the low half is compared, as libseccomp does.

See seccomp(2), "struct seccomp_data"; <linux/audit.h>; runtime-spec config-linux.md, "Seccomp".
"""

from __future__ import annotations

from minicontainer.errors import SpecError, Unsupported

X32_SYSCALL_BIT = 1 << 30


class Architecture:
    """One architecture. Its `name` is that of its table of system calls."""

    __slots__ = ("audit", "little", "name", "wide")

    def __init__(self, name: str, audit: int, *, wide: bool, little: bool = True) -> None:
        self.name = name
        self.audit = audit
        self.wide = wide
        self.little = little


X86_64 = Architecture("x86_64", 0xC000003E, wide=True)
X32 = Architecture("x32", 0xC000003E, wide=False)

ARCHITECTURES = {
    "SCMP_ARCH_X86_64": X86_64,
    "SCMP_ARCH_X86": Architecture("x86", 0x40000003, wide=False),
    "SCMP_ARCH_X32": X32,
    "SCMP_ARCH_AARCH64": Architecture("aarch64", 0xC00000B7, wide=True),
    "SCMP_ARCH_ARM": Architecture("arm", 0x40000028, wide=False),
    "SCMP_ARCH_RISCV64": Architecture("riscv64", 0xC00000F3, wide=True),
    "SCMP_ARCH_LOONGARCH64": Architecture("loongarch64", 0xC0000102, wide=True),
    "SCMP_ARCH_PPC64LE": Architecture("ppc64le", 0xC0000015, wide=True),
    "SCMP_ARCH_S390X": Architecture("s390x", 0x80000016, wide=True, little=False),
    "SCMP_ARCH_S390": Architecture("s390", 0x00000016, wide=False, little=False),
}
"""By the names of the runtime-spec. MIPS, PA-RISC and big-endian POWER are missing: no table for them."""

MACHINES = {
    "x86_64": "SCMP_ARCH_X86_64",
    "i386": "SCMP_ARCH_X86",
    "i486": "SCMP_ARCH_X86",
    "i586": "SCMP_ARCH_X86",
    "i686": "SCMP_ARCH_X86",
    "aarch64": "SCMP_ARCH_AARCH64",
    "armv6l": "SCMP_ARCH_ARM",
    "armv7l": "SCMP_ARCH_ARM",
    "armv8l": "SCMP_ARCH_ARM",
    "riscv64": "SCMP_ARCH_RISCV64",
    "loongarch64": "SCMP_ARCH_LOONGARCH64",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "s390x": "SCMP_ARCH_S390X",
}
"""uname(2)'s machine -> the runtime-spec's name."""


def native(machine: str) -> Architecture:
    """Give the architecture of a machine as uname(2) names it."""
    if machine not in MACHINES:
        raise Unsupported(f"seccomp: the machine {machine} is not known")
    return ARCHITECTURES[MACHINES[machine]]


def chosen(names: list[str], machine: str) -> list[Architecture]:
    """Give the architectures of a filter: the machine's own in any case, then those of the list."""
    own = native(machine)
    found = [own]
    for index, name in enumerate(names):
        architecture = _named(name, f"linux.seccomp.architectures[{index}]")
        if architecture.little != own.little:
            raise Unsupported(f"seccomp: {name} does not have the byte order of {machine}")
        if architecture not in found:
            found.append(architecture)
    return found


def _named(name: str, path: str) -> Architecture:
    if not name.startswith("SCMP_ARCH_"):
        raise SpecError(path, f"{name} is not an architecture")
    if name not in ARCHITECTURES:
        raise Unsupported(f"{path}: there is no table of system calls for {name}")
    return ARCHITECTURES[name]
