"""`minicontainer rmi`, `image prune` and `image gc`: names go first, then what no name reaches any more.

    rm NAME     takes one name away; the image goes with its last one
    rm ID       takes all its names away
    prune       removes what has no name; with -a also the images that no container uses
    gc          removes what nothing reaches, and tells all of it; --check looks whether the store is whole

See man pages docker-rmi(1), docker-image-prune(1); minicontainer/image/store/gc.py.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable

from minicontainer.cli.image_format import human_size, moment, short_id
from minicontainer.cli.image_words import (
    all_images,
    created,
    for_each,
    has_label,
    is_name,
    labels_of,
    read_filters,
    words,
)
from minicontainer.errors import Conflict, Error, SpecError
from minicontainer.image import reference as references
from minicontainer.image.rootless import become_root
from minicontainer.image.store import gc, leases
from minicontainer.image.store.checking import check
from minicontainer.image.store.images import Image, load
from minicontainer.image.store.names import Named, find, image_id, names, remove_name
from minicontainer.image.store.reach import Reach, follow
from minicontainer.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.image_words import Values

WARNING = "WARNING! This will remove all dangling images."
FILTERS = ("until", "label")
DURATION = re.compile(r"(?=.)(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
WARNING_ALL = "WARNING! This will remove all images without at least one container associated to them."


def remove(values: Values) -> int:
    """Remove images by name or id; goes on after one that cannot be removed."""
    become_root()
    store, force = Store(), bool(values["force"])
    return for_each(words(values, "image"), lambda given: remove_one(store, given, force=force))


def remove_one(store: Store, given: str, *, force: bool) -> None:
    """Remove what one argument stands for. Raises NotFound, Conflict."""
    found = find(store, given)
    same = [other for other in names(store).values() if key(store, other) == key(store, found)]
    by_name, shown = is_name(found, given), short_id(key(store, found))
    going = [found] if by_name else same
    parts, blobs = parts_of(store, found)
    if not force:
        if not by_name:
            refuse_several_repositories(same, shown)
        if len(going) == len(same):
            what = f'remove repository reference "{given}"' if by_name else f"delete {shown}"
            refuse_in_use(store, blobs, what, shown)
    for each in going:
        remove_name(store, each.name)
        sys.stdout.write(f"Untagged: {each.reference.familiar()}\n")
    if len(going) == len(same):
        delete(store, parts, blobs)


def key(store: Store, named: Named) -> str:
    """Say which image it is; one that is damaged is at least equal to itself."""
    return image_id(store, named) or named.descriptor.digest


def refuse_several_repositories(same: list[Named], shown: str) -> None:
    """Refuse to take away names in several repositories by one id. Raises Conflict."""
    if len({each.reference.name for each in same}) > 1:
        raise Conflict(
            f"conflict: unable to delete {shown} (must be forced) - "
            "image is referenced in multiple repositories",
            hint="name one of them, or use -f",
        )


def refuse_in_use(store: Store, blobs: list[str], what: str, shown: str) -> None:
    """Refuse to take the last name from what a container uses. Raises Conflict."""
    held = leases.active(str(store.root))
    users = [container for container, (manifest, _) in held.items() if manifest in blobs]
    if users:
        raise Conflict(
            f"conflict: unable to {what} (must force) - "
            f"container {users[0]} is using its referenced image {shown}",
            hint="stop it first; with -f the name goes now, and the rest after the container has ended",
        )


def parts_of(store: Store, named: Named) -> tuple[list[str], list[str]]:
    """List what an image consists of: what people know, its id and its layers, and all of its blobs."""
    try:
        image = load(store, named)
        return [image.id, *reversed(image.diff_ids)], [*follow(store, named, Reach()).blobs]
    except Error:  # it is damaged, and may go all the same
        return [], [named.descriptor.digest]


def delete(store: Store, parts: list[str], blobs: list[str]) -> None:
    """Delete what no other image has in common with this one, and tell what people know of it."""
    there = [digest for digest in parts if is_there(store, digest)]
    gc.discard(store, [*parts, *blobs])
    sys.stdout.write("".join(f"Deleted: {digest}\n" for digest in there if not is_there(store, digest)))


def is_there(store: Store, digest: str) -> bool:
    """Tell whether there is a blob or an unpacked layer of this digest."""
    return store.has(digest) or store.layer(digest).exists()


# --- prune and gc ----------------------------------------------------------------------------------


def prune(values: Values) -> int:
    """Remove what has no name, or with -a what no container uses, after asking."""
    unused = bool(values["all"])
    filters = read_filters(values, FILTERS)
    if filters and not unused:
        raise Error("--filter is about images with a name", hint="which go with -a")
    if not values["force"] and not agreed(WARNING_ALL if unused else WARNING):
        return 0
    become_root()
    store = Store()
    spared = [image.named.name for image in all_images(store) if not passes(image, filters)]
    collected = gc.prune(store, unused=unused, spared=spared)
    lines = [f"untagged: {references.parse(name).familiar()}" for name in collected.names]
    lines += [f"deleted: {digest}" for digest in collected.blobs]
    if lines:
        sys.stdout.write("Deleted Images:\n" + "".join(f"{line}\n" for line in lines) + "\n")
    sys.stdout.write(f"Total reclaimed space: {human_size(collected.bytes)}\n")
    return 0


def passes(image: Image, filters: list[tuple[str, str]]) -> bool:
    """Tell whether an image may go: it is as old as `until` says, and has all labels."""
    return all(
        created(image) < point_in_time(value) if key == "until" else has_label(labels_of(image), value)
        for key, value in filters
    )


def point_in_time(text: str) -> float:
    """Read `24h`, so long ago, or a time, in seconds since 1970. Raises SpecError."""
    if parts := DURATION.fullmatch(text):
        hours, minutes, seconds = (float(part or 0) for part in parts.groups())
        return time.time() - (hours * 60 + minutes) * 60 - seconds
    when = moment(text)
    if when is None:
        raise SpecError("--filter", f"until={text}: neither a time nor a duration as 24h or 1h30m")
    return when.timestamp()


def agreed(warning: str) -> bool:
    """Ask. Raises Conflict where nobody answers."""
    sys.stdout.write(f"{warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer:
        sys.stdout.write("\n")
        raise Conflict("nobody answers whether images may be removed", hint="-f does not ask")
    return answer.strip().lower() in ("y", "yes")


def collect(values: Values) -> int:
    """Remove what nothing reaches; or say what that would be; or look for damage."""
    become_root()
    store = Store()
    if values["check"]:
        problems = check(store)
        sys.stdout.write("".join(f"{problem}\n" for problem in problems) or "The store is whole.\n")
        return 1 if problems else 0
    dry_run = bool(values["dry_run"])
    collected = gc.collect(store, dry_run=dry_run)
    tell_removed("blob", collected.blobs, dry_run=dry_run)
    tell_removed("layer", collected.layers, dry_run=dry_run)
    tell_removed("partial download", collected.partials, dry_run=dry_run)
    sys.stdout.write(
        f"Total {'reclaimable' if dry_run else 'reclaimed'} space: {human_size(collected.bytes)}\n"
    )
    return 0


def tell_removed(kind: str, removed: Iterable[str], *, dry_run: bool) -> None:
    """Tell what went, one a line."""
    did = "would remove" if dry_run else "removed"
    sys.stdout.write("".join(f"{did} {kind} {name}\n" for name in removed))
