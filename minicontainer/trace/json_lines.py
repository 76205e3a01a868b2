"""Writing JSON without the json package: one value, one line, the same text for the same value.

The json package costs 7 ms of start-up (it is `re` that costs); its C core alone costs nothing.

See RFC 8259.
"""

from __future__ import annotations

from _json import encode_basestring_ascii as quoted


def dumps(value: object) -> str:
    """Write a value of str, int, float, bool, None, list, tuple and dict as compact JSON.

    Bytes are written as text, undecodable ones as lone surrogates (PEP 383). Raises TypeError for anything
    else.
    """
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value + 0)  # + 0: an IntFlag is written as its number
    if isinstance(value, list | tuple):
        return "[" + ",".join([dumps(item) for item in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([quoted(str(key)) + ":" + dumps(item) for key, item in value.items()]) + "}"
    if isinstance(value, bytes):
        return quoted(value.decode("utf-8", "surrogateescape"))
    raise TypeError(f"{type(value).__name__} is not a JSON value")
