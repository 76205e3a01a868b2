"""Names: set, found as docker finds them, taken away; what other programs wrote into index.json survives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.errors import Conflict, Error, NotFound, SpecError, Unsupported
from minicontainer.image.platform import host
from minicontainer.image.reference import parse
from minicontainer.image.store.images import DEEPEST, load
from minicontainer.image.store.names import Named, find, name_of, names, remove_name, roots, set_name
from minicontainer.image.store.store import Store
from minicontainer.oci.image import OCI_INDEX, OCI_MANIFEST, Descriptor
from tests.image.store.contents import Added, add_image, add_json, add_named

REF_NAME = "org.opencontainers.image.ref.name"
OTHER = f"sha256:{'1' * 64}"


def entry(image: Added, name: str = "", **members: Any) -> dict[str, Any]:
    described = {"mediaType": OCI_MANIFEST, "digest": image.manifest.digest, "size": image.manifest.size}
    return described | ({"annotations": {REF_NAME: name}} if name else {}) | members


def write_index(store: Store, *entries: dict[str, Any], **members: Any) -> None:
    """Write index.json as another program does."""
    store.index.write_text(json.dumps({"schemaVersion": 2, "manifests": entries} | members))


def index(store: Store) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(store.index.read_text())
    return document


# --- setting and reading -----------------------------------------------------------------------


def test_a_name_is_read_back_as_it_was_set(store: Store) -> None:
    image = add_image(store, "one")
    named = Named("docker.io/library/web:latest", image.manifest, OTHER)
    set_name(store, named)
    assert names(store) == {named.name: named}
    assert named.reference == parse("web:latest")
    assert index(store)["manifests"] == [
        entry(image, annotations={REF_NAME: "docker.io/library/web:latest", "minicontainer.origin": OTHER})
    ]


def test_a_name_is_completed_before_it_is_written(store: Store) -> None:
    image = add_named(store, "web", "one")
    assert index(store)["manifests"] == [entry(image, "docker.io/library/web:latest")]


def test_a_name_has_one_image_and_an_image_many_names(store: Store) -> None:
    one, two = add_image(store, "one"), add_image(store, "two")
    for name, image in (("web:1", one), ("web:2", one), ("web:1", two)):
        set_name(store, Named(name, image.manifest))
    assert {name: named.descriptor.digest for name, named in names(store).items()} == {
        "docker.io/library/web:1": two.manifest.digest,
        "docker.io/library/web:2": one.manifest.digest,
    }


def test_what_is_not_here_gets_no_name(store: Store) -> None:
    missing = Descriptor(media_type=OCI_MANIFEST, digest=OTHER, size=2)
    with pytest.raises(NotFound, match=OTHER):
        set_name(store, Named("web", missing))
    assert index(store)["manifests"] == []


def test_a_wrong_name_is_refused_before_anything_is_written(store: Store) -> None:
    image = add_image(store, "one")
    with pytest.raises(SpecError, match="must be lowercase"):
        set_name(store, Named("Web", image.manifest))
    assert index(store)["manifests"] == []


def test_a_registrys_annotations_do_not_become_ours(store: Store) -> None:
    image = add_image(store, "one")
    said = {REF_NAME: "evil", "minicontainer.origin": OTHER, "io.containerd.image.name": "evil"}
    offered = Descriptor(
        media_type=OCI_MANIFEST,
        digest=image.manifest.digest,
        size=image.manifest.size,
        annotations=said,
        urls=("https://example.com",),
        platform=host(),
    )
    set_name(store, Named("web", offered))
    (written,) = index(store)["manifests"]
    assert written["annotations"] == {REF_NAME: "docker.io/library/web:latest"}
    assert written["platform"]["os"] == "linux"
    assert "urls" not in written


def test_a_name_is_taken_away_and_the_image_stays(store: Store) -> None:
    image = add_named(store, "web", "one")
    remove_name(store, "web")
    assert names(store) == {}
    assert store.has(image.manifest.digest)
    with pytest.raises(NotFound, match=r"no such image: docker\.io/library/web"):
        remove_name(store, "web")


# --- other programs ----------------------------------------------------------------------------


def test_what_other_programs_wrote_survives(store: Store) -> None:
    theirs, ours = add_image(store, "one"), add_image(store, "two")
    foreign = [
        entry(
            theirs,
            "web",
            platform={"os": "linux", "architecture": "arm64"},
            future=[10**30, {"a": None}, [[[]]]],
        ),
        entry(theirs, "Not A Docker Name", artifactType="x/y"),
        entry(theirs),
        entry(theirs, annotations={"com.example": "\u00fc"}),
    ]
    write_index(store, *foreign, annotations={"a": "b"}, mediaType=OCI_INDEX, future=1.5)
    set_name(store, Named("other", ours.manifest))
    after = index(store)
    assert after["manifests"] == [*foreign, entry(ours, "docker.io/library/other:latest")]
    assert {name: after[name] for name in ("annotations", "future")} == {
        "annotations": {"a": "b"},
        "future": 1.5,
    }
    remove_name(store, "other")
    assert index(store)["manifests"] == foreign


def test_their_names_are_read_as_docker_reads_them(store: Store) -> None:
    image = add_image(store, "one")
    written = ["busybox", "latest", "a/b:1", "localhost:5000/x", f"y@{OTHER}", "Upper", "with space", ""]
    write_index(store, *[entry(image, name) for name in written])
    assert sorted(names(store)) == [
        "docker.io/a/b:1",
        "docker.io/library/busybox:latest",
        "docker.io/library/latest:latest",
        f"docker.io/library/y@{OTHER}",
        "localhost:5000/x:latest",
    ]
    assert len(list(roots(store))) == len(written)


def test_setting_a_name_takes_it_from_another_programs_entry(store: Store) -> None:
    theirs, ours = add_image(store, "one"), add_image(store, "two")
    write_index(store, entry(theirs, "busybox"), entry(theirs, "docker.io/busybox:latest"))
    set_name(store, Named("busybox:latest", ours.manifest))
    assert index(store)["manifests"] == [entry(ours, "docker.io/library/busybox:latest")]


def test_of_entries_for_one_name_the_full_one_counts_then_the_later(store: Store) -> None:
    one, two, three = (add_image(store, word) for word in ("one", "two", "three"))
    write_index(store, entry(one, "web"), entry(two, "web"))
    assert find(store, "web").descriptor.digest == two.manifest.digest
    write_index(store, entry(three, "docker.io/library/web:latest"), entry(two, "web"))
    assert find(store, "web").descriptor.digest == three.manifest.digest


def test_a_list_that_a_program_in_go_left_empty_is_empty(store: Store) -> None:
    store.index.write_text('{"schemaVersion":2,"manifests":null}')
    assert names(store) == {}
    add_named(store, "web", "one")
    assert len(names(store)) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "index.json: invalid JSON: unexpected EOF"),
        ("[]", "index.json: not a JSON object"),
        ('{"manifests": {}}', "index.json: manifests: not an array of objects"),
        ('{"manifests": [1]}', "index.json: manifests: not an array of objects"),
        ('{"manifests": [{"digest": "x"}]}', r"index.json: manifests\[0\]: Object missing required field"),
        (
            '{"manifests": [{"mediaType": "x", "digest": "sha256:../x", "size": 1}]}',
            r"index.json: manifests\[0\].digest: 'sha256:../x' is not a digest",
        ),
        ('{"manifests": [{"mediaType": "x", "digest": "x", "size": -1}]}', r"manifests\[0\].*>= 0"),
        ('{"a": 1, "a": 2}', 'the key "a" appears twice'),
    ],
)
def test_a_wrong_index_is_named_and_not_overwritten(store: Store, text: str, words: str) -> None:
    image = add_image(store, "one")
    store.index.write_text(text)
    with pytest.raises(SpecError, match=words):
        names(store)
    with pytest.raises(SpecError, match=words):
        set_name(store, Named("web", image.manifest))
    assert store.index.read_text() == text


def test_an_origin_that_is_no_digest_is_none(store: Store) -> None:
    image = add_image(store, "one")
    write_index(store, entry(image, annotations={REF_NAME: "web", "minicontainer.origin": "../../x"}))
    assert find(store, "web").origin == ""


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2), st.text(max_size=30))
def test_any_annotations_are_survived(annotations: dict[str, str], name: str) -> None:
    text = name_of({"annotations": annotations | {REF_NAME: name}})
    assert text == "" or parse(text).stored_name() == text


# --- finding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["web", "web:latest", "library/web", "docker.io/web", "index.docker.io/library/web:latest"]
)
def test_an_image_is_found_by_every_form_of_its_name(store: Store, text: str) -> None:
    image = add_named(store, "web", "one")
    assert find(store, text).descriptor == image.manifest
    assert find(store, parse(text)).descriptor == image.manifest


def test_an_image_is_found_by_its_id_and_by_the_beginning_of_it(store: Store) -> None:
    image = add_named(store, "web", "one")
    add_named(store, "other", "two")
    digest = image.config.digest
    for text in (digest, digest[7:], digest[7:19], digest[:20]):
        assert find(store, text).name == "docker.io/library/web:latest"
    assert find(store, image.manifest.digest).descriptor == image.manifest


def test_the_beginning_of_several_ids_is_refused(store: Store) -> None:
    first: dict[str, str] = {}
    for number in range(17):  # two of them begin alike
        image = add_named(store, f"n{number}", str(number))
        digit = image.config.digest[7]
        if digit in first:
            break
        first[digit] = image.config.digest
    with pytest.raises(Conflict, match=f"{digit}: 2 images have an id that begins so"):
        find(store, digit)


def test_two_names_of_one_image_share_its_id(store: Store) -> None:
    image = add_named(store, "web:1", "one")
    set_name(store, Named("web:2", image.manifest))
    assert find(store, image.config.digest[7:19]).descriptor == image.manifest


def test_a_name_goes_before_an_id(store: Store) -> None:
    image = add_named(store, "web", "one")
    looks_like_it = image.config.digest[7:12]
    other = add_named(store, looks_like_it, "two")
    assert find(store, looks_like_it).descriptor == other.manifest


def test_an_image_is_found_by_the_digest_that_its_registry_gave_it(store: Store) -> None:
    image = add_image(store, "one")
    set_name(store, Named("web:1", image.manifest, OTHER))
    for text in (f"web@{OTHER}", f"web:anything@{OTHER}", f"web@{image.manifest.digest}"):
        assert find(store, text).name == "docker.io/library/web:1"
    for text in (f"other@{OTHER}", f"web@sha256:{'2' * 64}"):
        with pytest.raises(NotFound):
            find(store, text)


def test_an_image_that_was_pulled_by_digest_is_found_by_it_alone(store: Store) -> None:
    image = add_named(store, f"web@{OTHER}", "one")
    assert find(store, f"web:1@{OTHER}").descriptor == image.manifest
    with pytest.raises(NotFound):
        find(store, "web")


@pytest.mark.parametrize("text", ["web", "web:1", "a/b", "abcdef", "0" * 64, OTHER, f"web@{OTHER}"])
def test_what_is_not_here_is_named_with_the_way_to_get_it(store: Store, text: str) -> None:
    add_named(store, "other", "one")
    with pytest.raises(NotFound, match=f"no such image: {text}") as raised:
        find(store, text)
    assert raised.value.hint == f"minicontainer pull {text}"


def test_a_damaged_image_does_not_hide_the_others(store: Store) -> None:
    broken, whole = add_named(store, "broken", "one"), add_named(store, "whole", "two")
    store.path(broken.manifest.digest).write_text("{}")
    assert find(store, whole.config.digest[7:]).descriptor == whole.manifest
    with pytest.raises(NotFound):
        find(store, broken.config.digest)


# --- reading an image --------------------------------------------------------------------------


def test_an_image_is_read_with_its_documents(store: Store) -> None:
    added = add_named(store, "web", "one", "two")
    image = load(store, find(store, "web"))
    assert image.id == added.config.digest
    assert image.diff_ids == added.diff_ids
    assert image.descriptor == added.manifest
    assert [layer.digest for layer in image.manifest.layers] == [layer.digest for layer in added.layers]


def test_of_another_programs_index_the_image_for_this_machine_is_read(store: Store) -> None:
    added = add_image(store, "one")
    here = {"os": "linux", "architecture": host().architecture, "variant": host().variant}
    inner = add_json(
        store,
        OCI_INDEX,
        {"schemaVersion": 2, "manifests": [entry(added, platform=here)], "mediaType": OCI_INDEX},
    )
    outer = add_json(store, OCI_INDEX, {"schemaVersion": 2, "manifests": [inner]})
    set_name(store, Named("web", outer))
    image = load(store, find(store, "web"))
    assert image.descriptor.digest == added.manifest.digest
    assert image.named.descriptor == outer


def test_indexes_within_indexes_end(store: Store) -> None:
    innermost = add_json(store, OCI_INDEX, {"schemaVersion": 2, "manifests": []})
    for _ in range(DEEPEST):
        innermost = add_json(store, OCI_INDEX, {"schemaVersion": 2, "manifests": [innermost]})
    set_name(store, Named("web", innermost))
    with pytest.raises(SpecError, match="indexes within indexes"):
        load(store, find(store, "web"))


def test_what_is_no_container_image_is_not_read_as_one(store: Store) -> None:
    chart = add_json(store, "application/vnd.cncf.helm.config.v1+json", {"name": "chart"})
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": chart, "layers": []}
    set_name(store, Named("chart", add_json(store, OCI_MANIFEST, manifest)))
    with pytest.raises(Unsupported, match="helm"):
        load(store, find(store, "chart"))


def test_an_image_of_which_a_part_is_missing_is_not_read(store: Store) -> None:
    added = add_named(store, "web", "one")
    store.path(added.config.digest).unlink()
    with pytest.raises(Error, match=added.config.digest):
        load(store, find(store, "web"))
