"""`minicontainer vm image`: where the image is, and what pruning removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicontainer.cli import vm_image
from minicontainer.vm.image import Image
from minicontainer.vm.image_prune import Removed
from minicontainer.vm.recipe import standard


def an_image(suite: str) -> Image:
    place = Path("/cache", f"image-{suite}")
    return Image(place, place / "r", place / "k", place / "i", suite=suite, architecture="amd64", key=suite)


@pytest.mark.parametrize(("asked", "suite"), [(None, "trixie"), ("bookworm", "bookworm")])
def test_it_prints_where_the_image_of_the_suite_is(
    asked: str | None, suite: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vm_image, "obtain", an_image)
    assert vm_image.image({"suite": asked, "prune": False}) == 0
    assert capsys.readouterr().out == f"/cache/image-{suite}\n"


def test_pruning_keeps_the_suite_that_is_named_and_says_what_is_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[str] = []

    def prune(key: str) -> list[Removed]:
        kept.append(key)
        return [Removed("image-old", 372_000_000), Removed("qemu-old", 0)]

    monkeypatch.setattr(vm_image, "prune", prune)
    assert vm_image.image({"suite": "bookworm", "prune": True}) == 0
    assert kept == [standard("bookworm").key()]
    assert capsys.readouterr().out == "removed image-old (372 MB)\nremoved qemu-old (0 MB)\n"
