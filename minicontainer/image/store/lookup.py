"""The way from a name to what `minicontainer run` needs of an image, as short as it can be.

    index.json: the name -> manifest -> configuration: diff ids, Env, Cmd, ...

It knows the names that we write ourselves. Everything else (ids, digests, names that other programs wrote,
indexes) is for `names.find`, which is asked only when the name is none of these: its imports cost more than
the whole start of a container.

This is on the hot lane. See minicontainer/image/store/names.py, its readable form.
"""

from __future__ import annotations

from minicontainer.errors import NotFound, SpecError
from minicontainer.image.store.place import blob_path, index_path
from minicontainer.linux.descriptors import read_beginning
from minicontainer.oci.json_text import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Found = tuple[str, list[str], dict[str, Any]]

DOCKER, OFFICIAL = "docker.io/", "docker.io/library/"
REF_NAME = "org.opencontainers.image.ref.name"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LISTS, TEXTS = ("Env", "Cmd", "Entrypoint"), ("User", "WorkingDir")  # of a configuration
LONGEST = 16 << 20  # bytes of a document
DIGITS = 64
HEXADECIMAL = "0123456789abcdef"


def resolve(root: str, text: str) -> Found | None:
    """Find an image: digest of its manifest, digits of its layers' diff ids lowest first, configuration.

    None if there is no such image. Raises SpecError, NotFound, Error for what is here but cannot be read.
    """
    try:
        manifest = manifest_of(root, canonical(text))
        if manifest is not None:
            return read_image(root, manifest)
    except (FileNotFoundError, KeyError, TypeError, AttributeError):
        pass  # something is missing or of another shape: the readable form says what
    return resolve_anything(root, text)


def canonical(text: str) -> str:
    """Complete a name as it is usually typed; what comes out for others is no name that the store has."""
    first, slash, rest = text.partition("/")
    if not slash:
        name, rest = OFFICIAL + text, text
    elif "." in first or ":" in first or first == "localhost":
        name = text
    else:
        name = DOCKER + text
    return name if ":" in rest else f"{name}:latest"


def manifest_of(root: str, name: str) -> str | None:
    """Find the digest of the manifest with this very name; of several the last. Raises FileNotFoundError."""
    found = None
    for entry in json_object(index_path(root))["manifests"] or ():
        if (entry.get("annotations") or {}).get(REF_NAME) == name:
            found = entry["digest"] if entry["mediaType"] == OCI_MANIFEST else None
    return found


def read_image(root: str, manifest: str) -> Found:
    """Read manifest and configuration."""
    document = json_object(blob_path(root, checked(manifest)))
    config = json_object(blob_path(root, checked(document["config"]["digest"])))
    layers = [checked(diff_id).rpartition(":")[2] for diff_id in config["rootfs"]["diff_ids"]]
    if len(layers) != len(document["layers"]):
        raise SpecError("config: rootfs.diff_ids", "not as many as the manifest has layers")
    require_types(config.get("config") or {})
    return manifest, layers, config


def require_types(settings: dict[str, Any]) -> None:
    """Let pass what a container can begin with. Raises TypeError."""
    for name in LISTS:
        if not isinstance(settings.get(name) or [], list):
            raise TypeError(name)
        "".join(settings.get(name) or [])
    for name in TEXTS:
        if not isinstance(settings.get(name) or "", str):
            raise TypeError(name)


def checked(digest: str) -> str:
    """Let a digest pass, which becomes a path. Raises SpecError."""
    digits = digest.removeprefix("sha256:")
    if len(digits) != DIGITS or digits.strip(HEXADECIMAL) or digits == digest:
        raise SpecError("", f"{digest!r} is not a digest")
    return digest


def json_object(path: str) -> dict[str, Any]:
    """Read a JSON file of the store. Raises FileNotFoundError, SpecError."""
    document = loads(read_beginning(path, LONGEST + 1), LONGEST)
    if not isinstance(document, dict):
        raise SpecError(path, "not a JSON object")
    return document


def resolve_anything(root: str, text: str) -> Found | None:
    """Find by what is not the usual name: a digest, an id, a name that another program wrote."""
    from minicontainer.launch import reach_libraries

    reach_libraries()
    from minicontainer.image.store.images import load
    from minicontainer.image.store.names import find
    from minicontainer.image.store.store import Store

    store = Store(root)
    try:
        named = find(store, text)
    except NotFound:
        return None
    image = load(store, named)
    config = json_object(blob_path(root, image.id))
    return image.descriptor.digest, [diff_id.rpartition(":")[2] for diff_id in image.diff_ids], config
