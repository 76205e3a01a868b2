"""`minicontainer images`: what there is, newest first.

See man page docker-images(1).
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime

from minicontainer.cli.image_format import (
    Columns,
    Row,
    human_age,
    human_size,
    moment,
    short_id,
    write_rows,
)
from minicontainer.cli.image_words import (
    NONE,
    all_images,
    created,
    has_label,
    labels_of,
    read_filters,
    repository,
    shown_name,
    size_of,
    word,
)
from minicontainer.image.store.images import Image, load
from minicontainer.image.store.names import find
from minicontainer.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.image_words import Values

FILTERS = ("reference", "dangling", "label", "before", "since")
HEADS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
}
USUAL = ("Repository", "Tag", "ID", "CreatedSince", "Size")
WITH_DIGESTS = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def images(values: Values) -> int:
    """List the images."""
    store = Store()
    found = sorted(chosen(store, values), key=lambda image: (-created(image), image.named.name))
    full = bool(values["no_trunc"])
    if values["quiet"]:
        sys.stdout.write("".join(f"{image.id if full else short_id(image.id)}\n" for image in found))
        return 0
    columns = Columns(HEADS, WITH_DIGESTS if values["digests"] else USUAL)
    form = "json" if values["json"] else word(values, "format")
    sys.stdout.write(write_rows([row(store, image, full=full) for image in found], columns, form))
    return 0


def row(store: Store, image: Image, *, full: bool) -> Row:
    """Write what is shown of an image."""
    reference = image.named.reference if image.named.name else None
    when = moment(image.config.created)
    return {
        "Repository": repository(reference) if reference else NONE,
        "Tag": (reference.tag if reference else "") or NONE,
        "Digest": served_digest(image),
        "ID": image.id if full else short_id(image.id),
        "CreatedSince": human_age((datetime.now(UTC) - when).total_seconds()) if when else "N/A",
        "CreatedAt": when.astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z") if when else "N/A",
        "Size": human_size(size_of(store, image)),
    }


def served_digest(image: Image) -> str:
    """Give the digest under which a registry has the image, or would have it."""
    return image.named.origin or image.named.descriptor.digest


# --- which ---------------------------------------------------------------------------------------


def chosen(store: Store, values: Values) -> list[Image]:
    """Give the images that the argument and all filters let through. Raises SpecError, NotFound."""
    filters = read_filters(values, FILTERS)
    if pattern := word(values, "repository"):
        filters.append(("reference", pattern))
    found = list(all_images(store))
    for key in FILTERS:
        given = [value for known, value in filters if known == key]
        if given:
            found = [image for image in found if passes(store, image, key, given)]
    return found


def passes(store: Store, image: Image, key: str, given: list[str]) -> bool:
    """Ask a filter; one that is given several times lets through what any, or for labels what all, let."""
    if key == "reference":
        return any(matches(image, pattern) for pattern in given)
    if key == "dangling":
        return ("false" if image.named.name else "true") in given
    if key == "label":
        return all(has_label(labels_of(image), wanted) for wanted in given)
    others = [created(load(store, find(store, name))) for name in given]
    if key == "before":
        return all(created(image) < other for other in others)
    return all(created(image) > other for other in others)


def matches(image: Image, pattern: str) -> bool:
    """Tell whether a pattern, in which * is anything but a slash, names the image or its repository."""
    if not image.named.name:
        return False
    signs = {"*": "[^/]*", "?": "[^/]"}
    expression = re.compile("".join(signs.get(sign) or re.escape(sign) for sign in pattern))
    names = (shown_name(image), repository(image.named.reference))
    return any(expression.fullmatch(name) for name in names)
