"""docs/images.md keeps its promises: its configuration can be read and is complete, its commands exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from minicontainer.cli import image_commands
from minicontainer.cli.template import FUNCTIONS
from minicontainer.image.configuration import Network, Registry, load
from minicontainer.image.layer.limits import GIB, MIB, Limits

TEXT = (Path(__file__).parents[2] / "docs/images.md").read_text()
EXAMPLE = TEXT.split("```toml\n")[1].split("```")[0]
NAME = re.compile(r"`(?:image )?([a-z-]+)")
UNITS = {"GiB": GIB, "MiB": MIB}


def test_the_example_of_a_configuration_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images.toml").write_text(EXAMPLE)
    monkeypatch.setenv("MINICONTAINER_IMAGES_CONFIG", str(tmp_path / "images.toml"))
    found = load()
    assert found.network == Network()
    assert found.limits == Limits()
    assert found.registry("docker.io").mirrors
    named = set(re.findall(r"^(\w+) =", EXAMPLE, re.MULTILINE))
    assert named == {*Registry.__struct_fields__, *Network.__struct_fields__, "unpacked"}


def test_every_limit_is_named_with_its_value() -> None:
    rows = re.findall(r"^\| (`.*`) \| ([\d, GiMB]+) \|", TEXT.split("### Limits")[1], re.MULTILINE)
    told = {
        key: int(number) * UNITS.get(unit, 1)
        for keys, values in rows
        for key, (number, unit) in zip(
            re.findall(r"\w+", keys), re.findall(r"(\d+)(?: (\w+))?", values), strict=True
        )
    }
    assert told == {each.name: each.default for each in fields(Limits)}


def test_the_commands_that_are_told_of_are_those_that_there_are() -> None:
    table = TEXT.split("| command | does |")[1].split("\n\n")[0]
    told = {word for cell in re.findall(r"^\| (.*?) \| ", table, re.MULTILINE) for word in NAME.findall(cell)}
    there = {name.split()[-1] for name in image_commands.COMMANDS}
    assert told == there - {"ls", "list", "rm", "remove"}, "these four are other words for images and rmi"


def test_the_functions_of_templates_are_all_told_of() -> None:
    listed = re.search(r"the functions ([\w,\s]+)\. Anything", TEXT)
    assert listed
    assert re.split(r",\s+", listed[1]) == sorted(FUNCTIONS)
