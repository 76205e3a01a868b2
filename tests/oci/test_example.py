"""`spec` writes what runc writes, apart from the host name; what runc wrote is recorded in data/."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from minicontainer.oci.check import check_config
from minicontainer.oci.example import INDENT, example_config, example_text, rootless_config
from minicontainer.trace.json_lines import dump_indented
from tests.oci.configs import full

DATA = Path(__file__).with_name("data")


def recorded(name: str) -> str:
    return (DATA / name).read_text().replace('"hostname": "runc"', '"hostname": "minicontainer"')


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("runc-spec.json", example_config()),
        ("runc-spec-without-cgroup-v2.json", example_config(cgroup_namespace=False)),
        ("runc-spec-rootless.json", rootless_config(1000, 1001)),
    ],
)
def test_the_example_is_the_one_that_runc_writes(name: str, config: Any) -> None:
    assert config == json.loads(recorded(name))
    assert dump_indented(config, INDENT) == recorded(name)


def test_the_text_for_a_user_maps_that_user() -> None:
    assert example_text() == dump_indented(example_config(), INDENT)
    assert example_text(rootless=True) == dump_indented(rootless_config(os.geteuid(), os.getegid()), INDENT)


@pytest.mark.parametrize("config", [example_config(), rootless_config(0, 0)])
def test_the_example_passes_the_check(config: Any) -> None:
    check_config(config)


def test_each_example_is_a_fresh_one() -> None:
    example_config()["process"]["args"].append("-c")
    rootless_config(1, 1)["linux"]["maskedPaths"].clear()
    assert example_config()["process"]["args"] == ["sh"]
    assert example_config()["linux"]["maskedPaths"]


@pytest.mark.parametrize(
    "value", [{}, [], {"a": []}, {"a": {}}, [[1], {"b": None}], "é\n", 1.5, True, full()]
)
def test_indented_text_is_that_of_gos_marshal_indent(value: Any) -> None:
    assert dump_indented(value, INDENT) == json.dumps(value, indent=INDENT)
