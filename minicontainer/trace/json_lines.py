"""Writing JSON without the json package: one value, one line; or over several lines, for people.

The json package costs 7 ms of start-up (it is `re` that costs); the encoder of its C core costs nothing.

See RFC 8259; <Python>/Modules/_json.c.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder


def dumps(value: object) -> str:
    """Write a value of str, bytes, int, float, bool, None, list, tuple and dict as compact ASCII.

    Bytes are written as text, undecodable ones as lone surrogates (PEP 383). Raises ValueError for NaN and
    Infinity, TypeError for any other type.
    """
    return "".join(_encode(value, 0))


def dump_indented(value: object, step: str, indent: str = "") -> str:
    """Write a value the way that Go's MarshalIndent does, each level `step` deeper; no newline at the end."""
    deeper = indent + step
    if isinstance(value, dict) and value:
        lines = [f"{deeper}{dumps(key)}: {dump_indented(item, step, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        lines = [deeper + dump_indented(item, step, deeper) for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return dumps(value)


def _text_of_bytes(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode = make_encoder(None, _text_of_bytes, encode_basestring_ascii, None, ":", ",", False, False, False)
