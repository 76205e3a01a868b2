"""Reading JSON, stricter than the json module and without importing it (json costs 7 ms of start-up).

Refused, because two readers of the same file could understand different things, or because no system call
could take it: a key twice in one object, NaN and Infinity, numbers beyond a double, half a surrogate pair,
NUL, anything after the value, bytes that are not UTF-8, more than `MAX_DEPTH` levels or `MAX_BYTES`.

The scanner is that of CPython's `_json`; what it refuses is named in json_errors.py.

See RFC 8259, RFC 7493 (I-JSON); trace/json_lines.py writes JSON.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_scanner

from minicontainer.errors import SpecError

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 500

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def loads(raw: bytes | str, limit: int = MAX_BYTES, ours: bool = False) -> object:
    """Parse one JSON value of at most `limit` bytes (of characters, for a str); raises SpecError.

    `ours` says that we wrote the text ourselves: halves of surrogate pairs are kept, because they stand for
    the bytes of a path that is not UTF-8, as posix.getcwd() gives it.
    """
    if len(raw) > limit:
        raise SpecError("", f"the JSON text is larger than {limit} bytes")
    text = raw if isinstance(raw, str) else _decode(raw)
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise SpecError("", f"the JSON text is nested more than {MAX_DEPTH} levels deep")
    value = _scan(text)
    if not ours and ("\\u0000" in text or "\\ud" in text or "\\uD" in text):
        from minicontainer.oci.json_errors import refuse_odd_characters

        refuse_odd_characters(value, "")
    return value


def quote(text: str) -> str:
    """Write one string as JSON, in ASCII."""
    return encode_basestring_ascii(text)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise SpecError("", f"the JSON text is not UTF-8: byte {problem.start} is wrong") from None


def _scan(text: str) -> object:
    start = 0
    if text[:1] in _BLANK:
        start = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = _scan_with_words(text, start)
    except (StopIteration, ValueError) as problem:
        from minicontainer.oci.json_errors import syntax_error

        raise syntax_error(text, problem) from None
    except RecursionError:
        raise SpecError("", "the JSON text is nested too deeply") from None
    if end != len(text) and (rest := text[end:].lstrip(_BLANK)):
        from minicontainer.oci.json_errors import place

        where = place(text, len(text) - len(rest))
        raise SpecError("", f"invalid JSON: unexpected text after the value at {where}")
    return value


def _scan_with_words(text: str, start: int) -> tuple[Any, int]:
    """Scan. The scanner needs json.decoder to name an error, which is imported then and not before."""
    try:
        return _scan_once(text, start)
    except SystemError:
        import json.decoder  # noqa: F401

        return _scan_once(text, start)


def _depth(text: str) -> int:
    """Count the levels of brackets outside strings; slow, so only for texts with very many brackets."""
    deepest = level = 0
    inside = skip = False
    for character in text:
        if skip:
            skip = False
        elif inside:
            skip = character == "\\"
            inside = character != '"'
        elif character == '"':
            inside = True
        elif character in "[{":
            level += 1
            deepest = max(deepest, level)
        elif character in "]}":
            level -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        from minicontainer.oci.json_errors import first_repeated

        twice = quote(first_repeated(pairs))
        raise SpecError("", f"invalid JSON: the key {twice} appears twice in one object")
    return members


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise SpecError("", f"invalid JSON: the number {digits[:40]} is too large")
    return number


def _constant(name: str) -> float:
    raise SpecError("", f"invalid JSON: {name} is not a number that JSON knows")


class _Rules:
    """What CPython's scanner asks its JSONDecoder for."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_object)
    parse_float = staticmethod(_float)
    parse_int = int
    parse_constant = staticmethod(_constant)


_BLANK = " \t\r\n"
_scan_once = make_scanner(_Rules)  # type: ignore[arg-type] # any object with these attributes will do
