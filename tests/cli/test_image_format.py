"""Sizes, ages and tables in docker's words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from minicontainer.cli.failure import on_one_line
from minicontainer.cli.image_format import (
    Columns,
    align,
    human_age,
    human_size,
    moment,
    short_id,
    write_rows,
)

COLUMNS = Columns({"ID": "IMAGE ID", "Tag": "TAG", "Size": "SIZE"}, ("ID", "Tag"))
ROWS = [{"ID": "0123456789ab", "Tag": "latest", "Size": "1B"}, {"ID": "1", "Tag": "1", "Size": "20MB"}]


# As github.com/docker/go-units prints them (HumanSizeWithPrecision, 3), but for the last of each thousand,
# of which it makes 1e+03kB.
@pytest.mark.parametrize(
    ("size", "written"),
    [
        (0, "0B"), (1, "1B"), (999, "999B"), (1000, "1kB"), (1024, "1.02kB"), (13203, "13.2kB"),
        (999_900, "1MB"), (4_261_550, "4.26MB"), (188_000_000, "188MB"), (1_020_000_000, "1.02GB"),
        (3 * 10**12, "3TB"), (5 * 10**15, "5PB"), (7 * 10**18, "7e+03PB"),
    ],
)  # fmt: skip
def test_a_size_has_three_digits(size: int, written: str) -> None:
    assert human_size(size) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (-5, "Less than a second ago"), (0.5, "Less than a second ago"), (1, "1 second ago"),
        (59, "59 seconds ago"), (60, "About a minute ago"), (120, "2 minutes ago"), (3599, "59 minutes ago"),
        (3600, "About an hour ago"), (7200, "2 hours ago"), (47 * 3600, "47 hours ago"),
        (48 * 3600, "2 days ago"), (13 * 86400, "13 days ago"), (14 * 86400, "2 weeks ago"),
        (59 * 86400, "8 weeks ago"), (60 * 86400, "2 months ago"), (729 * 86400, "24 months ago"),
        (730 * 86400, "2 years ago"), (56 * 365 * 86400, "56 years ago"),
    ],
)  # fmt: skip
def test_an_age_is_in_dockers_words(seconds: float, written: str) -> None:
    assert human_age(seconds) == written


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.123456789Z", datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2026-01-31T14:00:00.5+02:00", datetime(2026, 1, 31, 12, 0, 0, 500000, tzinfo=UTC)),
        ("2026-01-31T12:00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_is_read_as_images_have_it(text: str | None, time: datetime | None) -> None:
    assert moment(text) == time


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("", "IMAGE ID       TAG\n0123456789ab   latest\n1              1\n"),
        ("table {{.Tag}}\\t{{.Size}}", "TAG       SIZE\nlatest    1B\n1         20MB\n"),
        ("{{.Tag}}\\n", "latest\n\n1\n\n"),
        ("json", '{"ID":"0123456789ab","Size":"1B","Tag":"latest"}\n{"ID":"1","Size":"20MB","Tag":"1"}\n'),
    ],
)
def test_rows_are_shown_as_asked_for(form: str, written: str) -> None:
    assert write_rows(ROWS, COLUMNS, form) == written


def test_a_table_without_rows_has_its_head() -> None:
    assert write_rows([], COLUMNS, "table") == "IMAGE ID   TAG\n"


def test_lines_may_have_different_numbers_of_cells() -> None:
    assert align(["a\tb\tc", "d"]) == "a         b         c\nd\n"


def test_an_id_is_shortened_to_what_people_compare() -> None:
    assert short_id("sha256:" + "0123456789abcdef" * 4) == "0123456789ab"


def test_signs_that_steer_a_terminal_are_shown_as_escapes() -> None:
    assert on_one_line("a\x1b[2Jb\nc\u202e é") == "a\\x1b[2Jb\\nc\\u202e é"
