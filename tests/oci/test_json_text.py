"""JSON text is read as the json module reads it, or refused for one of the reasons that `json_text` gives."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minicontainer.errors import SpecError
from minicontainer.oci.json_text import MAX_DEPTH, loads, quote
from minicontainer.trace.json_lines import dumps
from tests.oci.configs import REAL, full
from tests.oci.mutations import JSON_VALUES, mutated_texts

ROUND = settings().max_examples
TEXTS = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent),
    JSON_VALUES,
    st.booleans(),
    st.sampled_from([None, 0, "\t"]),
)
STRICTER = re.compile(
    "appears twice|is not a number that JSON knows|is too large|too many digits|NUL character|surrogate pair"
)


def refusal(text: str | bytes) -> str:
    with pytest.raises(SpecError) as raised:
        loads(text)
    return str(raised.value)


@settings(max_examples=ROUND * 2)
@given(TEXTS, st.text(" \t\r\n", max_size=3), st.text(" \t\r\n", max_size=3))
def test_right_texts_are_read_as_the_json_module_reads_them(text: str, before: str, after: str) -> None:
    assert loads(before + text + after) == json.loads(text)
    assert loads((before + text + after).encode()) == json.loads(text)


@settings(max_examples=ROUND * 4)
@given(mutated_texts(full()))
def test_spoiled_texts_are_read_alike_or_refused_for_a_known_reason(text: bytes) -> None:
    try:
        ours = loads(text)
    except SpecError as problem:
        try:
            json.loads(text.decode())
        except ValueError:
            return
        assert STRICTER.search(str(problem))
    else:
        assert json.loads(text) == ours


@settings(max_examples=ROUND * 2)
@given(st.text('{}[]",:\\ud80-+.eE1truefalsnNI \n', max_size=20))
def test_near_json_is_read_alike_or_refused_for_a_known_reason(text: str) -> None:
    try:
        theirs = json.loads(text)
    except ValueError:
        assert refusal(text)
        return
    try:
        assert loads(text) == theirs
    except SpecError as problem:
        assert STRICTER.search(str(problem))


@settings(max_examples=ROUND * 2)
@given(JSON_VALUES)
def test_what_is_written_is_read_back_and_is_what_the_json_module_writes(value: Any) -> None:
    text = dumps(value)
    assert loads(text) == value
    assert text == json.dumps(value, separators=(",", ":"))
    assert text.isascii()


@settings(max_examples=ROUND)
@given(
    st.dictionaries(st.text('ab"\\é\n', max_size=3), JSON_VALUES, min_size=1, max_size=3),
    st.booleans(),
    st.data(),
)
def test_any_text_that_is_cut_off_is_an_unexpected_eof(
    value: Any, ascii_only: bool, data: st.DataObject
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    assert refusal(cut) == "invalid JSON: unexpected EOF"


def test_a_config_that_is_cut_off_anywhere_is_an_unexpected_eof() -> None:
    text = json.dumps(full()).replace("86400", "-8.64e+4")
    for end in range(len(text)):
        assert refusal(text[:end]) == "invalid JSON: unexpected EOF"


@pytest.mark.parametrize("caller", REAL)
def test_real_configs_survive_reading_and_writing(caller: str) -> None:
    assert loads(dumps(REAL[caller]())) == REAL[caller]()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', 'the key "a" appears twice in one object'),
        ('{"b": {"uid": 1, "gid": 0, "uid": 0}}', 'the key "uid" appears twice'),
        ('{"a": 1, "\\u0061": 2}', 'the key "a" appears twice'),
        ("NaN", "NaN is not a number"),
        ("[-Infinity]", "-Infinity is not a number"),
        ('{"a": Infinity}', "Infinity is not a number"),
        ("1e999", "the number 1e999 is too large"),
        ("-1e999", "the number -1e999 is too large"),
        ("1" * 5000, "a number has too many digits"),
        ("{} x", "unexpected text after the value at line 1 column 4"),
        ("{}\n{}", "unexpected text after the value at line 2 column 1"),
        ("null null", "unexpected text after the value"),
        ("{'a': 1}", "invalid JSON: Expecting property name enclosed in double quotes at line 1 column 2"),
        ('{"a": 1,}', "at line 1 column 9"),
        ("[1\n 2]", "Expecting ',' delimiter at line 2 column 2"),
        ("hello", "Expecting value at line 1 column 1"),
        ('"a\nb"', "Invalid control character"),
        ('"\\x"', "Invalid \\escape"),
        ("// comment\n{}", "Expecting value at line 1 column 1"),
        ("\ufeff{}", "Expecting value"),
        ("{}\0", "unexpected text"),
        ('"\\ud800"', "half of a surrogate pair"),
        ('["\\udc00x"]', "[0]: a string must not contain half of a surrogate pair"),
        ('{"a": {"b": ["", "x\\u0000y"]}}', "a.b[1]: a string must not contain a NUL character"),
        ('{"x\\u0000": 1}', "a string must not contain a NUL character"),
    ],
)
def test_doubtful_texts_are_refused(text: str, words: str) -> None:
    assert words in refusal(text)
    assert words in refusal(text.encode())


@pytest.mark.parametrize(
    "raw", [b"\xff{}", b'{"a": "\xc3"}', b'"\xed\xa0\x80"', b'{"a": 1}'.decode().encode("utf-16")]
)
def test_bytes_that_are_not_utf8_are_refused(raw: bytes) -> None:
    assert "is not UTF-8" in refusal(raw)


def test_pairs_and_escaped_backslashes_are_no_odd_characters() -> None:
    assert loads('"\\ud83d\\ude00"') == "\U0001f600"
    assert loads('"\\\\u0000"') == "\\u0000"


def test_a_path_that_is_not_utf8_survives_in_a_text_of_our_own() -> None:
    path = os.fsdecode(b"/bundles/\xe9\xff")
    assert loads(dumps({"bundle": path}), ours=True) == {"bundle": path}
    assert refusal(dumps({"bundle": path})) == "bundle: a string must not contain half of a surrogate pair"


@pytest.mark.parametrize("empty", ["", " \n", b""])
def test_an_empty_text_is_an_unexpected_eof(empty: str | bytes) -> None:
    assert refusal(empty) == "invalid JSON: unexpected EOF"


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 1000, 1001, 100_000, 1_000_000])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_deep_texts_are_refused(levels: int, begin: str, end: str) -> None:
    inside = "" if begin == "[" else "1"
    assert (
        refusal(begin * levels + inside + end * levels) == "the JSON text is nested more than 500 levels deep"
    )


def test_a_text_of_the_greatest_depth_is_read_and_brackets_in_strings_do_not_count() -> None:
    value = loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        assert isinstance(value, list)
        value = value[0]
    assert value == []
    assert loads(json.dumps(['\\"' + "[{" * 1000])) == ['\\"' + "[{" * 1000]


def test_a_text_that_is_too_large_is_refused_before_it_is_read() -> None:
    assert loads("[1, 2]", limit=6) == [1, 2]
    with pytest.raises(SpecError, match="larger than 5 bytes"):
        loads("[1, 2]", limit=5)
    with pytest.raises(SpecError, match="larger than 16777216 bytes"):
        loads(b" " * (16 * 1024 * 1024 + 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_what_json_has_no_number_for_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps(value)


@pytest.mark.parametrize("value", [{1, 2}, object()])
def test_what_json_has_no_form_for_is_not_written(value: object) -> None:
    with pytest.raises(TypeError, match="has no JSON form"):
        dumps({"a": value})


def test_bytes_are_written_as_text_and_odd_ones_as_half_surrogates() -> None:
    assert dumps([b"a\xc3\xa4", b"\xff"]) == '["a\\u00e4","\\udcff"]'


def test_keys_keep_their_order_and_equal_values_give_equal_texts() -> None:
    assert (
        dumps({"b": [1, 2.5, None, True], "a": "é\u2028"}) == '{"b":[1,2.5,null,true],"a":"\\u00e9\\u2028"}'
    )
    assert dumps(full()) == dumps(full())


@given(st.text())
def test_a_quoted_string_is_read_back(text: str) -> None:
    assume("\0" not in text)
    assert loads(quote(text)) == text
