"""Read one kernel call as strace prints it, into plain values: the form to which both stories are decoded.

    mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV, NULL) = 0

    text               bytes, unescaped
    3</run/x>          Descriptor("/run/x"): what it names, without its number
    A|B                frozenset({"A", "B"}), one name alone is Name("A")
    12, 0x10, 4*1024   int
    [..], {k=v, ..}    tuple, Struct
    makedev(1, 3)      Macro("makedev", (1, 3))
    /* ... */          left out, and `{in} => {out}` keeps what went in

See strace(1), "OUTPUT FORMAT".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

ESCAPES = {"n": 10, "t": 9, "r": 13, "v": 11, "f": 12, '"': 34, "\\": 92}
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_?]*")
NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]+|[0-9]+)")
COMMENT = re.compile(r"\s*/\*.*?\*/\s*")


class Unreadable(ValueError):
    """The text is not what strace prints."""


@dataclass(frozen=True)
class Descriptor:
    """A descriptor, by what it names; empty where that is not told."""

    target: str


@dataclass(frozen=True)
class Name:
    """A constant by its name."""

    name: str


@dataclass(frozen=True)
class Macro:
    """A value that is written like a call."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Struct:
    """A structure: its members in order; those without a name have the empty one."""

    members: tuple[tuple[str, Any], ...]

    def get(self, name: str, default: Any = None) -> Any:
        """Give a member."""
        return dict(self.members).get(name, default)


@dataclass(frozen=True)
class Line:
    """One line: the call, its arguments, and what came back (None when it did not come back)."""

    name: str
    arguments: tuple[Any, ...]
    result: int | None
    errno: str = ""
    named: str = ""  # what the descriptor names that came back
    outside: int = 0  # a process that came back, as strace itself numbers it, where that differs


def read_line(text: str) -> Line:
    """Read a whole line: a call, and its result where there is one."""
    reader = Reader(text)
    name = reader.match(WORD)
    reader.expect("(")
    arguments = reader.items(")")
    rest = text[reader.at :].strip()
    outside = re.search(r" /\* (\d+) in strace's PID NS \*/", rest)
    rest = rest.replace(outside[0], "") if outside else rest
    if not rest or rest.startswith("= ?"):
        return Line(name, arguments, None)
    found = re.fullmatch(r"= (-?\w+)(?:<(.*)>(?:\(deleted\))?)?(?: (E\w+) \(.*\))?(?: \(.*\))?", rest)
    if not found:
        raise Unreadable(f"no result: {text!r}")
    return Line(
        name, arguments, to_int(found[1]), found[3] or "", found[2] or "", int(outside[1]) if outside else 0
    )


class Reader:
    """A cursor over the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self, sign: str) -> bool:
        """Say whether this comes next."""
        return self.text.startswith(sign, self.at)

    def take(self, sign: str) -> bool:
        """Go on behind this if it comes next."""
        if self.peek(sign):
            self.at += len(sign)
            return True
        return False

    def expect(self, sign: str) -> None:
        """Go on behind this, which must come next."""
        if not self.take(sign):
            raise Unreadable(f"expected {sign!r} at {self.at}: {self.text!r}")

    def match(self, pattern: re.Pattern[str]) -> str:
        """Go on behind what the pattern finds here."""
        found = pattern.match(self.text, self.at)
        if not found:
            raise Unreadable(f"expected {pattern.pattern} at {self.at}: {self.text!r}")
        self.at = found.end()
        return found[0]

    def skip_comment(self) -> None:
        """Leave out a comment, with the blanks around it."""
        found = COMMENT.match(self.text, self.at)
        if found:
            self.at = found.end()

    def items(self, end: str) -> tuple[Any, ...]:
        """Read values up to the closing sign; strace separates those of some lists by blanks only."""
        found = []
        self.skip_comment()
        while not self.take(end):
            named = re.compile(r"[a-z_]+=").match(self.text, self.at)  # clone(child_stack=NULL, ...)
            self.at = named.end() if named else self.at
            found.append(self.value())
            self.skip_comment()
            if not self.take(", ") and not self.take(" ") and not self.peek(end):
                raise Unreadable(f"expected a comma at {self.at}: {self.text!r}")
            self.skip_comment()
        return tuple(found)

    def value(self) -> Any:
        """Read one value."""
        found = self.simple()
        self.skip_comment()
        if self.peek("|"):
            return self.flags(found)
        if self.take(" => "):  # what the kernel wrote back
            self.value()
        return found

    def simple(self) -> Any:
        """Read a value that is no word of flags."""
        if self.take('"'):
            return self.string()
        if self.take("["):
            return self.items("]")
        if self.take("~["):
            return Macro("~", self.items("]"))
        if self.take("{"):
            return self.struct()
        if NUMBER.match(self.text, self.at):
            return self.number()
        return self.word()

    def string(self) -> bytes:
        """Read quoted text behind its opening quote."""
        raw = bytearray()
        while not self.take('"'):
            sign = self.text[self.at : self.at + 1]
            if not sign:
                raise Unreadable(f"the text does not end: {self.text!r}")
            self.at += 1
            raw += self.escape() if sign == "\\" else sign.encode("utf-8", "surrogateescape")
        if self.take("..."):
            raise Unreadable(f"the text was cut off, strace needs a larger -s: {self.text!r}")
        return bytes(raw)

    def escape(self) -> bytes:
        """Read what follows a backslash."""
        sign = self.text[self.at]
        if sign in ESCAPES:
            self.at += 1
            return bytes([ESCAPES[sign]])
        if sign == "x":
            self.at += 3
            return bytes([int(self.text[self.at - 2 : self.at], 16)])
        digits = self.match(re.compile("[0-7]{1,3}"))
        return bytes([int(digits, 8)])

    def struct(self) -> Struct:
        """Read a structure behind its brace."""
        members = []
        while not self.take("}"):
            found = re.compile(r"([a-zA-Z_0-9.]+)=").match(self.text, self.at)
            if found:
                self.at = found.end()
            members.append((found[1] if found else "", self.value()))
            self.skip_comment()
            if not self.take(", ") and not self.peek("}"):
                raise Unreadable(f"expected a comma at {self.at}: {self.text!r}")
        return Struct(tuple(members))

    def number(self) -> Any:
        """Read a number, a product, a shift of a named bit, or a descriptor."""
        first = self.match(NUMBER)
        value = to_int(first)
        if self.peek("<<"):
            self.at += 2
            return (
                Name("1<<" + self.match(WORD))
                if not NUMBER.match(self.text, self.at)
                else value << self.number()
            )
        while self.take("*"):
            value *= to_int(self.match(NUMBER))
        if self.peek("<"):
            return Descriptor(self.target())
        return value

    def target(self) -> str:
        """Read what a descriptor names; it may itself hold angle brackets."""
        start, depth = self.at, 0
        while self.at < len(self.text):
            depth += {"<": 1, ">": -1}.get(self.text[self.at], 0)
            # `socket:[1]->[2]` holds an arrow that closes nothing.
            if self.text[self.at] == ">" and self.text[self.at - 1] == "-":
                depth += 1
            self.at += 1
            if depth == 0:
                break
        named = self.text[start + 1 : self.at - 1]
        self.take("(deleted)")
        below = re.compile(r"/[\w./-]+").match(self.text, self.at)  # `7</sys/fs/cgroup/x>/cgroup.procs`
        if below:
            self.at = below.end()
            named += below[0]
        return named

    def word(self) -> Any:
        """Read a name, or something that is written like a call."""
        name = self.match(WORD)
        if self.take("("):
            return Macro(name, self.items(")"))
        if name == "NULL":
            return None
        if name == "AT_FDCWD" and self.peek("<"):
            self.target()
        return Name(name)

    def flags(self, first: Any) -> frozenset[Any]:
        """Read the rest of a word of flags."""
        found = [first]
        while self.take("|"):
            found.append(self.simple())
            self.skip_comment()
        return frozenset(value.name if isinstance(value, Name) else value for value in found)


def to_int(text: str) -> int:
    """Read a number as C writes it: a leading zero means octal."""
    digits = text.lstrip("-")
    if len(digits) > 1 and digits.startswith("0") and digits.isdigit():
        return int(text, 8)
    return int(text, 0)
