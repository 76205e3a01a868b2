"""`minicontainer version` and `minicontainer system reset`.

What is kept between commands, and why, is listed in docs/explain.md ("What stays"). But for images it can all
be made again, so it may be removed at any time when no container is running.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import minicontainer
from minicontainer.cli import places
from minicontainer.errors import Conflict, Error
from minicontainer.image.store.removal import remove_tree
from minicontainer.runtime.main import default_root

OF_THE_STORE = ("images", "ingest", "layers", "leases", "lock", "index.lock")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value
    from minicontainer.image.store.store import Store


def version(_values: dict[str, Value]) -> int:
    """Print the version."""
    sys.stdout.write(f"minicontainer version {minicontainer.__version__}\n")
    return 0


def reset(values: dict[str, Value]) -> int:
    """Remove images, caches and the interpreter's read-only view; refuse while containers run."""
    home = Path(places.home())
    if home.is_dir():
        refuse_while_running()
    if not remove_images(asking=not values["force"]):
        return 0
    for place in (home, Path(default_root()) / ".seccomp"):
        remove(place)
    remove_interpreter()
    return 0


def remove_images(asking: bool) -> bool:
    """Remove the store; asks first if it holds what cannot be made here again. Tells whether it is gone."""
    from minicontainer.launch import reach_libraries

    reach_libraries()
    from minicontainer.cli.image_remove import agreed
    from minicontainer.image.rootless import become_root
    from minicontainer.image.store.store import Store

    store = Store()
    if not store.images.exists():
        return True
    others = sorted(set(names_in(store)) - made_here())
    if others and asking and not agreed(f"WARNING! This will remove all images, also {', '.join(others)}."):
        return False
    become_root()
    with store.alone():
        for name in OF_THE_STORE:
            remove(store.root / name)
    with contextlib.suppress(OSError):
        store.root.rmdir()  # what is not ours stays in it
    return True


def names_in(store: Store) -> list[str]:
    """List the names of images as people write them; of a store that cannot be read, say so."""
    from minicontainer.image.store.names import names

    try:
        return [named.reference.familiar() for named in names(store).values()]
    except Error:
        return ["what a damaged index names"]


def made_here() -> set[str]:
    """Name the images that `image build-base` makes."""
    from minicontainer.image import recipe, reference

    known = recipe.folders().values()
    written = [name for folder in known for name in (folder.name, *folder.stand_ins)]
    return {reference.parse(name).with_default_tag().familiar() for name in written}


def refuse_while_running() -> None:
    """Raise Conflict while a `minicontainer run` lives; what killed ones left is removed."""
    living = places.remove_stale(known=lambda _name: False)
    if living:
        raise Conflict(f"containers are running: {', '.join(sorted(living))}", hint="stop them first")


def remove(place: Path) -> None:
    """Remove a directory or a file of ours if it is there."""
    try:
        if place.is_dir():
            remove_tree(place)
        else:
            place.unlink()
    except FileNotFoundError:
        return
    except OSError as problem:
        raise Error(f"cannot remove {place}: {problem.strerror}") from problem
    sys.stdout.write(f"removed {place}\n")


def remove_interpreter() -> None:
    """Take away the read-only view of the interpreter that containers are started from."""
    from minicontainer.runtime.interpreter_view import remove_overlays

    for place in remove_overlays():
        sys.stdout.write(f"unmounted {place}\n")
