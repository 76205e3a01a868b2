"""The short way from a name to an image gives what the readable one gives, and imports nothing slow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

import minicontainer
from minicontainer.errors import Error, SpecError
from minicontainer.image.store import lookup
from minicontainer.image.store.images import load
from minicontainer.image.store.names import Named, find, set_name
from minicontainer.image.store.store import Store
from minicontainer.oci.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from tests.image.store.contents import Added, add_image, add_json, add_named
from tests.oci.mutations import mutated_texts

ROOTFS = {"type": "layers", "diff_ids": []}
OTHER = f"sha256:{'1' * 64}"
FORMS = [
    "web",
    "web:latest",
    "library/web",
    "docker.io/web",
    "docker.io/library/web",
    "index.docker.io/web:latest",
]

PROBE = """
import sys
bare = set(sys.modules)
sys.path.insert(0, {package!r})
from minicontainer.image.store import leases, lookup, place
manifest, layers, config = lookup.resolve({root!r}, {text!r})
assert config["os"] == "linux"
leases.lease({root!r}, "c", manifest, [])
place.default_root()
sys.stdout.write(" ".join(sorted(set(sys.modules) - bare)))
"""
QUICK = {"__future__", "_ctypes", "_json", "fcntl", "minicontainer", "minicontainer.errors"} | {
    f"minicontainer.{name}"
    for name in (
        *("image", "image.store", "image.store.leases", "image.store.lookup", "image.store.place"),
        *("linux", "linux.descriptors", "linux.kernel", "linux.numbers", "linux.namespaces"),
        *("oci", "oci.json_text", "trace", "trace.events", "trace.json_lines"),
    )
}


def same_as_readable(store: Store, text: str) -> bool:
    """Compare with names.find and images.load."""
    image = load(store, find(store, text))
    config = json.loads(store.path(image.id).read_text())
    found = (image.descriptor.digest, [diff_id[7:] for diff_id in image.diff_ids], config)
    return lookup.resolve(str(store.root), text) == found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if the readable way is asked."""
    monkeypatch.setattr(lookup, "resolve_anything", lambda root, text: pytest.fail("the slow way was taken"))


@pytest.fixture
def web(store: Store) -> Added:
    return add_named(store, "web", "one", "two")


@pytest.mark.parametrize("text", FORMS[:3] + FORMS[4:5])
@pytest.mark.usefixtures("web", "quick")
def test_what_people_type_is_found_the_short_way(store: Store, text: str) -> None:
    assert same_as_readable(store, text)


@pytest.mark.parametrize("name", ["localhost/x", "localhost:5000/x:2", "Upper/x", "a/b:1", "x.y/a/b"])
@pytest.mark.usefixtures("quick")
def test_names_with_a_registry_are_found_the_short_way(store: Store, name: str) -> None:
    add_named(store, name, "one")
    if name != "Upper/x":
        assert same_as_readable(store, name)


@pytest.mark.parametrize("text", [*FORMS, "{id}", "{id:.12}", "{manifest}", "web@{manifest}"])
def test_every_other_form_is_found_the_long_way(store: Store, web: Added, text: str) -> None:
    wanted = text.format(id=web.config.digest[7:], manifest=web.manifest.digest)
    assert same_as_readable(store, wanted)


def test_names_of_other_programs_and_indexes_are_found_the_long_way(store: Store) -> None:
    image = add_image(store, "one")
    index = add_json(store, OCI_INDEX, {"schemaVersion": 2, "manifests": [image.manifest]})
    set_name(store, Named("many", index))
    document = json.loads(store.index.read_text())
    annotations = {"org.opencontainers.image.ref.name": "short"}
    document["manifests"].append(dict(document["manifests"][0], annotations=annotations))
    store.index.write_text(json.dumps(document))
    assert same_as_readable(store, "many")
    assert same_as_readable(store, "short")


@pytest.mark.parametrize("text", ["nothing", "a/b:c", f"web@{OTHER}", "0" * 64])
def test_what_is_not_here_is_none(store: Store, web: Added, text: str) -> None:
    assert lookup.resolve(str(store.root), text) is None


def test_where_there_is_no_store_there_is_no_image(tmp_path: Path) -> None:
    assert lookup.resolve(str(tmp_path / "nothing"), "web") is None


def test_a_wrong_name_is_refused(store: Store) -> None:
    with pytest.raises(SpecError, match="must be lowercase"):
        lookup.resolve(str(store.root), "Web")


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("config", "[]"),
        ("config", "{}"),
        ("config", '{"rootfs": {"diff_ids": ["sha256:../../../../etc"]}}'),
        ("config", '{"rootfs": {"diff_ids": [1]}}'),
        ("config", '{"rootfs": {"diff_ids": []}}'),
        ("config", '{"rootfs": []}'),
        ("manifest", "{"),
        ("manifest", '{"config": 1}'),
        ("manifest", '{"config": {"digest": "sha256:../../index.json"}}'),
        ("manifest", '{"config": {"digest": null}}'),
    ],
)
def test_wrong_documents_are_errors_and_never_paths(store: Store, web: Added, part: str, text: str) -> None:
    digest = web.config.digest if part == "config" else web.manifest.digest
    store.path(digest).write_text(text)
    with pytest.raises(Error):
        lookup.resolve(str(store.root), "web")


SETTINGS = {"Env": ["A=b"], "Cmd": ["sh"], "Entrypoint": None, "User": "1:2", "WorkingDir": "/"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutated_texts({"os": "linux", "architecture": "x", "rootfs": ROOTFS, "config": SETTINGS}))
@example(b'{"rootfs": {"diff_ids": []}, "config": {"Env": "A=b"}}')
@example(b'{"rootfs": {"diff_ids": []}, "config": {"Cmd": [1]}}')
@example(b'{"rootfs": {"diff_ids": []}, "config": {"User": 0.5}}')
@example(b'{"rootfs": {"diff_ids": []}, "config": [["Env", "A=b"]]}')
def test_what_a_container_begins_with_is_of_the_right_types_or_refused(store: Store, text: bytes) -> None:
    config = store.add(text, OCI_CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
    set_name(store, Named("spoiled", add_json(store, OCI_MANIFEST, manifest)))
    try:
        found = lookup.resolve(str(store.root), "spoiled")
    except Error:
        return
    assert found is not None
    begun = found[2].get("config") or {}
    assert all(
        isinstance(word, str) for name in ("Env", "Cmd", "Entrypoint") for word in begun.get(name) or []
    )
    assert all(isinstance(begun.get(name) or "", str) for name in ("User", "WorkingDir"))


@pytest.mark.parametrize("part", ["config", "manifest"])
def test_an_image_that_is_not_whole_is_an_error(store: Store, web: Added, part: str) -> None:
    store.path(web.config.digest if part == "config" else web.manifest.digest).unlink()
    with pytest.raises(Error, match="is not in the image store"):
        lookup.resolve(str(store.root), "web")


@pytest.mark.parametrize("text", ['{"manifests": [{"annotations": 1}]}', '{"manifests": 1}', "{}", "[]", ""])
def test_a_wrong_index_is_an_error(store: Store, text: str) -> None:
    store.index.write_text(text)
    if text == "{}":
        assert lookup.resolve(str(store.root), "web") is None
    else:
        with pytest.raises(SpecError):
            lookup.resolve(str(store.root), "web")


@pytest.mark.usefixtures("web")
def test_the_short_way_imports_only_quick_modules(store: Store) -> None:
    package = str(Path(minicontainer.__file__).parents[1])
    probe = PROBE.format(package=package, root=str(store.root), text="web")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", probe], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= QUICK
