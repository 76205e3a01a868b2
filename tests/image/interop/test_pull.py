"""What skopeo, podman and docker have pushed, pulled by us: the same digest, the same tree.

See unpackers.py for how trees are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minicontainer.image import platform as platforms
from tests.image.interop.ours import Minicontainer
from tests.image.interop.tools import LIST_PUBLISHERS, PEERS, PUBLISHERS, Tools
from tests.image.trees import Tree
from tests.image.unpackers import unpacking_differences
from tests.registries import Registry

pytestmark = pytest.mark.requires(*PEERS)
Publishing = Callable[..., str]


@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_what_others_have_pushed_is_pulled_whole(
    publisher: str,
    publish: Publishing,
    plain: Registry,
    ours: Minicontainer,
    sample: Path,
    sample_tree: tuple[Tree, int],
) -> None:
    name = publish(plain, sample, PUBLISHERS[publisher])
    ours.succeed("pull", name)
    assert not unpacking_differences(ours.tree(name), *sample_tree)
    assert not ours.problems()


@pytest.mark.parametrize("publisher", ["skopeo, schema 2", "podman, OCI", "docker"])
def test_every_kind_of_registry_lets_us_in(
    publisher: str,
    publish: Publishing,
    any_registry: Registry,
    make_ours: Callable[..., Minicontainer],
    sample: Path,
    sample_tree: tuple[Tree, int],
) -> None:
    name = publish(any_registry, sample, PUBLISHERS[publisher])
    ours = make_ours(any_registry)
    ours.succeed("pull", name)
    assert not unpacking_differences(ours.tree(name), *sample_tree)


def test_podman_mounts_the_tree_that_we_unpack(
    tools: Tools, publish: Publishing, plain: Registry, ours: Minicontainer, sample: Path
) -> None:
    name = publish(plain, sample)
    ours.succeed("pull", name)
    tools.podman.succeed("rmi", "--all", "--force")
    before = time.time_ns()
    tools.podman_digest(plain, name)
    assert not unpacking_differences(ours.tree(name), tools.podman_tree(name), before)


@pytest.mark.parametrize("publisher", LIST_PUBLISHERS)
def test_of_a_list_the_image_for_the_platform_is_pulled(
    publisher: str,
    tools: Tools,
    publish: Publishing,
    plain: Registry,
    ours: Minicontainer,
    two_platforms: Path,
) -> None:
    name = publish(plain, two_platforms, LIST_PUBLISHERS[publisher])
    here = platforms.host().architecture
    there = "arm64" if here == "amd64" else "amd64"
    for architecture, flags in {there: ["--platform", f"linux/{there}"], here: []}.items():
        assert f"Digest: {tools.digest(plain, name)}" in ours.succeed("pull", *flags, name)
        assert ours.tree(name)[b"architecture"].size == len(architecture)


def test_an_image_is_pulled_by_its_digest(
    tools: Tools, publish: Publishing, plain: Registry, ours: Minicontainer, sample: Path
) -> None:
    name = publish(plain, sample)
    exact = f"{name.removesuffix(':1')}@{tools.digest(plain, name)}"
    ours.succeed("pull", exact)
    assert ours.tree(exact)


def test_an_image_that_was_never_pushed_is_not_found(plain: Registry, ours: Minicontainer) -> None:
    done = ours.call("pull", f"{plain.address}/no/such:image")
    assert done.returncode == 1
    assert "no/such" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("any_registry", ["basic"], indirect=True)
def test_a_stranger_is_told_to_log_in(
    any_registry: Registry, make_ours: Callable[..., Minicontainer]
) -> None:
    done = make_ours().call("pull", f"{any_registry.address}/some/image")
    assert done.returncode == 1
    assert f"minicontainer login {any_registry.address}" in done.stderr


@pytest.mark.parametrize("any_registry", ["tls"], indirect=True)
def test_an_unknown_certificate_is_refused_unless_it_is_asked_for(
    any_registry: Registry, make_ours: Callable[..., Minicontainer], publish: Publishing, sample: Path
) -> None:
    name, stranger = publish(any_registry, sample), make_ours()
    done = stranger.call("pull", name)
    assert done.returncode == 1
    assert "certificate" in done.stderr
    stranger.succeed("pull", "--tls-verify", "false", name)
