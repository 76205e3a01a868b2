"""What we push is what others pull: under the same digest, in every kind of registry, and with few bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.image.interop.ours import Minicontainer
from tests.image.interop.tools import PEERS, PUBLISHERS, Tools
from tests.registries import PASSWORD, USER, Registry, registry

pytestmark = pytest.mark.requires(*PEERS)


Publishing = Callable[..., str]


@pytest.mark.parametrize("publisher", ["skopeo, OCI", "skopeo, schema 2", "skopeo, zstd"])
def test_others_pull_what_we_push_under_the_same_digest(
    publisher: str,
    tools: Tools,
    publish: Publishing,
    any_registry: Registry,
    make_ours: Callable[..., Minicontainer],
    sample: Path,
) -> None:
    name = publish(any_registry, sample, PUBLISHERS[publisher])
    digest = tools.digest(any_registry, name)
    ours, there = make_ours(any_registry), name.replace("tests/", "pushed/")
    ours.succeed("pull", name)
    ours.succeed("tag", name, there)
    assert f"1: digest: {digest}" in ours.succeed("push", there)
    assert tools.digest(any_registry, there) == digest
    assert tools.podman_digest(any_registry, there) == digest
    assert tools.docker_digest(any_registry, there) == digest


def test_all_blobs_go_to_a_registry_that_has_none(
    tools: Tools,
    publish: Publishing,
    plain: Registry,
    make_ours: Callable[..., Minicontainer],
    tmp_path: Path,
    sample: Path,
) -> None:
    name = publish(plain, sample)
    with registry(tmp_path / "empty") as empty:
        ours, there = make_ours(plain, empty), name.replace(plain.address, empty.address)
        ours.succeed("pull", name)
        ours.succeed("tag", name, there)
        ours.succeed("push", there)
        assert tools.digest(empty, there) == tools.digest(plain, name)
        assert len([each for each in empty.requests() if each.method == "PUT"]) == 4, (
            "three blobs, one manifest"
        )


def test_a_second_push_sends_no_blob(
    publish: Publishing, plain: Registry, ours: Minicontainer, sample: Path
) -> None:
    name = publish(plain, sample)
    ours.succeed("pull", name)
    with plain.watched() as requests:
        ours.succeed("push", name)
    assert {request.method for request in requests} == {"GET", "HEAD", "PUT"}
    [put] = [request for request in requests if request.method == "PUT"]
    assert put.path.endswith("/manifests/1")


def test_blobs_are_mounted_from_another_repository(
    tools: Tools, publish: Publishing, plain: Registry, ours: Minicontainer, sample: Path
) -> None:
    first = publish(plain, sample)
    second = first.replace("tests/", "mounted/")
    ours.succeed("pull", first)
    ours.succeed("tag", first, second)
    with plain.watched() as requests:
        ours.succeed("push", second)
    posts = [request for request in requests if request.method == "POST"]
    assert len(posts) == 3, "two layers and a configuration"
    for request in posts:
        assert parse_qs(urlsplit(request.path).query).keys() == {"mount", "from"}
        assert request.status == 201
    assert not [
        request for request in requests if "/blobs/uploads/" in request.path and request.method != "POST"
    ]
    assert tools.docker_digest(plain, second) == tools.digest(plain, first)


@pytest.mark.parametrize("any_registry", ["basic", "token"], indirect=True)
def test_a_stranger_may_not_push(
    publish: Publishing,
    plain: Registry,
    any_registry: Registry,
    make_ours: Callable[..., Minicontainer],
    sample: Path,
) -> None:
    here = publish(plain, sample)
    stranger, there = make_ours(), here.replace(plain.address, any_registry.address)
    stranger.succeed("pull", here)
    stranger.succeed("tag", here, there)
    with any_registry.watched() as requests:
        done = stranger.call("push", there)
    assert done.returncode == 1
    assert f"minicontainer login {any_registry.address}" in done.stderr
    assert 401 in {request.status for request in requests}
    assert not [each for each in requests if each.method not in {"GET", "HEAD"} and each.status < 400]


@pytest.mark.parametrize("any_registry", ["token"], indirect=True)
def test_a_stranger_may_pull_what_everybody_may(
    publish: Publishing,
    any_registry: Registry,
    make_ours: Callable[..., Minicontainer],
    sample: Path,
) -> None:
    make_ours().succeed("pull", publish(any_registry, sample))


@pytest.mark.parametrize("any_registry", ["basic", "token"], indirect=True)
def test_login_opens_what_logout_closes(
    publish: Publishing,
    any_registry: Registry,
    make_ours: Callable[..., Minicontainer],
    sample: Path,
) -> None:
    name, stranger = publish(any_registry, sample), make_ours()
    refused = stranger.call("login", "--username", USER, "--password", "wrong", any_registry.address)
    assert refused.returncode == 1
    stranger.succeed("login", "--username", USER, "--password", PASSWORD, any_registry.address)
    stranger.succeed("pull", name)
    stranger.succeed("push", name)
    stranger.succeed("logout", any_registry.address)
    assert stranger.call("push", name).returncode == 1
