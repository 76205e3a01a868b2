"""What is wrong with a JSON text: found out only when the scanner has refused it.

A cut-off text is named as Go's decoder names it, because callers of runc know those words.

See RFC 8259, RFC 7493 (I-JSON).
"""

from __future__ import annotations

from minicontainer.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLANK = " \t\r\n"
HEXADECIMAL = "0123456789abcdefABCDEF"
UNFINISHED = ("true", "false", "null", "-", ".", "e-", "e+", "E-", "E+")


def refuse_odd_characters(value: object, path: str) -> None:
    """Name the string that no system call could take: reached only if the text escapes such a character."""
    if isinstance(value, str):
        if "\0" in value:
            raise SpecError(path, "a string must not contain a NUL character")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise SpecError(path, "a string must not contain half of a surrogate pair")
    elif isinstance(value, list):
        for index, element in enumerate(value):
            refuse_odd_characters(element, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, element in value.items():
            refuse_odd_characters(key, path)
            refuse_odd_characters(element, f"{path}.{key}" if path else key)


def syntax_error(text: str, problem: Exception) -> SpecError:
    """Word the scanner's complaint; a text that only stops too early is an "unexpected EOF", as Go says."""
    position = problem.args[0] if isinstance(problem, StopIteration) else getattr(problem, "pos", -1)
    if position < 0:
        return SpecError("", "invalid JSON: a number has too many digits")
    if is_cut_off(text, position):
        return SpecError("", "invalid JSON: unexpected EOF")
    what = getattr(problem, "msg", "Expecting value")
    return SpecError("", f"invalid JSON: {what} at {place(text, position)}")


def is_cut_off(text: str, position: int) -> bool:
    """Say whether the text is wrong only because it ends: what is left at `position` could be continued."""
    rest = text[position:].strip(BLANK)
    if not rest or any(word.startswith(rest) for word in UNFINISHED):
        return True
    if rest[0] == '"':
        return is_open_string(rest)
    escape = rest.removeprefix("\\")
    return escape[:1] in ("", "u") and not escape[1:].strip(HEXADECIMAL) and len(escape) <= len("u1234")


def is_open_string(rest: str) -> bool:
    """Say whether a text that begins with a quotation mark has no other one that ends it."""
    index = 1
    while index < len(rest):
        if rest[index] == '"' or rest[index] < " ":
            return False
        index += 2 if rest[index] == "\\" else 1
    return True


def place(text: str, position: int) -> str:
    """Name a position by line and column."""
    line = text.count("\n", 0, position) + 1
    return f"line {line} column {position - text.rfind(chr(10), 0, position)}"


def first_repeated(pairs: list[tuple[str, Any]]) -> str:
    """Find the key that appears a second time."""
    seen = set()
    for key, _ in pairs:
        if key in seen:
            break
        seen.add(key)
    return key
