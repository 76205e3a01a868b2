"""Write the tables of system calls beside this file, from what an installed libseccomp knows.

Run it when a newer libseccomp is at hand: `python3 generate.py [libseccomp.so.2]`. The tables are part of the
source, so that the runtime needs neither the library nor the kernel's headers.

A line is `NAME NUMBER`, or `NAME NUMBER MULTIPLEXER CALL` where a second way leads to the same call: on i386
the sockets are also reached through `socketcall(2)`, System V IPC through `ipc(2)`. A call without a number
of its own has `-` there.

See seccomp_syscall_resolve_name(3), socketcall(2), ipc(2).
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

ARCHITECTURES = {
    "x86_64": 0xC000003E,
    "x86": 0x40000003,
    "x32": 0x4000003E,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
    "riscv64": 0xC00000F3,
    "loongarch64": 0xC0000102,
    "ppc64le": 0xC0000015,
    "s390x": 0x80000016,
    "s390": 0x00000016,
}
"""The tokens of <seccomp.h>: the kernel's AUDIT_ARCH_*, except for x32, which has none of its own."""

NUMBERS = [*range(1200), *range(0x40000000, 0x40000000 + 1200), *range(0xF0000, 0xF0000 + 16)]
"""Where system calls lie: everywhere, x32, and the private ones of arm."""
PSEUDO = range(-10400, 0)
"""What libseccomp answers for a name without a number; -1xx and -2xx are the multiplexed ones."""
MULTIPLEXERS = {1: "socketcall", 2: "ipc"}


class Libseccomp:
    """The three functions that are needed of the library."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._libc = ctypes.CDLL(None)
        self._name_of = self._library.seccomp_syscall_resolve_num_arch
        self._name_of.argtypes, self._name_of.restype = [ctypes.c_uint32, ctypes.c_int], ctypes.c_void_p
        self._number_of = self._library.seccomp_syscall_resolve_name_arch
        self._number_of.argtypes, self._number_of.restype = [ctypes.c_uint32, ctypes.c_char_p], ctypes.c_int
        self._version = self._library.seccomp_version
        self._version.restype = ctypes.POINTER(ctypes.c_uint * 3)

    def version(self) -> str:
        """Give for example 2.6.1."""
        return ".".join(str(part) for part in self._version().contents)

    def name_of(self, token: int, number: int) -> str | None:
        """Give the name of a number on an architecture."""
        found = self._name_of(token, number)
        if not found:
            return None
        name = ctypes.string_at(found).decode()
        self._libc.free(ctypes.c_void_p(found))
        return name

    def number_of(self, token: int, name: str) -> int:
        """Give the number of a name: negative where the architecture has no such call."""
        return int(self._number_of(token, name.encode()))


def all_names(library: Libseccomp) -> set[str]:
    """Collect the names that the library knows on any architecture."""
    found = {library.name_of(token, n) for token in ARCHITECTURES.values() for n in (*NUMBERS, *PSEUDO)}
    return {name for name in found if name}


def line(library: Libseccomp, token: int, name: str, direct: dict[str, int]) -> str | None:
    """Give the table's line of one name, None where the architecture has no such call."""
    number = library.number_of(token, name)
    if number >= 0:
        return f"{name} {number}"
    family, call = divmod(-number, 100)
    multiplexer = MULTIPLEXERS.get(family)
    if multiplexer is None or call == 0 or library.number_of(token, multiplexer) < 0:
        return None
    return f"{name} {direct.get(name, '-')} {multiplexer} {call}"


def table(library: Libseccomp, architecture: str, names: set[str]) -> str:
    """Give the text of one table."""
    token = ARCHITECTURES[architecture]
    direct = {name: number for number in NUMBERS if (name := library.name_of(token, number))}
    lines = [text for name in sorted(names) if (text := line(library, token, name, direct))]
    head = f"# System calls of {architecture} in libseccomp {library.version()}; made by generate.py."
    return "\n".join([head, *lines, ""])


def main(path: str = "libseccomp.so.2") -> None:
    """Write all tables."""
    library = Libseccomp(path)
    names = all_names(library)
    for architecture in ARCHITECTURES:
        (Path(__file__).parent / f"{architecture}.txt").write_text(table(library, architecture, names))


if __name__ == "__main__":
    main(*sys.argv[1:])
