"""WWW-Authenticate, in all the forms that servers give it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.image.registry.challenge import Challenge, parse
from minicontainer.image.registry.tokens import merge

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
CHALLENGES = st.builds(Challenge, WORDS, st.dictionaries(WORDS, VALUES, min_size=1, max_size=3))


@pytest.mark.parametrize(
    ("header", "right"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        ("BEARER Realm=x", [Challenge("bearer", {"realm": "x"})]),
        ('Bearer realm = "x" , service="a, b"', [Challenge("bearer", {"realm": "x", "service": "a, b"})]),
        (r'Basic realm="a\"b\\c"', [Challenge("basic", {"realm": r"a\"b\c".replace(r"\"", '"')})]),
        (
            'Basic realm="x",Bearer realm="y"',
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y"})],
        ),
        ("Negotiate", [Challenge("negotiate")]),
        ("Negotiate YWJj==, Basic realm=x", [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        ("Negotiate, Basic realm=x", [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        (",, Basic realm=x,,", [Challenge("basic", {"realm": "x"})]),
        ("Basic realm=x, realm=y", [Challenge("basic", {"realm": "x"})]),
        ('Basic realm="x', [Challenge("basic")]),
        ("", []),
        ("=", []),
        ('"Basic"', []),
    ],
)
def test_a_header_is_read(header: str, right: list[Challenge]) -> None:
    assert parse([header]) == right


def test_several_headers_are_read_in_their_order() -> None:
    assert [each.scheme for each in parse(["Basic realm=x", "Bearer realm=y"])] == ["basic", "bearer"]


@given(st.lists(CHALLENGES, min_size=1, max_size=3))
def test_what_is_written_is_read_again(challenges: list[Challenge]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", r"\\").replace('"', r"\"") + '"'

    written = [
        f"{each.scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in each.parameters.items())
        for each in challenges
    ]
    assert parse([", ".join(written)]) == parse(written) == challenges


@given(st.text(max_size=200))
def test_any_text_is_read_to_something(text: str) -> None:
    assert all(each.scheme for each in parse([text]))


def test_a_text_of_any_length_takes_no_time() -> None:
    for piece in ('a="', "a=b,", "\\", 'x "', "a ", ",", "="):
        parse([f"Bearer {piece * 100_000}"])


@pytest.mark.parametrize(
    ("scopes", "right"),
    [
        (["repository:a:push,pull", "repository:a:pull"], ("repository:a:pull,push",)),
        (["repository:b:pull", "repository:a:pull"], ("repository:a:pull", "repository:b:pull")),
        (["repository:host:5000/a:pull"], ("repository:host:5000/a:pull",)),
        (["registry:catalog:*", "", "nonsense", "a b:c:d"], ("registry:catalog:*",)),
        ([], ()),
    ],
)
def test_scopes_of_one_resource_become_one(scopes: list[str], right: tuple[str, ...]) -> None:
    assert merge(scopes) == right
