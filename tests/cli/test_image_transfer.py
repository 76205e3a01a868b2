"""`pull`, `push`, `image tags` and `referrers`: what is said, whole, and what is asked of the registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minicontainer.cli import image_transfer
from minicontainer.cli.image_format import short_id
from minicontainer.image.configuration import Configuration
from minicontainer.image.reference import Reference
from minicontainer.image.store.names import names
from minicontainer.image.store.store import Store
from minicontainer.oci.image import Descriptor
from tests.cli.conftest import Command
from tests.image.layouts import Layout, digest_of, file, layer
from tests.image.shelf import Shelf

LAYERS = [layer([file("one", b"1")]), layer([file("two", b"2" * 5000)])]
FIRST, SECOND = (short_id(digest_of(each.blob)) for each in LAYERS)
SIGNATURE = Descriptor(media_type="application/x", digest=digest_of(b"s"), size=7, artifact_type="sig\x1b[2J")


class Registry(Shelf):
    """A registry on a shelf with two tags, and a signature."""

    trusted: list[str]  # registries of the last command that need not prove who they are

    def tags(self, reference: Reference) -> Iterator[str]:
        yield from ("1", "latest")

    def referrers(self, reference: Reference, digest: str, artifact_type: str = "") -> Iterator[Descriptor]:
        self._note(f"referrers {digest} {artifact_type}")
        yield SIGNATURE


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Let the commands talk with a shelf instead of the network."""
    layout = Layout()
    made = Registry(layout, layout.add_image(LAYERS), tmp_path / "asked")

    def client(configuration: Configuration, *_: Any) -> Registry:
        made.trusted = [host for host, known in configuration.registries.items() if known.insecure]
        return made

    monkeypatch.setattr(image_transfer, "RegistryClient", client)
    return made


pytestmark = pytest.mark.requires("root")


def test_a_pull_says_what_docker_says(registry: Registry, store: Store, command: Command) -> None:
    said = command("pull", "registry.test/team/web")
    pulled = [line for line in said.out.splitlines() if line.endswith("Pull complete")]
    assert sorted(pulled) == sorted([f"{FIRST}: Pull complete", f"{SECOND}: Pull complete"])
    assert [line for line in said.out.splitlines() if line not in pulled] == [
        "Using default tag: latest",
        "latest: Pulling from team/web",
        f"{FIRST}: Pulling fs layer",
        f"{SECOND}: Pulling fs layer",
        f"Digest: {registry.served.digest}",
        "Status: Downloaded newer image for registry.test/team/web:latest",
        "registry.test/team/web:latest",
    ]
    assert (said.code, said.err) == (0, "")
    assert [*names(store)] == ["registry.test/team/web:latest"]


def test_what_is_there_is_up_to_date(registry: Registry, store: Store, command: Command) -> None:
    command("pull", "busybox:1")
    assert command("image", "pull", "busybox:1").out == (
        "1: Pulling from library/busybox\n"
        f"{FIRST}: Already exists\n"
        f"{SECOND}: Already exists\n"
        f"Digest: {registry.served.digest}\n"
        "Status: Image is up to date for busybox:1\n"
        "docker.io/library/busybox:1\n"
    )


def test_quiet_only_says_what_it_was(registry: Registry, store: Store, command: Command) -> None:
    assert command("pull", "-q", "busybox").out == "docker.io/library/busybox:latest\n"
    assert command("pull", "busybox:1", "--quiet").out == "docker.io/library/busybox:1\n"


def test_a_digest_is_pulled_as_what_it_is(registry: Registry, store: Store, command: Command) -> None:
    name = f"busybox@{registry.served.digest}"
    said = command("pull", name)
    assert said.out.startswith(f"docker.io/library/{name}: Pulling from library/busybox\n")
    assert said.out.endswith(f"Status: Downloaded newer image for {name}\ndocker.io/library/{name}\n")


def test_json_is_one_object_a_line(registry: Registry, store: Store, command: Command) -> None:
    objects = [json.loads(line) for line in command("pull", "--json", "busybox").out.splitlines()]
    assert objects[0] == {"status": "Using default tag: latest"}
    assert objects[1] == {"status": "Pulling from library/busybox", "id": "latest"}
    assert {"status": "Pulling fs layer", "progressDetail": {}, "id": FIRST} in objects
    assert {
        "status": "Downloading",
        "progressDetail": {"current": len(LAYERS[0].blob), "total": len(LAYERS[0].blob)},
        "id": FIRST,
    } in objects
    assert objects[-1] == {"status": "Status: Downloaded newer image for busybox:latest"}


def test_all_tags_are_pulled_one_after_the_other(registry: Registry, store: Store, command: Command) -> None:
    said = command("pull", "-a", "busybox")
    assert said.out.count("Pulling from") == 2
    assert said.out.endswith("Status: Downloaded newer image for busybox\ndocker.io/library/busybox\n")
    assert [*names(store)] == ["docker.io/library/busybox:1", "docker.io/library/busybox:latest"]
    assert command("pull", "-a", "busybox:1").err == ("minicontainer: tag can't be used with --all-tags/-a\n")


def test_a_repository_without_tags_is_up_to_date(
    registry: Registry, store: Store, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "tags", lambda reference: iter(()))
    assert command("pull", "-a", "busybox").out == (
        "Status: Image is up to date for busybox\ndocker.io/library/busybox\n"
    )


def test_an_image_for_another_machine_is_pulled_with_a_warning(
    registry: Registry, store: Store, command: Command
) -> None:
    assert "WARNING: the image is for linux/amd64, and not for linux/s390x\n" in (
        command("pull", "--platform", "linux/s390x", "busybox").out
    )
    assert "WARNING: the image" in command("pull", "-q", "--platform", "linux/s390x", "busybox").err


def test_a_registry_is_trusted_for_one_command(registry: Registry, store: Store, command: Command) -> None:
    command("pull", "-q", "--tls-verify=false", "registry.test:5000/web")
    assert registry.trusted == ["registry.test:5000"]
    command("pull", "-q", "--tls-verify=true", "registry.test:5000/web")
    assert registry.trusted == []


# --- push ------------------------------------------------------------------------------------------


def test_a_push_says_what_docker_says(registry: Registry, store: Store, command: Command) -> None:
    command("pull", "busybox")
    command("tag", "busybox", "registry.test/b")
    registry.layout.blobs.clear()
    said = command("push", "registry.test/b")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[:2] == ["Using default tag: latest", "The push refers to repository [registry.test/b]"]
    assert f"{FIRST}: Preparing" in lines
    assert f"{SECOND}: Pushed" in lines
    assert lines[-1] == f"latest: digest: {registry.served.digest} size: {registry.served.size}"


def test_what_the_registry_has_is_not_sent(registry: Registry, store: Store, command: Command) -> None:
    command("pull", "busybox:1")
    assert f"{FIRST}: Layer already exists\n" in command("push", "busybox:1").out
    assert command("push", "-q", "busybox:1").out == "docker.io/library/busybox:1\n"


def test_all_tags_are_pushed(registry: Registry, store: Store, command: Command) -> None:
    command("pull", "-a", "busybox")
    command("tag", "busybox", "other")
    registry.asked()
    assert command("push", "-a", "busybox").code == 0
    assert [line.split()[-1] for line in registry.asked() if line.startswith("manifest")] == ["1", "latest"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["nope"], "An image does not exist locally with the tag: nope"),
        (["-a", "nope"], "An image does not exist locally with the tag: nope"),
        (["-a", "busybox:1"], "tag can't be used with --all-tags/-a"),
        ([f"busybox@{digest_of(b'')}"], "cannot push a digest reference"),
        (["Busybox"], "invalid reference format: repository name (library/Busybox) must be lowercase"),
    ],
)
def test_what_cannot_be_pushed_is_said(
    words: list[str], problem: str, registry: Registry, store: Store, command: Command
) -> None:
    said = command("push", *words)
    assert said.code == 1
    assert said.err == f"minicontainer: {problem}\n"


# --- questions -------------------------------------------------------------------------------------


def test_the_tags_of_a_repository_are_listed(registry: Registry, store: Store, command: Command) -> None:
    assert command("image", "tags", "registry.test/web").out == "1\nlatest\n"


def test_what_refers_to_an_image_is_listed(registry: Registry, store: Store, command: Command) -> None:
    assert command("image", "referrers", "web").out == (
        f"DIGEST{' ' * 68}ARTIFACT TYPE   SIZE\n{SIGNATURE.digest}   sig\\x1b[2J      7\n"
    )
    digest = digest_of(b"other")
    shown = command("image", "referrers", f"web@{digest}", "--artifact-type", "a", "--format", "{{.Size}}")
    assert shown.out == "7\n"
    assert registry.asked() == ["resolve", f"referrers {registry.served.digest} ", f"referrers {digest} a"]
