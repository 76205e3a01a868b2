"""The names of images: index.json of the layout, one descriptor for each name.

    {"schemaVersion": 2, "manifests": [{"mediaType": ..., "digest": ..., "size": ..., "annotations": {
        "org.opencontainers.image.ref.name": "docker.io/library/busybox:latest",
        "minicontainer.origin": digest of what the registry served for the name, where that is another}}]}

Other programs write here too: what we don't know stays as it is, and their names ("busybox", "latest") are
read as docker would read them. Of two entries for one name the one that is written in full
counts, then the later.

Implements image-spec image-layout.md ("index.json file"), annotations.md; docker's way to find an image by
what people type: a name, a digest, or the beginning of an id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from minicontainer.errors import Conflict, Error, NotFound, SpecError
from minicontainer.image.documents import decode_manifest
from minicontainer.image.reference import Reference, parse
from minicontainer.image.store.store import Store
from minicontainer.oci.digest import is_digest
from minicontainer.oci.image import OCI_INDEX, Descriptor, Manifest
from minicontainer.oci.json_text import MAX_BYTES, loads
from minicontainer.trace.json_lines import dumps

REF_NAME = "org.opencontainers.image.ref.name"
ORIGIN = "minicontainer.origin"
ID = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")
WHOLE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")

Entries = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Named:
    """An image that has a name; `origin` is the digest of what the registry served, if that was another."""

    name: str
    descriptor: Descriptor
    origin: str = ""

    @property
    def reference(self) -> Reference:
        """The name, read."""
        return parse(self.name)


# --- reading -----------------------------------------------------------------------------------


def names(store: Store) -> dict[str, Named]:
    """Read the names of all images, in the form that `Reference.stored_name` gives. Raises SpecError."""
    entries = _manifests(read_index(store))
    found = [(written_name(entry), read_entry(entry, number)) for number, entry in enumerate(entries)]
    found.sort(key=lambda pair: pair[0] == pair[1].name)
    return {named.name: named for _, named in found if named.name}


def roots(store: Store) -> Iterator[Named]:
    """Give everything that index.json names or only lists: nothing of it may be taken away."""
    for number, entry in enumerate(_manifests(read_index(store))):
        yield read_entry(entry, number)


def read_index(store: Store) -> dict[str, Any]:
    """Read index.json as it is. Raises SpecError."""
    try:
        with store.index.open("rb") as file:
            index = loads(file.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    except SpecError as problem:
        raise SpecError("index.json", problem.problem) from None
    except OSError as problem:
        raise Error(f"cannot read {store.index}: {problem.strerror}") from problem
    if not isinstance(index, dict):
        raise SpecError("index.json", "not a JSON object")
    return index


def _manifests(index: dict[str, Any]) -> Entries:
    entries = index.get("manifests")
    if entries is None:
        return []  # so programs in Go write an empty list
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SpecError("index.json: manifests", "not an array of objects")
    return entries


def read_entry(entry: dict[str, Any], number: int) -> Named:
    """Read one descriptor of index.json; its name is "" if it has none. Raises SpecError."""
    where = f"index.json: manifests[{number}]"
    try:
        descriptor = msgspec.convert(entry, Descriptor)
    except msgspec.ValidationError as problem:
        raise SpecError(where, str(problem)) from None
    if not is_digest(descriptor.digest):
        raise SpecError(f"{where}.digest", f"{descriptor.digest[:200]!r} is not a digest")
    origin = (descriptor.annotations or {}).get(ORIGIN, "")
    plain = msgspec.structs.replace(descriptor, annotations=None)
    return Named(name_of(entry), plain, origin if is_digest(origin) else "")


def written_name(entry: dict[str, Any]) -> str:
    """Read the name that a descriptor carries; "" if there is none."""
    annotations = entry.get("annotations")
    written = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return written if isinstance(written, str) else ""


def name_of(entry: dict[str, Any]) -> str:
    """Complete the name that a descriptor carries, as docker would; "" if docker could not say it."""
    try:
        return parse(written_name(entry)).stored_name()
    except SpecError:
        return ""


# --- finding -----------------------------------------------------------------------------------


def find(store: Store, wanted: str | Reference) -> Named:
    """Find an image by name, digest or id, as docker does. Raises NotFound, Conflict, SpecError."""
    known = names(store)
    text = wanted if isinstance(wanted, str) else wanted.familiar()
    if isinstance(wanted, str) and WHOLE_ID.fullmatch(wanted):
        found = _by_id(store, known, wanted)
    else:
        reference = parse(wanted) if isinstance(wanted, str) else wanted
        found = _by_name(known, reference) or _by_id(store, known, text)
    if found is None:
        raise NotFound(f"no such image: {text}", hint=f"minicontainer pull {text}")
    return found


def _by_name(known: dict[str, Named], reference: Reference) -> Named | None:
    if not reference.digest or reference.stored_name() in known:
        return known.get(reference.stored_name())
    for named in known.values():
        of_this = reference.digest in (named.descriptor.digest, named.origin)
        if of_this and named.reference.name == reference.name:
            return named
    return None


def _by_id(store: Store, known: dict[str, Named], text: str) -> Named | None:
    beginning = ID.fullmatch(text)
    if beginning is None:
        return None
    found: dict[str, Named] = {}
    for named in known.values():
        manifest = named.descriptor.digest
        digest = image_id(store, named) or manifest
        if any(each.startswith(f"sha256:{beginning[1]}") for each in (digest, manifest)):
            found.setdefault(digest, named)
    if len(found) > 1:
        raise Conflict(f"{text}: {len(found)} images have an id that begins so", hint="give more digits")
    return next(iter(found.values()), None)


def image_id(store: Store, named: Named) -> str:
    """Read the id of an image: the digest of its configuration; "" for an index or what cannot be read."""
    try:
        document = decode_manifest(store.read(named.descriptor), named.descriptor.media_type)
    except Error:
        return ""  # a damaged image is named by `check`; it must not keep the others from being found
    return document.config.digest if isinstance(document, Manifest) else ""


# --- changing ----------------------------------------------------------------------------------


def set_name(store: Store, named: Named) -> None:
    """Give an image a name, and take the name from any other; never within `Store.alone`.

    Raises NotFound if the image is not here, Error.
    """
    name = parse(named.name).stored_name()

    def change(entries: Entries) -> Entries:
        return [entry for entry in entries if name_of(entry) != name] + [_entry_of(named, name)]

    with store.hold():  # or it could be taken away between the question and the answer
        store.require(named.descriptor)
        _change(store, change)


def remove_name(store: Store, name: str) -> None:
    """Take a name away; the image stays until the next collection. Raises NotFound."""
    name = parse(name).stored_name()

    def change(entries: Entries) -> Entries:
        left = [entry for entry in entries if name_of(entry) != name]
        if len(left) == len(entries):
            raise NotFound(f"no such image: {name}")
        return left

    _change(store, change)


def _entry_of(named: Named, name: str) -> dict[str, Any]:
    # Only what we mean: a registry's descriptor may carry annotations that are for nobody else to say.
    entry: dict[str, Any] = {
        "mediaType": named.descriptor.media_type,
        "digest": named.descriptor.digest,
        "size": named.descriptor.size,
        "annotations": {REF_NAME: name} | ({ORIGIN: named.origin} if named.origin else {}),
    }
    if named.descriptor.platform is not None:
        entry["platform"] = msgspec.to_builtins(named.descriptor.platform)
    return entry


def _change(store: Store, change: Callable[[Entries], Entries]) -> None:
    store.create()
    with store.changing_index():
        index = read_index(store)
        entries = _manifests(index)
        for number, entry in enumerate(entries):
            read_entry(entry, number)  # what cannot be read is not built upon
        index["manifests"] = change(entries)
        store.write_index(dumps(index).encode())
