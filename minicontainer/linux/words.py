"""How single arguments are written, as by strace: text quoted, flags by name, descriptors with their target.

An argument is what a wrapper was given, or what came back from a trace file: there a descriptor is
`[number, what it names]` and bytes are text.

See strace(1), "OUTPUT FORMAT".
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from enum import IntEnum, IntFlag

from minicontainer.linux.flags import FileType, Open

Speller = Callable[[object], str]
AT_FDCWD = -100
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\v": "\\v", "\f": "\\f"}


def raw(value: object) -> bytes:
    """Turn text of a trace file back into the bytes it was made of."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def whole(value: object) -> int:
    """Take a number as one."""
    if not isinstance(value, int):
        raise TypeError(f"{value!r}: not a number")
    return value


def anything(value: object) -> str:
    """Write a value of which nothing is known but its type."""
    if value is None:
        return "NULL"
    if isinstance(value, bool) or not isinstance(value, int | str | bytes | list | tuple | dict):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={anything(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(anything, value)) + "]"
    return text(value) if isinstance(value, str | bytes) else str(value + 0)


def text(value: object) -> str:
    """Write a string, NULL for None."""
    if value is None:
        return "NULL"
    shown = raw(value).decode("utf-8", "surrogateescape")
    return '"' + "".join(map(_character, shown)) + '"'


def _character(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return ESCAPES.get(letter) or (letter if letter.isprintable() else f"\\x{ord(letter):02x}")


def descriptor(value: object) -> str:
    """Write a descriptor as `7`, or as `7</run/x>` when it is known what it names."""
    number, target = value if isinstance(value, list | tuple) else (value, "")
    if number == AT_FDCWD:
        return "AT_FDCWD"
    return f"{number}<{target}>" if target else str(number)


def octal(value: object) -> str:
    """Write a mode or a mask."""
    return f"0{whole(value):o}".zfill(3)


def hexadecimal(value: object) -> str:
    """Write a bit word without names."""
    return hex(whole(value)) if value else "0"


def mode(value: object) -> str:
    """Write the mode of a new file: its type and its permissions."""
    kind, permissions = whole(value) & 0o170000, whole(value) & 0o7777
    return f"{FileType(kind).name}|{octal(permissions)}" if kind else octal(permissions)


def device(value: object) -> str:
    """Write a device number."""
    number = whole(value)
    major = number >> 8 & 0xFFF | number >> 32 & ~0xFFF
    minor = number & 0xFF | number >> 12 & ~0xFF
    return f"makedev({major:#x}, {minor:#x})" if number else "0"


def flags(kind: type[IntFlag]) -> Speller:
    """Make a speller for a word of flags: names joined by `|`, what has none as a hexadecimal number."""
    named = {member.value: name for name, member in kind.__members__.items() if member.value}
    # A mask of several bits stands before its parts, so that it is written as one word.
    order = sorted(named, key=lambda value: value.bit_count() == 1)

    def spell(value: object) -> str:
        left, words = whole(value), []
        for bits in order:
            if left & bits == bits:
                words.append(named[bits])
                left &= ~bits
        return "|".join(words + ([hex(left)] if left else [])) or "0"

    return spell


def opening(value: object) -> str:
    """Write the flags of open(2), of which reading only is the absence of others."""
    word = flags(Open)(value)
    if whole(value) & 3:
        return word
    return "O_RDONLY" if word == "0" else f"O_RDONLY|{word}"


def one_of(kind: type[IntEnum] | Mapping[str, int]) -> Speller:
    """Make a speller for a choice among numbers."""
    members = kind if isinstance(kind, Mapping) else kind.__members__
    named = {int(number): name for name, number in members.items()}
    return lambda value: named.get(whole(value), anything(value))


def sequence(item: Speller, between: str = ", ") -> Speller:
    """Make a speller for a list."""
    return lambda value: "[" + between.join(map(item, value if isinstance(value, list | tuple) else [])) + "]"


def signal_name(value: object) -> str:
    """Write a signal by its name."""
    number = whole(value)
    first, last = int(signal.SIGRTMIN), int(signal.SIGRTMAX)
    if first < number < last:
        return f"SIGRT_{number - 32}"
    return signal.Signals(number).name if number in signal.valid_signals() else str(number)
