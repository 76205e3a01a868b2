"""The names and numbers of the system calls, for each architecture that a seccomp profile can speak of.

A name has another number on each architecture, and on some there are two ways in: i386 reaches `socket` by
its own number 359 and by call 1 of `socketcall`, number 102. A profile names calls; a filter sees numbers.

Implements: the tables in syscall_tables/ (made by generate.py there). See syscalls(2), socketcall(2), ipc(2).
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = __file__.rpartition("/")[0] + "/syscall_tables"


class Entry:
    """How one architecture reaches a system call: by a number, through a multiplexer, or both."""

    __slots__ = ("call", "multiplexer", "number")

    def __init__(self, number: int | None, multiplexer: str = "", call: int = 0) -> None:
        self.number = number
        self.multiplexer = multiplexer
        self.call = call


_tables: dict[str, dict[str, Entry]] = {}


def table(architecture: str) -> dict[str, Entry]:
    """Give the system calls of an architecture by name (`x86_64`, `x86`, `x32`, `aarch64`, `arm` ...)."""
    found = _tables.get(architecture)
    if found is None:
        found = _tables[architecture] = dict(_entries(_text(f"{FOLDER}/{architecture}.txt")))
    return found


def _text(path: str) -> str:
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(descriptor, posix.fstat(descriptor).st_size).decode()
    finally:
        posix.close(descriptor)


def _entries(text: str) -> Iterator[tuple[str, Entry]]:
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, number, *way = line.split()
        direct = None if number == "-" else int(number)
        yield name, (Entry(direct, way[0], int(way[1])) if way else Entry(direct))
