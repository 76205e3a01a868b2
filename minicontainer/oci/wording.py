"""The words of a complaint about a value; cold, because a right config needs none of them.

A value is quoted in ASCII and cut short: it came from outside and ends up in one line of a log or a terminal.
"""

from __future__ import annotations

from minicontainer.oci import shape
from minicontainer.oci.json_text import quote

_LONGEST = 60

_KINDS: dict[type[shape.Rule], str] = {
    shape.Flag: "true or false",
    shape.Text: "a string",
    shape.Texts: "a list of strings",
    shape.ListOf: "a list",
    shape.TextMap: "an object with strings",
    shape.MapOf: "an object",
    shape.Object: "an object",
}


def expectation(rule: shape.Rule) -> str:
    """Complete "expected ..." for a rule."""
    match rule:
        case shape.Integer(low=low, high=high):
            return f"an integer from {low} to {high}"
        case shape.Spelling(what=what):
            return what
        case shape.Choice(words=words):
            return "one of " + ", ".join(quote(word) for word in sorted(words))
        case shape.Texts(least=1):
            return "a list of at least one string"
    return _KINDS[type(rule)]


def finding(value: object) -> str:
    """Name a decoded JSON value."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int() if value.bit_length() > _LONGEST * 4:
            return "a number of very many digits"
        case int() | float():
            return f"the number {value!r}"
        case str():
            return f"the string {quoted(value)}"
        case list():
            return "a list"
    return "an object"


def quoted(text: str) -> str:
    """Quote a string that came from outside."""
    return quote(shortened(text))


def bracketed(key: object) -> str:
    """Write a freely chosen key as a step of a path, as `["net.ipv4.ip_forward"]`."""
    return f"[{quoted(key) if isinstance(key, str) else repr(key)}]"


def shortened(text: str) -> str:
    """Cut a text to a length that a log line can bear."""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
