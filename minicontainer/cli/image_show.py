"""`minicontainer image inspect` and `history`: what an image says of itself.

See Docker Engine API, "ImageInspect", "ImageHistory"; man pages docker-image-inspect(1), docker-history(1).
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from minicontainer.cli.failure import on_one_line
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
    all_images,
    for_each,
    layer_sizes,
    repository,
    shown_name,
    size_of,
    switch,
    word,
    words,
)
from minicontainer.cli.template import compile_template
from minicontainer.image.store.images import Image, load
from minicontainer.image.store.names import find
from minicontainer.image.store.store import Store
from minicontainer.oci.image import HistoryEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.image_words import Values

LONGEST_CREATED_BY = 45  # signs of it in a table
MISSING = "<missing>"  # the id of an image that a build had in between: nobody has kept it
# What a template may ask for, whether the image says it or not.
CONFIG = {
    "User": "", "ExposedPorts": None, "Env": None, "Cmd": None, "Healthcheck": None, "Volumes": None,
    "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None, "StopSignal": "", "Shell": None,
}  # fmt: skip
HEADS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
USUAL = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
EXACT = ("ID", "CreatedAt", "CreatedBy", "Size", "Comment")


def inspect(values: Values) -> int:
    """Show images as JSON, or what a template asks of them; goes on after one that is not there."""
    store = Store()
    form = word(values, "format")
    shown: list[dict[str, Any]] = []
    code = for_each(words(values, "image"), lambda name: shown.append(describe(store, name)))
    if form in ("", "json"):
        text = json.dumps(shown, indent=None if form else 4, ensure_ascii=False)
        sys.stdout.write(f"{text}\n")
        return code
    write = compile_template(form)
    sys.stdout.write("".join(f"{write(each)}\n" for each in shown))
    return code


def describe(store: Store, name: str) -> dict[str, Any]:
    """Describe an image with docker's members. Raises Error."""
    image = load(store, find(store, name))
    same = [other for other in all_images(store) if other.id == image.id and other.named.name]
    config = image.config
    said = msgspec.to_builtins(config.config) if config.config else {}
    return {
        "Id": image.id,
        "RepoTags": sorted(shown_name(other) for other in same if other.named.reference.tag),
        "RepoDigests": sorted({repository_digest(other) for other in same}),
        "Comment": config.history[-1].comment or "" if config.history else "",
        "Created": config.created or "",
        "Author": config.author or "",
        "Architecture": config.architecture,
        **({"Variant": config.variant} if config.variant else {}),
        "Os": config.os,
        "Size": size_of(store, image),
        "GraphDriver": {"Data": layer_directories(store, image), "Name": "overlay2"},
        "Config": CONFIG | said,
        "RootFS": {"Type": config.rootfs.type, "Layers": list(config.rootfs.diff_ids)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "Descriptor": {
            "mediaType": image.descriptor.media_type,
            "digest": image.descriptor.digest,
            "size": image.descriptor.size,
        },
    }


def layer_directories(store: Store, image: Image) -> dict[str, str] | None:
    """Name the directories in which the layers are unpacked, the highest first, if all of them are."""
    places = [store.layer(diff_id) / "diff" for diff_id in reversed(image.diff_ids)]
    return {"LowerDir": ":".join(map(str, places))} if all(place.is_dir() for place in places) else None


def repository_digest(image: Image) -> str:
    """Give the name by which a registry would always give this same image."""
    return f"{repository(image.named.reference)}@{image.named.origin or image.descriptor.digest}"


# --- history -------------------------------------------------------------------------------------


def history(values: Values) -> int:
    """Show how an image was made, the last step first."""
    store = Store()
    image = load(store, find(store, word(values, "image")))
    full, human = bool(values["no_trunc"]), switch(values, "human", usual=True)
    rows = [
        {**step_row(entry, size, full=full, human=human), "ID": MISSING}
        for entry, size in reversed(steps_of(store, image))
    ]
    if rows:
        rows[0]["ID"] = image.id if full else short_id(image.id)
    if values["quiet"]:
        sys.stdout.write("".join(f"{row['ID']}\n" for row in rows))
    else:
        columns = Columns(HEADS, USUAL if human else EXACT)
        sys.stdout.write(write_rows(rows, columns, word(values, "format")))
    return 0


def steps_of(store: Store, image: Image) -> list[tuple[HistoryEntry, int]]:
    """Pair the steps of an image's history with the sizes of their layers, the first step first."""
    sizes = iter(layer_sizes(store, image))
    told = [(entry, 0 if entry.empty_layer else next(sizes, 0)) for entry in image.config.history or ()]
    return told + [(HistoryEntry(), size) for size in sizes]  # layers of which the history says nothing


def step_row(entry: HistoryEntry, size: int, *, full: bool, human: bool) -> Row:
    """Write what is shown of a step."""
    when = moment(entry.created)
    created_by = on_one_line((entry.created_by or "").replace("\t", " "))
    if not full and len(created_by) > LONGEST_CREATED_BY:
        created_by = f"{created_by[: LONGEST_CREATED_BY - 1]}…"
    return {
        "CreatedSince": human_age((datetime.now(UTC) - when).total_seconds()) if when else "N/A",
        "CreatedAt": when.isoformat() if when else "N/A",
        "CreatedBy": created_by,
        "Size": human_size(size) if human else str(size),
        "Comment": on_one_line(entry.comment or ""),
    }
