"""Our store is an image layout: skopeo and umoci read it where it lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.interop.ours import Minicontainer
from tests.image.interop.tools import PEERS, PUBLISHERS, Tools
from tests.image.trees import Tree, read_tree
from tests.image.unpackers import unpacking_differences
from tests.registries import Registry

pytestmark = pytest.mark.requires(*PEERS)
Publishing = Callable[..., str]


@pytest.fixture(params=["skopeo, OCI", "skopeo, schema 2", "skopeo, zstd"])
def pulled(
    request: pytest.FixtureRequest, publish: Publishing, plain: Registry, ours: Minicontainer, sample: Path
) -> str:
    """Give the name of an image that came to us in one of the formats."""
    name = publish(plain, sample, PUBLISHERS[request.param])
    ours.succeed("pull", name)
    return name


def test_skopeo_inspects_and_copies_from_the_store(
    tools: Tools, plain: Registry, ours: Minicontainer, pulled: str, tmp_path: Path
) -> None:
    place = f"oci:{ours.layout}:{pulled}"
    assert tools.skopeo.succeed("inspect", "--format", "{{.Os}} {{len .Layers}}", place) == "linux 2"
    tools.skopeo.succeed("copy", "--quiet", place, f"dir:{tmp_path / 'copy'}")
    assert not ours.problems()


def test_umoci_lists_and_unpacks_from_the_store(
    tools: Tools, ours: Minicontainer, pulled: str, tmp_path: Path, sample_tree: tuple[Tree, int]
) -> None:
    assert tools.umoci.succeed("list", "--layout", ours.layout) == pulled
    tools.umoci.succeed("unpack", "--image", f"{ours.layout}:{pulled}", tmp_path / "bundle")
    assert not unpacking_differences(read_tree(tmp_path / "bundle/rootfs"), *sample_tree)
    assert not ours.problems()


def test_what_others_add_to_the_layout_is_an_image_of_ours(
    tools: Tools, ours: Minicontainer, pulled: str, sample: Path, sample_tree: tuple[Tree, int]
) -> None:
    tools.skopeo.succeed("copy", "--quiet", f"oci:{sample}:sample", f"oci:{ours.layout}:copied")
    assert "copied" in ours.succeed("images")
    assert not unpacking_differences(ours.tree(pulled), *sample_tree)
    ours.succeed("image", "gc")
    tools.skopeo.succeed("inspect", f"oci:{ours.layout}:copied")
    assert not ours.problems()
