"""What is asked of a registry without pulling: its tags, and what refers to an image."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from minicontainer.oci.digest import digest_of
from minicontainer.oci.image import OCI_INDEX, OCI_MANIFEST
from tests.image.interop.ours import Minicontainer
from tests.image.interop.tools import PEERS
from tests.registries import Registry

pytestmark = pytest.mark.requires(*PEERS)
Publishing = Callable[..., str]


def put_manifest(name: str, media_type: str, data: bytes) -> None:
    """Give a manifest a name in a registry, HOST/REPOSITORY:TAG, without any of our code."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    connection = HTTPConnection(host, timeout=30)
    connection.request("PUT", f"/v2/{repository}/manifests/{tag}", data, {"Content-Type": media_type})
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    connection.close()


def manifest_of(layout: Path) -> bytes:
    """Read the manifest of a layout's only image."""
    [descriptor] = json.loads((layout / "index.json").read_bytes())["manifests"]
    digest: str = descriptor["digest"]
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def test_all_tags_of_a_repository_are_listed(
    publish: Publishing, plain: Registry, ours: Minicontainer, sample: Path
) -> None:
    name = publish(plain, sample)
    repository = name.removesuffix(":1")
    for number in range(2, 151):
        put_manifest(f"{repository}:{number}", OCI_MANIFEST, manifest_of(sample))
    listed = ours.succeed("image", "tags", repository).splitlines()
    assert sorted(listed, key=int) == [str(number) for number in range(1, 151)]


def test_the_tags_of_an_unknown_repository_are_not_found(plain: Registry, ours: Minicontainer) -> None:
    done = ours.call("image", "tags", f"{plain.address}/no/such")
    assert done.returncode == 1
    assert "no/such" in done.stderr


def test_referrers_are_found_by_the_tag_where_a_registry_has_no_list_of_them(
    publish: Publishing, plain: Registry, ours: Minicontainer, sample: Path
) -> None:
    """The registry, 2.8, is older than the list; whoever signs keeps an index under the digest's tag."""
    name = publish(plain, sample)
    manifest = manifest_of(sample)
    subject = digest_of(manifest)
    signature = json.loads(manifest) | {
        "artifactType": "application/vnd.example.signature",
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": len(manifest)},
    }
    data = json.dumps(signature).encode()
    repository = name.removesuffix(":1")
    put_manifest(f"{repository}:signature", OCI_MANIFEST, data)
    descriptor = {"mediaType": OCI_MANIFEST, "digest": digest_of(data), "size": len(data)}
    descriptor["artifactType"] = signature["artifactType"]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor]}
    put_manifest(f"{repository}:{subject.replace(':', '-')}", OCI_INDEX, json.dumps(index).encode())
    said = ours.succeed("image", "referrers", name)
    assert digest_of(data) in said
    assert "application/vnd.example.signature" in said


def test_an_image_without_referrers_has_none(
    publish: Publishing, plain: Registry, ours: Minicontainer, sample: Path
) -> None:
    assert "sha256:" not in ours.succeed("image", "referrers", publish(plain, sample))
