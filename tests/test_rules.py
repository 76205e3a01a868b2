"""Small rules that a reader can rely on, kept true by tests. CONTRIBUTING.md gives the reasons."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parent.parent
PACKAGE = CHECKOUT / "minicontainer"
FILES = sorted(path.relative_to(CHECKOUT) for path in PACKAGE.rglob("*.py"))
MODULES = [path for path in FILES if path.name != "__init__.py"]
TESTS = {
    path.relative_to(CHECKOUT): ast.parse(path.read_text())
    for path in sorted((CHECKOUT / "tests").rglob("*.py"))
}
DEVIATIONS = tomllib.loads((CHECKOUT / "tests" / "deviations.toml").read_text())["deviation"]
DECISIONS = sorted((CHECKOUT / "docs" / "decisions").iterdir())
SOURCE = re.compile(
    r"^(See|Implements)\b.*(\(\d\w*\)|\bspec\b|-spec\b|\bman page|<linux/)", re.MULTILINE | re.DOTALL
)
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}


def docstring(path: Path) -> str:
    """Give what a module opens with, "" if with nothing."""
    return ast.get_docstring(ast.parse((CHECKOUT / path).read_text())) or ""


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_module_fits_in_the_head(path: Path) -> None:
    assert len((CHECKOUT / path).read_text().splitlines()) <= 400, "300 lines are about right: split it"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_opens_with_its_idea(path: Path) -> None:
    assert 2 <= len(docstring(path).splitlines()) <= 14, (
        "the idea, the invariant or a picture, then the sources"
    )


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=str)
def test_a_package_opens_with_its_purpose(path: Path) -> None:
    assert 1 <= len(docstring(path).splitlines()) <= 14


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[1] in {"linux", "runtime"}], ids=str)
def test_a_module_near_the_kernel_names_its_sources(path: Path) -> None:
    assert SOURCE.search(docstring(path)), "end with: See or Implements, and man pages or sections of a spec"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_module_has_a_name_that_says_nothing(path: Path) -> None:
    words = {word for part in path.with_suffix("").parts for word in part.split("_")}
    assert not words & BANNED_NAMES


def test_the_reading_order_lists_each_module_once_as_it_describes_itself() -> None:
    listed = re.findall(r"^\* `(\S+)`: (.*)$", (CHECKOUT / "READING.md").read_text(), re.MULTILINE)
    described = [(str(path), docstring(path).splitlines()[0].removesuffix(".")) for path in MODULES]
    assert sorted(listed) == sorted(described)


def test_each_dependency_says_why_it_is_there() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    reasons = dict(
        line.split(": ", 1)
        for line in (CHECKOUT / "docs" / "dependencies").read_text().splitlines()
        if ": " in line
    )
    assert sorted(reasons) == sorted(re.split(r"[<>=~!]", each)[0] for each in wanted)
    assert all(len(reason) >= 20 for reason in reasons.values())


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_is_short_and_says_its_price(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 30
    assert re.findall(r"^## (\w+)", text, re.MULTILINE) == ["Context", "Choice", "Price"]


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    assert all(re.fullmatch(r"\d{4}(-[a-z0-9]+)+\.md", path.name) for path in DECISIONS)


@pytest.mark.parametrize("entry", DEVIATIONS, ids=lambda entry: entry["id"])
def test_a_deviation_says_who_differs_and_why(entry: dict[str, Any]) -> None:
    assert set(entry) - {"exit"} == {"id", "peer", "does", "why"}
    assert 1 <= len(set(entry["peer"])) == len(entry["peer"])
    assert {*entry["peer"], *entry.get("exit", {})} - {"runc", "crun", "podman", "umoci"} == set()
    assert set(entry.get("exit", entry["peer"])) <= set(entry["peer"])
    assert all(isinstance(code, int) for code in entry.get("exit", {}).values())
    assert all(entry[key] and not entry[key].endswith(".") for key in ("does", "why"))


def test_each_deviation_stands_once_and_a_test_asserts_it() -> None:
    named = [entry["id"] for entry in DEVIATIONS]
    used = {
        node.value for tree in TESTS.values() for node in ast.walk(tree) if isinstance(node, ast.Constant)
    }
    assert len(named) == len(set(named))
    assert set(named) - used == set()


def test_no_test_returns_at_once_for_a_runtime_that_it_is_not_about() -> None:
    silent = [
        f"{path}:{node.lineno}"
        for path, tree in TESTS.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.body[0], ast.Return) and node.body[0].value is None
        if {child.attr for child in ast.walk(node.test) if isinstance(child, ast.Attribute)}
        & {"kind", "deviates"}
        if path.name != "checks.py"
    ]
    assert silent == [], 'say it by a mark: requires("runtime:ours|crun")'


def test_every_file_that_a_text_points_to_exists() -> None:
    texts = [path for folder in (".", "docs", "docs/decisions") for path in (CHECKOUT / folder).glob("*.md")]
    links = {path.parent / link for path in texts for link in re.findall(r"\]\(([^):#]+)", path.read_text())}
    named = re.compile(r"(?<!runc's )\bdocs/[\w/-]+\.md")
    sources = [*FILES, *(path.relative_to(CHECKOUT) for path in (CHECKOUT / "tests").rglob("*.py"))]
    links |= {CHECKOUT / name for path in sources for name in named.findall((CHECKOUT / path).read_text())}
    assert len(links) >= 10
    assert [str(link) for link in sorted(links) if not link.exists()] == []


def test_every_decision_that_the_code_cites_exists() -> None:
    numbers = {path.name[:4] for path in DECISIONS}
    texts = [
        *map(CHECKOUT.joinpath, FILES),
        *CHECKOUT.glob("*.md"),
        CHECKOUT / "setup.py",
        *PACKAGE.glob("*.sh"),
    ]
    cited = {number for path in texts for number in re.findall(r"docs/decisions/(\d{4})", path.read_text())}
    assert cited <= numbers
