"""Collecting: what neither a name nor a lease reaches is taken away, while nobody adds anything.

    blobs/sha256/HEX    removed
    layers/HEX          renamed to .gone-HEX, then removed: nobody sees half of a layer, even if we are killed
    layers/.new-*       removed if nobody has it locked: its maker was killed
    ingest/*            removed: a pull that was cut off then begins anew

See minicontainer/image/store/reach.py for what is reached, checking.py for `gc --check`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from minicontainer.errors import Error, SpecError
from minicontainer.image.layer.record import read_record
from minicontainer.image.store import leases
from minicontainer.image.store.names import names, remove_name
from minicontainer.image.store.reach import CHAIN, Reach, follow, reachable
from minicontainer.image.store.removal import remove_tree
from minicontainer.image.store.store import Store
from minicontainer.image.store.writing import failing
from minicontainer.oci.digest import is_digest

GONE, NEW = ".gone-", ".new-"


@dataclass(slots=True)
class Collected:
    """What was removed, or would be; `bytes` counts blobs, partial ones, and layers' tar files."""

    names: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)  # digests
    layers: list[str] = field(default_factory=list)  # names of directories
    partials: list[str] = field(default_factory=list)
    bytes: int = 0


def collect(store: Store, dry_run: bool = False) -> Collected:
    """Remove what nothing reaches; waits until nobody adds. Raises Error."""
    with store.alone(), failing(f"remove what is not used from {store.root}"):
        return _collect(store, (), dry_run)


def prune(
    store: Store, unused: bool = False, dry_run: bool = False, spared: Collection[str] = ()
) -> Collected:
    """Collect; with `unused`, take away first the names of images that no container uses. Raises Error.

    The names that are `spared` stay.
    """
    with store.alone(), failing(f"remove what is not used from {store.root}"):
        superfluous = [name for name in _unused_names(store) if name not in spared] if unused else []
        if not dry_run:
            for name in superfluous:
                remove_name(store, name)
        return _collect(store, superfluous, dry_run)


def discard(store: Store, wanted: Collection[str]) -> None:
    """Remove those of some blobs and layers, all named by digest, that nothing reaches.

    The next collection does what is impossible now: because somebody adds, who may want the same, or because
    of anything else that would only cover the error for which all this is given up.
    """
    with contextlib.suppress(OSError, Error), store.alone(wait=False):
        reach = reachable(store)
        for digest in wanted:
            if digest not in reach.blobs:
                store.path(digest).unlink(missing_ok=True)
                store.partial(digest).unlink(missing_ok=True)
        given_up = {store.layer(digest).name for digest in wanted}
        for path in _superfluous_layers(store, reach):
            if path.name.removeprefix(NEW) in given_up or path.name.startswith(CHAIN):
                _remove_layer(path)


def _unused_names(store: Store) -> list[str]:
    used = {manifest for manifest, _ in leases.active(str(store.root)).values()}
    return [name for name, named in names(store).items() if not follow(store, named, Reach()).blobs & used]


def _collect(store: Store, superfluous: Collection[str], dry_run: bool) -> Collected:
    reach = reachable(store, superfluous)
    collected = Collected(names=list(superfluous))
    with store.changing_index():  # whoever changes names needs no other lock, but has a file here
        for path in store.ingests.iterdir():
            collected.partials.append(path.name)
            collected.bytes += _remove_file(path, dry_run)
    for digest, path in store.blobs():
        if digest not in reach.blobs:
            collected.blobs.append(digest)
            collected.bytes += _remove_file(path, dry_run)
    for path in _superfluous_layers(store, reach):
        collected.layers.append(path.name)
        collected.bytes += _size_of_layer(path)
        if not dry_run:
            _remove_layer(path)
    if not dry_run:
        _remove_stale_leases(store)
    return collected


def _remove_file(path: Path, dry_run: bool) -> int:
    size = path.lstat().st_size
    if not dry_run:
        path.unlink()
    return size


def _size_of_layer(path: Path) -> int:
    try:
        return read_record(path).size
    except (OSError, SpecError):
        return 0  # it is what belongs to a chain, or half a layer


def _superfluous_layers(store: Store, reach: Reach) -> list[Path]:
    return [
        path for path in sorted(store.layers.iterdir()) if path.name not in reach.layers and _is_layer(path)
    ]


def _is_layer(path: Path) -> bool:
    """Tell whether a directory is ours to remove: a layer, or what a killed one was making or removing."""
    digits = path.name.removeprefix(CHAIN)
    if is_digest(f"sha256:{digits}") or is_digest(f"sha512:{digits}"):
        return True
    return path.name.startswith(GONE) or (path.name.startswith(NEW) and not _is_locked(path))


def _is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _remove_layer(path: Path) -> None:
    if not path.name.startswith(GONE):
        path = path.rename(path.with_name(GONE + path.name))
    remove_tree(path)


def _remove_stale_leases(store: Store) -> None:
    held = leases.active(str(store.root))
    for path in store.leases.iterdir():
        if path.name not in held:
            path.unlink()
