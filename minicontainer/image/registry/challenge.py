"""WWW-Authenticate: how a server says what it wants to see before it answers.

    Bearer realm="https://auth.example/token",service="registry",scope="repository:web:pull", Basic realm="x"

One header may hold several challenges, a value may be quoted, and a comma divides both values and challenges.

Implements RFC 9110, 11.6.1 (challenge = auth-scheme [ 1*SP ( token68 / #auth-param ) ]).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

LONGEST = 16 << 10  # characters that are read

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))(?=\s*(?:,|\Z))')
_SCHEME = re.compile(rf"({_WORD})(?:[ \t]+|(?=,|\Z))")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|\Z))")
_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove oneself: its scheme in lower case, and its parameters."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse(headers: Iterable[str]) -> list[Challenge]:
    """Read the challenges of all such headers; where one cannot be read, its rest is left out."""
    return [challenge for header in headers for challenge in _parse_one(header[:LONGEST])]


def _parse_one(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = _skip(text, 0)
    while position < len(text):
        if found and (parameter := _PARAMETER.match(text, position)):
            name, quoted, bare = parameter.groups()
            value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1].parameters.setdefault(name.lower(), value)
            position = _skip(text, parameter.end())
        elif scheme := _SCHEME.match(text, position):
            found.append(Challenge(scheme[1].lower()))
            position = scheme.end()
            if not _PARAMETER.match(text, position) and (blob := _TOKEN68.match(text, position)):
                position = blob.end()
            position = _skip(text, position)
        else:
            break
    return found


def _skip(text: str, position: int) -> int:
    blank = _BETWEEN.match(text, position)
    return blank.end() if blank else position
