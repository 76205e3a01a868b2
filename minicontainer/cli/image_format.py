"""How lists are shown: as a table, as JSON, or by a template; sizes and ages in docker's words.

A row is an object with docker's names of fields (`Repository`, `ID`, ...), all of them text. A table has
the columns' widths that docker's has.

See man pages docker-images(1), docker-history(1), "--format".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from minicontainer.cli.template import compile_template, to_json

Row = Mapping[str, str]

# docker's tabwriter: at least so wide, so much between two columns
LEAST_WIDTH, BETWEEN = 10, 3
SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
THOUSAND = 999.5  # is 1e+03 in three digits
MINUTE, HOUR, DAY, WEEK, MONTH, YEAR = 60, 3600, 86400, 604800, 30 * 86400, 365 * 86400
DIGEST_SHOWN = 12
FRACTION = 6  # digits that Python's clock knows


@dataclass(frozen=True, slots=True)
class Columns:
    """The fields that a row may show, with the heads of their columns, and those that a table has."""

    heads: Mapping[str, str]
    usual: Sequence[str]


def write_rows(rows: Sequence[Row], columns: Columns, form: str) -> str:
    """Show rows as `--format` says: "", "table", "table TEMPLATE", "json" or a template. Raises Error."""
    form = form.replace("\\t", "\t").replace("\\n", "\n")
    kind, _, own = form.partition(" ")
    if kind in ("", "table"):
        usual = "\t".join(f"{{{{.{name}}}}}" for name in columns.usual)
        write = compile_template(own.strip() or usual)
        return align([write(columns.heads), *map(write, rows)])
    write = to_json if form == "json" else compile_template(form)
    return "".join(f"{write(row)}\n" for row in rows)


def align(lines: Sequence[str]) -> str:
    """Lay out lines whose cells end with a tab, the last cell excepted."""
    table = [line.split("\t") for line in lines]
    count = max(map(len, table))
    widths = [
        max(LEAST_WIDTH, BETWEEN + max(len(cells[at]) for cells in table if at < len(cells)))
        for at in range(count)
    ]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(cells[:-1], widths, strict=False)) + cells[-1] + "\n"
        for cells in table
    )


def human_size(size: float, digits: int = 3) -> str:
    """Write bytes as docker does: 4.26MB, in powers of 1000."""
    at = 0
    while size >= (THOUSAND if at else THOUSAND + 0.5) and at < len(SIZES) - 1:
        size /= 1000
        at += 1
    return f"{size:.{digits}g}{SIZES[at]}"


def human_age(seconds: float) -> str:
    """Write how long ago something was, in docker's words."""
    if seconds < 1:
        return "Less than a second ago"
    steps = (
        (2, "1 second"), (MINUTE, f"{seconds:.0f} seconds"), (2 * MINUTE, "About a minute"),
        (HOUR, f"{seconds // MINUTE:.0f} minutes"), (2 * HOUR, "About an hour"),
        (2 * DAY, f"{seconds // HOUR:.0f} hours"), (2 * WEEK, f"{seconds // DAY:.0f} days"),
        (2 * MONTH, f"{seconds // WEEK:.0f} weeks"), (2 * YEAR, f"{seconds // MONTH:.0f} months"),
    )  # fmt: skip
    words = next((words for end, words in steps if seconds < end), f"{seconds // YEAR:.0f} years")
    return f"{words} ago"


def moment(text: str | None) -> datetime | None:
    """Read a time as images have it, RFC 3339 with up to nine digits of a second; None if it is no time."""
    head, dot, rest = (text or "").partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    whole = f"{head}.{digits[:FRACTION].ljust(FRACTION, '0')}{rest[len(digits) :]}" if dot else head
    try:
        found = datetime.fromisoformat(whole)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def short_id(digest: str) -> str:
    """Shorten a digest to the twelve digits that people compare."""
    return digest.partition(":")[2][:DIGEST_SHOWN]
