"""Unit properties as D-Bus values: from annotations (GVariant's text form) and from cgroup writes.

    org.systemd.property.TimeoutStopSec: "uint64 30"         ->  TimeoutStopUSec (t, 30000000)
    org.systemd.property.After:          "['a.service']"     ->  After           (as, [a.service])
    memory.max 67108864                                      ->  MemoryMax       (t, 67108864)

A value is a pair (D-Bus signature, Python value), as jeepney takes it.

See the GVariant text format of GLib; systemd.resource-control(5), org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import re
from ast import literal_eval
from typing import Any

from minicontainer.errors import SpecError
from minicontainer.runtime.resources import DEFAULT_PERIOD, control_writes

Value = tuple[str, Any]

PREFIX = "org.systemd.property."
INFINITY = 2**64 - 1
SECOND = 1_000_000  # microseconds
PERCENT = SECOND // 100  # systemd keeps quotas as whole percents of a processor
INTEGERS = {
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "int64": "x",
    "uint64": "t",
}
KEYWORDS = {**INTEGERS, "double": "d", "boolean": "b", "string": "s", "objectpath": "o", "signature": "g"}
WIDTHS = {"y": (0, 8), "n": (1, 15), "q": (0, 16), "i": (1, 31), "u": (0, 32), "x": (1, 63), "t": (0, 64)}
TOKEN = re.compile(
    r"""\s*(?: (?P<keyword>@[a-z]+|[a-z]+[0-9]*) | (?P<number>[-+]?[0-9][0-9a-fA-FxX.eE+-]*)
             | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*") | (?P<mark>[\[\],]) )""",
    re.VERBOSE,
)
LEAST_NAME = 3
LIMITS = {
    "memory.max": "MemoryMax",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}
SETS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}
QUOTA_PERIOD_SINCE, SETS_SINCE, IDLE_SINCE = 242, 244, 252  # versions of systemd


# --- annotations --------------------------------------------------------------------------------------------


def annotation_properties(annotations: dict[str, str]) -> dict[str, Value]:
    """Read the unit properties among the annotations; `...Sec` becomes systemd's own `...USec`."""
    found = {}
    for key, written in annotations.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if len(name) < LEAST_NAME or not (name.isascii() and name.isalpha()):
            raise SpecError(f"annotations.{key}", "is not the name of a unit's property")
        value = parse_value(written, f"annotations.{key}")
        if re.search("[a-z]Sec$", name):
            name, value = name.removesuffix("Sec") + "USec", microseconds(value, f"annotations.{key}")
        found[name] = value
    return found


def microseconds(value: Value, path: str) -> Value:
    """Turn seconds into microseconds."""
    if value[0] not in (*WIDTHS, "d") or value[1] < 0:
        raise SpecError(path, "is not a number of seconds")
    return "t", int(value[1] * SECOND)


def parse_value(written: str, path: str) -> Value:
    """Parse GVariant's text form: booleans, numbers, strings and arrays of them. Raises SpecError."""
    tokens = []
    rest = written.rstrip()
    while rest:
        match = TOKEN.match(rest)
        if match is None:
            raise SpecError(path, f'cannot be read as a value from "{rest.strip()}" on')
        tokens.append((str(match.lastgroup), match.group().strip()))
        rest = rest[match.end() :]
    try:
        value = one_value(tokens)
        if tokens:
            raise ValueError(f'"{tokens[0][1]}" is left over')
    except (ValueError, SyntaxError, IndexError) as problem:
        raise SpecError(path, f'"{written}" is not a value: {problem}') from problem
    return value


def one_value(tokens: list[tuple[str, str]], wanted: str = "") -> Value:
    """Take one value off the front of `tokens`, of the type `wanted` when one is named before it."""
    kind, word = tokens.pop(0)
    if kind == "keyword" and word in ("true", "false"):
        return typed("b", word == "true", wanted)
    if kind == "keyword":
        named = word[1:] if word[0] == "@" else KEYWORDS.get(word)
        if not named or wanted:
            raise ValueError(f'"{word}" is no type')
        return one_value(tokens, named)
    if kind == "string":
        # The escapes of a GVariant string are a part of Python's.
        return typed("s", literal_eval(word), wanted)
    if kind == "number":
        return number(word, wanted)
    if word == "[":
        return array(tokens, wanted)
    raise ValueError(f'"{word}" is not expected')


def typed(signature: str, value: Any, wanted: str) -> Value:
    """Check a literal against the type named before it."""
    if wanted and wanted != signature and (signature, wanted) not in (("s", "o"), ("s", "g")):
        raise ValueError(f"a value of type {wanted} is expected")
    return wanted or signature, value


def number(word: str, wanted: str) -> Value:
    """Read a number: an int32 unless a type is named, or a double when it has a point."""
    if wanted == "d" or (not wanted and any(mark in word for mark in ".eE") and "x" not in word.lower()):
        return "d", float(word)
    signature = wanted or "i"
    if signature not in WIDTHS:
        raise ValueError(f"a value of type {wanted} is expected")
    signed, bits = WIDTHS[signature]
    value = int(word, 0)
    if not -signed * 2**bits <= value < 2**bits:
        raise ValueError(f"{word} does not fit into its type")
    return signature, value


def array(tokens: list[tuple[str, str]], wanted: str) -> Value:
    """Read the rest of an array, whose elements are of one type."""
    element = wanted.removeprefix("a")
    values: list[Any] = []
    while tokens[0] != ("mark", "]"):
        if values and tokens.pop(0) != ("mark", ","):
            raise ValueError("a comma is missing")
        element, value = one_value(tokens, element)
        values.append(value)
    tokens.pop(0)
    if not element or (wanted and wanted[0] != "a"):
        raise ValueError("an empty array needs its type before it, as @as")
    return "a" + element, values


# --- resources ----------------------------------------------------------------------------------------------


def resource_properties(resources: dict[str, Any], version: int) -> dict[str, Value]:
    """Tell systemd the limits that it knows, or its next reload would undo what is written to the cgroup."""
    found: dict[str, Value] = {}
    idle = False
    for name, value in control_writes(resources):
        if name in LIMITS:
            found[LIMITS[name]] = ("t", quantity(name, value))
        elif name in SETS and version >= SETS_SINCE:
            found[SETS[name]] = ("ay", cpu_mask(name, value))
        elif name == "cpu.max":
            found.update(cpu_quota(value, version))
        elif name == "cpu.idle":
            idle = value.strip() == "1" and version >= IDLE_SINCE
        elif name == "cpu.weight" or (name == "io.weight" and value.isdecimal()):
            found["CPUWeight" if name == "cpu.weight" else "IOWeight"] = ("t", quantity(name, value))
    return {**found, "CPUWeight": ("t", 0)} if idle else found


def quantity(name: str, value: str) -> int:
    """Read a limit; "max" is infinity. Raises SpecError."""
    if value.strip() == "max":
        return INFINITY
    if not value.strip().isdecimal():
        raise SpecError(f"linux.resources.unified.{name}", f'"{value}" is not a number')
    return int(value)


def cpu_quota(value: str, version: int) -> dict[str, Value]:
    """Turn `quota period` into microseconds for each second, rounded up to whole percents."""
    quota_word, _, period_word = value.strip().partition(" ")
    quota = quantity("cpu.max", quota_word)
    period = quantity("cpu.max", period_word or str(DEFAULT_PERIOD))
    if not period:
        raise SpecError("linux.resources.unified.cpu.max", "the period is 0")
    each_second = INFINITY if quota == INFINITY else -(-(quota * SECOND // period) // PERCENT) * PERCENT
    found: dict[str, Value] = {"CPUQuotaPerSecUSec": ("t", each_second)}
    if version >= QUOTA_PERIOD_SINCE:
        found["CPUQuotaPeriodUSec"] = ("t", period)
    return found


def cpu_mask(name: str, value: str) -> bytes:
    """Turn a list like `0-2,5` into a bit mask, the lowest byte first. Raises SpecError."""
    mask = 0
    for part in value.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        if not part.strip():
            continue
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise SpecError(f"linux.resources.{name}", f'"{value}" is not a list of numbers')
        for bit in range(int(first), int(last or first) + 1):
            mask |= 1 << bit
    if not mask:
        raise SpecError(f"linux.resources.{name}", f'"{value}" is not a list of numbers')
    return mask.to_bytes(-(-mask.bit_length() // 8), "little")
