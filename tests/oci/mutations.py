"""A hypothesis strategy that spoils configs: what a careless or hostile writer of config.json could do.

    @given(mutated_configs(full()))
    def test_...(config): ...

One to three times a member, an element or a key somewhere in the config is replaced, removed, doubled or
added. What comes out is decoded JSON, so it can be written to a file; `mutated_texts` spoils the text too.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

EDGES = [
    *(-(2**63) - 1, -(2**63), -(2**31) - 1, -1001, -2, -1, 0, 1, 7, 8, 19, 20, 511, 512, 1001, 4095, 4096),
    *(2**16 - 1, 2**16, 2**20, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 10**9),
    *(2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**40),
]
WORDS = [
    *("", "/", "root", "0", "-1", "1000:", "0:0\nroot", "..", "../..", "/../../etc", "a\nb", "KEY=value"),
    *("pid", "mount", "user", "SCMP_ACT_NOTIFY", "SCMP_ACT_ALLOW", "RLIMIT_NOFILE", "RLIMIT_NONE", "rshared"),
    *(
        "2MB",
        "02MB",
        "rwm",
        "x",
        "1.2.1",
        "2.0.0",
        "net.core.somaxconn",
        "kernel.core_pattern",
        "0-3,7",
        "é\u2028",
    ),
]

JSON_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(EDGES),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(WORDS),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)
JSON_VALUES = st.recursive(
    JSON_SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["", "path", "type", "uid", "extra", "a/b", ".."]), inner, max_size=3
        ),
    ),
    max_leaves=4,
)


@st.composite
def mutated_configs(draw: st.DrawFn, base: Any, most: int = 3) -> Any:
    """Give copies of `base` with one to `most` changes; `base` is any decoded JSON."""
    config = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, most))):
        places = [(holder, key) for holder in containers(config) for key in keys(holder)]
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        _change(draw, holder, key)
    return config


@st.composite
def mutated_texts(draw: st.DrawFn, base: Any) -> bytes:
    """Give the text of a mutated config; one time in four the text itself is cut, doubled or garbled."""
    text = json.dumps(draw(mutated_configs(base))).encode()
    start = draw(st.integers(0, len(text)))
    match draw(st.integers(0, 11)):
        case 0:
            return text[:start]
        case 1:
            return text[:start] + draw(st.binary(min_size=1, max_size=4)) + text[start:]
        case 2:
            return text + text[start:]
    return text


def containers(value: Any) -> list[Any]:
    """List all lists and objects within a decoded JSON value, itself included."""
    if isinstance(value, dict):
        return [value, *(inner for element in value.values() for inner in containers(element))]
    if isinstance(value, list):
        return [value, *(inner for element in value for inner in containers(element))]
    return []


def keys(holder: Any) -> list[Any]:
    """List the keys of an object, or the indexes of a list."""
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))


def _change(draw: st.DrawFn, holder: Any, key: Any) -> None:
    match draw(st.sampled_from(["replace", "replace", "remove", "add", "double", "swap type"])):
        case "replace":
            holder[key] = draw(JSON_VALUES)
        case "remove":
            del holder[key]
        case "add" if isinstance(holder, dict):
            holder[draw(st.sampled_from(["x-unknown", "Extra", "uid", "path", ""]))] = draw(JSON_VALUES)
        case "double" if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        case _:
            holder[key] = _other_type(holder[key])


def _other_type(value: Any) -> Any:
    """Write the value as a type that is close to its own, which a lenient reader would accept."""
    match value:
        case bool():
            return int(value)
        case int():
            return careless_form(value)
        case str():
            return [value]
        case list():
            return dict(indexed(value))
        case dict():
            return [value]
    return "null"


def careless_form(number: int) -> Any:
    """Give a number in the form in which a careless writer would send it."""
    return bool(number) if number in (0, 1) else str(number) if number % 2 else float(number)


def indexed(elements: list[Any]) -> list[tuple[str, Any]]:
    """Give the elements with their indexes as keys."""
    return [(str(index), element) for index, element in enumerate(elements)]
