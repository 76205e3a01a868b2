"""Which tests are run in virtual machines: not too many, each in one guest, none forgotten."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import guests
from tests.guests import Part

CHECKOUT = Path(__file__).parent.parent


def item(name: str, *, guest: str | None = "plain", path: Path = Path(__file__)) -> Any:
    """Give what a test looks like for those who divide them."""
    mark = SimpleNamespace(args=() if guest == "plain" else (guest,)) if guest else None
    return SimpleNamespace(nodeid=name, path=path, get_closest_marker=lambda _name: mark)


ITEMS = [
    *(
        item(f"tests/limits/test_{letter}.py::test_{n}")
        for letter in "abcdef"
        for n in range(ord(letter) - 95)
    ),
    *(item(f"tests/podman/test_{letter}.py::test_{n}") for letter in "xy" for n in range(2)),
    *(item(f"tests/limits/test_a.py::test_with_systemd_{n}", guest="systemd") for n in range(3)),
    *(item(f"tests/test_other.py::test_{n}", guest=None) for n in range(3)),
]


@pytest.mark.parametrize("count", [1, 2, 3, 9, 20])
def test_each_test_is_in_exactly_one_part(count: int) -> None:
    parts = [Part("plain", number, count) for number in range(count)] + [Part("systemd", 0, 1)]
    chosen = Counter(item.nodeid for part in parts for item in guests.split(list(ITEMS), part)[0])
    assert chosen == Counter(item.nodeid for item in ITEMS if guests.guest_of(item))


def test_the_parts_are_the_same_each_time_and_keep_modules_and_engines_whole() -> None:
    first, second = (guests.split(list(ITEMS), Part("plain", number, 2))[0] for number in (0, 1))
    assert guests.split(list(ITEMS), Part("plain", 0, 2))[0] == first
    assert {guests.group_of(item) for item in first} & {guests.group_of(item) for item in second} == set()
    assert abs(len(first) - len(second)) < 15
    chosen, others = guests.split(list(ITEMS), Part("plain", 0, 2))
    assert sorted(i.nodeid for i in chosen + others) == sorted(i.nodeid for i in ITEMS)


@pytest.mark.parametrize("text", ["", "other", "plain:", "plain:2/2", "plain:0/0", "plain:x/2", "plain:0/2 "])
def test_a_part_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(pytest.UsageError, match="--guest"):
        guests.read_part(text)


def test_a_part_is_read() -> None:
    assert guests.read_part("systemd") == Part("systemd", 0, 1)
    assert guests.read_part("plain:1/3") == Part("plain", 1, 3)


def test_wrong_marks_are_refused(tmp_path: Path) -> None:
    silent = tmp_path / "test_silent.py"
    silent.write_text("from elsewhere import marked\n")
    with pytest.raises(pytest.UsageError, match="no guest 'other'"):
        guests.refuse_wrong_marks([item("test_x", guest="other")])
    with pytest.raises(pytest.UsageError, match=r"does not say pytest.mark.vm"):
        guests.refuse_wrong_marks([item("test_x", path=silent)])
    with pytest.raises(pytest.UsageError, match="101 tests are marked"):
        guests.refuse_wrong_marks([item(f"test_{n}") for n in range(101)])
    guests.refuse_wrong_marks([item(f"test_{n}") for n in range(100)])


def test_there_are_at_most_a_hundred() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    paths = [str(path) for path in sorted((CHECKOUT / "tests").rglob("test_*.py"))]
    files = [
        path for path in paths if "controller:" in (text := Path(path).read_text()) or guests.WORDS in text
    ]
    done = subprocess.run(
        [*command, "-m", "vm", *files], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = [line for line in done.stdout.splitlines() if "::" in line]
    assert 50 < len(tests) <= guests.MOST
