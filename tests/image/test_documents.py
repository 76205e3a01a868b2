"""Manifests, indexes and configurations of strangers: what is right is read, what is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from minicontainer.errors import SpecError, Unsupported
from minicontainer.image.documents import MAX, as_oci, decode_config, decode_manifest, require_image
from minicontainer.oci.image import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA_1,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Index,
    Manifest,
)
from tests.oci.mutations import mutated_texts

DIGEST, OTHER = f"sha256:{'0' * 64}", f"sha256:{'1' * 64}"
Document = dict[str, Any]


def descriptor(media_type: str, digest: str = DIGEST, size: object = 100) -> Document:
    return {"mediaType": media_type, "digest": digest, "size": size}


def manifest(count: int = 1, /, **changes: object) -> Document:
    document: Document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG),
        "layers": [descriptor(OCI_LAYER + "+gzip", OTHER)] * count,
    }
    return document | changes


def index(count: int = 1, /, **changes: object) -> Document:
    document: Document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_MANIFEST)] * count,
    }
    return document | changes


def config(diff_ids: object = (OTHER,), **changes: object) -> Document:
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return {"architecture": "amd64", "os": "linux", "rootfs": rootfs} | changes


def without(document: Document, member: str) -> Document:
    return {name: value for name, value in document.items() if name != member}


def raw(document: object) -> bytes:
    return json.dumps(document).encode()


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(SpecError) as raised:
        call()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
    return str(raised.value)


# --- what is right -----------------------------------------------------------------------------


def test_a_manifest_is_read() -> None:
    read = decode_manifest(raw(manifest(2)), OCI_MANIFEST)
    assert isinstance(read, Manifest)
    assert read.config.digest == DIGEST
    assert [layer.digest for layer in read.layers] == [OTHER, OTHER]


def test_an_index_is_read() -> None:
    read = decode_manifest(raw(index()), OCI_INDEX)
    assert isinstance(read, Index)
    assert read.manifests[0].media_type == OCI_MANIFEST


@pytest.mark.parametrize("media_type", ["", OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_document_that_does_not_name_its_kind_is_what_it_was_sent_as(media_type: str) -> None:
    assert isinstance(decode_manifest(raw(without(manifest(), "mediaType")), media_type), Manifest)


def test_without_any_name_the_shape_tells_the_kind() -> None:
    assert isinstance(decode_manifest(raw(without(index(), "mediaType"))), Index)


def test_members_that_nobody_knows_are_ignored() -> None:
    assert isinstance(decode_manifest(raw(manifest(future={"a": [1]}))), Manifest)


def test_go_writes_an_empty_list_as_null() -> None:
    read = decode_manifest(raw(manifest(layers=None)))
    assert isinstance(read, Manifest)
    assert read.layers == ()
    assert decode_config(raw(config(None)), read).rootfs.diff_ids == ()
    assert decode_manifest(raw(index(manifests=None))) == decode_manifest(raw(index(0)))


def test_a_configuration_is_read() -> None:
    settings = {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Entrypoint": None, "ExposedPorts": {"80/tcp": {}}}
    read = decode_config(raw(config(config=settings, history=[{"created_by": "x", "empty_layer": True}])))
    assert read.rootfs.diff_ids == (OTHER,)
    assert read.config is not None
    assert read.config.env == ("PATH=/bin",)
    assert read.history is not None
    assert read.history[0].empty_layer


# --- what is wrong -----------------------------------------------------------------------------

WRONG_MANIFESTS: dict[str, tuple[object, str]] = {
    "not an object": ([], "manifest: not a JSON object"),
    "nothing": (None, "manifest: not a JSON object"),
    "an unknown schemaVersion": (manifest(schemaVersion=3), "manifest: schemaVersion: 3"),
    "schemaVersion as text": (manifest(schemaVersion="2"), "manifest: schemaVersion: '2', and only 2"),
    "schemaVersion true": (manifest(schemaVersion=True), "manifest: schemaVersion: True"),
    "schemaVersion 2.0": (manifest(schemaVersion=2.0), "manifest: schemaVersion: 2.0"),
    "no schemaVersion": (without(manifest(), "schemaVersion"), "manifest: schemaVersion: None"),
    "an unknown mediaType": (manifest(mediaType="text/html"), "manifest: mediaType: 'text/html'"),
    "a mediaType that is no text": (manifest(mediaType=2), "manifest: mediaType: not a string"),
    "a configuration's mediaType": (manifest(mediaType=OCI_CONFIG), "neither a manifest nor an index"),
    "a manifest with manifests": (manifest(manifests=[]), "manifest: manifests: a manifest has no such"),
    "an index with layers": (index(layers=[]), "manifest: layers: an index has no such member"),
    "an index with a config": (index(config={}), "manifest: config: an index has no such member"),
    "a manifest with fsLayers": (manifest(fsLayers=[]), "manifest: fsLayers: a manifest has no such"),
    "no config": (without(manifest(), "config"), "manifest: Object missing required field config"),
    "no layers": (without(manifest(), "layers"), "manifest: Object missing required field layers"),
    "layers that are no list": (manifest(layers={}), "manifest: layers: Expected array"),
    "a layer that is no object": (manifest(layers=["x"]), "manifest: layers[0]: Expected object"),
    "a layer without a digest": (
        manifest(layers=[{"mediaType": OCI_LAYER, "size": 1}]),
        "manifest: layers[0]: Object missing required field digest",
    ),
    "501 layers": (manifest(501), "manifest: layers: 501 of them; at most 500"),
    "10000 layers": (manifest(10000), "manifest: layers: 10000 of them; at most 500"),
    "a configuration of 5 MB": (
        manifest(config=descriptor(OCI_CONFIG, size=5 << 20)),
        "manifest: config.size: 5242880; it must be from 1 to 4194304",
    ),
    "5000 images": (index(5000), "index: manifests: 5000 of them; at most 1000"),
    "a manifest of 5 MB": (
        index(manifests=[descriptor(OCI_MANIFEST, size=5 << 20)]),
        "index: manifests[0].size: 5242880; it must be from 1 to 4194304",
    ),
    "a wrong digest in an index": (
        index(manifests=[descriptor(OCI_MANIFEST, "sha256:0")]),
        "index: manifests[0].digest: 'sha256:0' is not a digest",
    ),
    "a wrong subject": (
        manifest(subject=descriptor(OCI_MANIFEST, "sha256:../../x")),
        "manifest: subject.digest: 'sha256:../../x' is not a digest",
    ),
}


@pytest.mark.parametrize(("document", "words"), WRONG_MANIFESTS.values(), ids=WRONG_MANIFESTS)
def test_a_wrong_manifest_is_refused_with_the_field(document: object, words: str) -> None:
    assert words in refusal(lambda: decode_manifest(raw(document)))


@pytest.mark.parametrize("size", [0, -1, -(2**63), 2**63, 10**30, 1.5, "100", None, True])
@pytest.mark.parametrize("place", ["config", "layers"])
def test_a_wrong_size_is_refused(size: object, place: str) -> None:
    wrong = descriptor(OCI_LAYER, size=size)
    document = manifest(config=wrong) if place == "config" else manifest(layers=[wrong])
    assert refusal(lambda: decode_manifest(raw(document))).startswith(f"manifest: {place}")


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:",
        "sha256:../../../etc/passwd",
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "SHA256:" + "0" * 64,
        "sha256-" + "0" * 64,
        "md5:" + "0" * 32,
        "sha512:" + "0" * 64,
        "sha256:" + "0" * 64 + "\n",
        " sha256:" + "0" * 64,
        "sha256:" + "\uff10" * 64,
        "0" * 64,
        "../" * 20 + "0" * 11,
        "x" * 100_000,
    ],
)
def test_what_is_no_digest_never_becomes_a_path(digest: str) -> None:
    assert "is not a digest" in refusal(
        lambda: decode_manifest(raw(manifest(layers=[descriptor(OCI_LAYER, digest)])))
    )
    assert "config: rootfs.diff_ids[0]: " in refusal(lambda: decode_config(raw(config([digest]))))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "manifest: invalid JSON"),
        (b"{", "manifest: invalid JSON"),
        (b"\xff", "manifest: the JSON text is not UTF-8"),
        (raw(manifest()) + b"x", "unexpected text after the value"),
        (b'{"schemaVersion": 2, "schemaVersion": 2}', 'the key "schemaVersion" appears twice'),
        (b'{"schemaVersion": 2, "layers": ' + b"[" * 200_000, "nested more than 500 levels deep"),
        (b'{"a":' * 200_000, "nested more than 500 levels deep"),
        (b" " * (MAX + 1), f"manifest: larger than {MAX} bytes"),
    ],
    ids=[
        "empty",
        "cut off",
        "not UTF-8",
        "text after it",
        "key twice",
        "deep arrays",
        "deep objects",
        "large",
    ],
)
def test_wrong_json_is_refused(text: bytes, words: str) -> None:
    assert words in refusal(lambda: decode_manifest(text))


@pytest.mark.parametrize(
    ("said", "sent"),
    [(OCI_MANIFEST, OCI_INDEX), (OCI_MANIFEST, DOCKER_MANIFEST), (DOCKER_MANIFEST, OCI_MANIFEST)],
)
def test_a_document_sent_as_something_else_is_refused(said: str, sent: str) -> None:
    words = refusal(lambda: decode_manifest(raw(manifest(mediaType=said)), sent))
    assert said in words
    assert sent in words


def test_an_index_sent_as_a_manifest_is_refused_even_if_it_does_not_say_what_it_is() -> None:
    nameless = raw(without(index(), "mediaType"))
    assert "manifest: manifests" in refusal(lambda: decode_manifest(nameless, OCI_MANIFEST))


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []}, ""),
        ({"schemaVersion": 1, "fsLayers": [], "signatures": []}, DOCKER_SCHEMA_1[1]),
        ({"schemaVersion": 1, "mediaType": DOCKER_SCHEMA_1[0]}, DOCKER_SCHEMA_1[0]),
    ],
)
def test_schema_1_is_refused_by_its_name(document: Document, media_type: str) -> None:
    with pytest.raises(Unsupported, match="schema 1") as raised:
        decode_manifest(raw(document), media_type)
    assert "push the image again" in raised.value.hint


WRONG_CONFIGS: dict[str, tuple[object, str]] = {
    "not an object": ([], "config: not a JSON object"),
    "no rootfs": (without(config(), "rootfs"), "config: Object missing required field rootfs"),
    "no os": (without(config(), "os"), "config: Object missing required field os"),
    "an empty os": (config(os=""), "config: os: must not be empty"),
    "an empty architecture": (config(architecture=""), "config: architecture: must not be empty"),
    "another rootfs": (config(rootfs={"type": "disk", "diff_ids": []}), "config: rootfs.type: 'disk'"),
    "diff_ids as text": (config(DIGEST), "config: rootfs.diff_ids: Expected array"),
    "Env as an object": (config(config={"Env": {"A": "b"}}), "config: config.Env: Expected array | null"),
    "a variable that is no text": (config(config={"Env": [1]}), "config: config.Env[0]: Expected str"),
    "Cmd as text": (config(config={"Cmd": "sh"}), "config: config.Cmd: Expected array | null"),
    "a NUL": (config(config={"WorkingDir": "/\0"}), "must not contain a NUL character"),
    "half a character": (config(config={"User": "\ud800"}), "half of a surrogate pair"),
}


@pytest.mark.parametrize(("document", "words"), WRONG_CONFIGS.values(), ids=WRONG_CONFIGS)
def test_a_wrong_configuration_is_refused_with_the_field(document: object, words: str) -> None:
    assert words in refusal(lambda: decode_config(raw(document)))


@pytest.mark.parametrize("diff_ids", [[], [OTHER, OTHER]])
def test_a_configuration_of_other_layers_than_the_manifest_is_refused(diff_ids: list[str]) -> None:
    read = decode_manifest(raw(manifest(1)))
    assert isinstance(read, Manifest)
    words = refusal(lambda: decode_config(raw(config(diff_ids)), read))
    assert words == f"config: rootfs.diff_ids: {len(diff_ids)} are named, and the manifest has 1 layers"


def test_what_is_no_container_image_is_refused_by_its_type() -> None:
    chart = decode_manifest(raw(manifest(config=descriptor("application/vnd.cncf.helm.config.v1+json"))))
    locked = decode_manifest(raw(manifest(layers=[descriptor(OCI_LAYER + "+gzip+encrypted")])))
    assert isinstance(chart, Manifest)
    assert isinstance(locked, Manifest)
    with pytest.raises(Unsupported, match="helm"):
        require_image(chart)
    with pytest.raises(Unsupported, match=r"layers\[0\] .*encrypted"):
        require_image(locked)


@given(mutated_texts(manifest(2, annotations={"a": "b"}, subject=descriptor(OCI_MANIFEST))))
def test_a_spoiled_manifest_is_read_or_refused(text: bytes) -> None:
    try:
        assert decode_manifest(text, OCI_MANIFEST) == decode_manifest(as_oci(text))
    except (SpecError, Unsupported) as problem:
        assert "\n" not in str(problem)


@given(mutated_texts(config(config={"Env": ["A=b"], "Cmd": None, "Labels": {}}, history=[{"comment": "x"}])))
def test_a_spoiled_configuration_is_read_or_refused(text: bytes) -> None:
    try:
        read = decode_config(text)
    except SpecError as problem:
        assert "\n" not in str(problem)
    else:
        assert all(len(diff_id) > 64 for diff_id in read.rootfs.diff_ids)


# --- Docker's types as the OCI's ---------------------------------------------------------------


def test_dockers_media_types_become_the_ocis_and_nothing_else_changes() -> None:
    layers = [
        descriptor(DOCKER_LAYER + ".gzip"),
        descriptor(DOCKER_LAYER) | {"urls": ["https://example.com/x"]},
        descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
    ]
    docker = manifest(
        mediaType=DOCKER_MANIFEST,
        config=descriptor(DOCKER_CONFIG),
        layers=layers,
        x={"y": [None, 10**30, "\u00fc"]},
    )
    oci = json.loads(as_oci(raw(docker)))
    assert oci["mediaType"] == OCI_MANIFEST
    assert oci["config"] == descriptor(OCI_CONFIG)
    assert [layer["mediaType"] for layer in oci["layers"]] == [
        OCI_LAYER + "+gzip",
        OCI_LAYER,
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ]
    assert oci["layers"][1]["urls"] == ["https://example.com/x"]
    assert oci["x"] == docker["x"]
    assert list(oci) == list(docker)
    assert as_oci(as_oci(raw(docker))) == as_oci(raw(docker))


def test_an_oci_manifest_stays_as_it_is_byte_for_byte() -> None:
    odd = json.dumps(manifest(), indent=7).encode() + b"\n\n"
    assert as_oci(odd) == odd


def test_what_cannot_be_read_cannot_be_rewritten_either() -> None:
    assert "layers[0]" in refusal(lambda: as_oci(raw(manifest(layers=[None], mediaType=DOCKER_MANIFEST))))


def test_of_an_index_nothing_is_rewritten() -> None:
    docker = raw(index(mediaType=DOCKER_INDEX, manifests=[descriptor(DOCKER_MANIFEST)]))
    assert as_oci(docker) == docker
