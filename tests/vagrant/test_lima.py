"""The Lima template: only names that Lima knows, and our script. Ruby, which Vagrant needs, reads it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.vagrant import known
from tests.vagrant.vagrantfile import CHECKOUT

pytestmark = pytest.mark.requires("tool:ruby")

READ = "puts JSON.generate(YAML.safe_load(File.read(ARGV.fetch(0))))"


def parsed(template: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["ruby", "-ryaml", "-rjson", "-e", READ, template],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def strangers(value: object, shape: known.Shape, where: str = "") -> list[str]:
    """Name what the shape does not have: a name, a list where none belongs, a value instead of a list."""
    if shape is None:
        return [where] if isinstance(value, dict | list) else []
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [where]
        return [each for item in value for each in strangers(item, shape[0], f"{where}[]")]
    if not isinstance(value, dict):
        return [where]
    found = [f"{where}.{name}" for name in value if shape and name not in shape]
    return found + [
        each
        for name, item in value.items()
        if name in shape
        for each in strangers(item, shape[name], f"{where}.{name}")
    ]


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return parsed(CHECKOUT / "lima.yaml")


def test_lima_knows_every_name(template: dict[str, Any]) -> None:
    assert strangers(template, known.LIMA) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("mountType:", "mountTyp:", ".mountTyp"),
        ("mountPoint:", "mountpoint:", ".mounts[].mountpoint"),
        ("- mode: system", "- modus: system", ".provision[].modus"),
        ("disk: 20GiB", "disk: {size: 20GiB}", ".disk"),
        ("  - lima: user-v2", "  lima: user-v2", ".networks"),
    ],
)
def test_a_name_that_lima_does_not_know_is_found(tmp_path: Path, old: str, new: str, found: str) -> None:
    text = (CHECKOUT / "lima.yaml").read_text()
    assert text.count(old) == 1
    (tmp_path / "lima.yaml").write_text(text.replace(old, new))
    assert strangers(parsed(tmp_path / "lima.yaml"), known.LIMA) == [found]


def test_the_values_are_among_those_that_lima_knows(template: dict[str, Any]) -> None:
    for name, allowed in known.LIMA_VALUES.items():
        assert template[name] in allowed
    assert {each["mode"] for each in template["provision"]} <= known.LIMA_PROVISION_MODES
    assert {each["lima"] for each in template["networks"]} <= known.LIMA_NETWORKS
    assert all(re.fullmatch(r"\d+GiB", template[name]) for name in ("memory", "disk"))


def test_there_is_one_image_of_debian_13_for_each_architecture(template: dict[str, Any]) -> None:
    debian = {"aarch64": "arm64", "x86_64": "amd64"}
    assert sorted(each["arch"] for each in template["images"]) == sorted(debian)
    for image in template["images"]:
        assert image["location"].startswith("https://")
        assert image["location"].endswith(
            f"/trixie/latest/debian-13-genericcloud-{debian[image['arch']]}.qcow2"
        )


def test_it_runs_the_script_of_the_checkout_that_it_mounts(template: dict[str, Any]) -> None:
    [mount], [provision] = template["mounts"], template["provision"]
    script = re.search(r"exec sh (\S+)", provision["script"])
    assert script is not None
    assert (CHECKOUT / Path(script[1]).relative_to(mount["mountPoint"])).is_file()
    assert mount["writable"] is False
    assert mount["location"] == "{{.Param.checkout}}"
    assert list(template["param"]) == ["checkout"]
