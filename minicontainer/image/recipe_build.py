"""Building an image of `images/` into the store: each adds one layer to the image that it begins from.

    base's layers --view--> old tree --cp--> new tree --mmdebstrap--> the same, changed
                               `----------------- diff_trees ----------------` = the layer

As root, or as an ordinary user who becomes root of a user namespace. The same packages give the same digests.

See recipe.py, recipe_debian.py, recipe_config.py; https://reproducible-builds.org/docs/source-date-epoch/.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from minicontainer.errors import Conflict, Error, NotFound
from minicontainer.image import recipe as recipes
from minicontainer.image import reference
from minicontainer.image.assemble import Layer, add_layer, assemble, layers_of
from minicontainer.image.epoch import EPOCH
from minicontainer.image.layer.limits import Limits
from minicontainer.image.layer.tree_diff import diff_trees
from minicontainer.image.progress import Nobody
from minicontainer.image.recipe import Folder
from minicontainer.image.recipe_config import (
    MADE_HERE,
    configure,
    labelled,
    own_labels,
    stand_in_labels,
    story,
)
from minicontainer.image.recipe_debian import make_system
from minicontainer.image.rootless import become_root
from minicontainer.image.snapshot import view
from minicontainer.image.store.images import Image, load
from minicontainer.image.store.names import find
from minicontainer.image.store.removal import remove_tree
from minicontainer.image.store.store import Store
from minicontainer.image.store.writing import failing
from minicontainer.image.unpack import unpack
from minicontainer.linux import programs
from minicontainer.linux.long_programs import ProgramFailedError, run_with_files
from minicontainer.oci.image import ContainerConfig, HistoryEntry

Tell = Callable[[str], None]
CREATED = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build_base(store: Store, name: str, tell: Tell) -> str:
    """Build an image by its name in `images/`, or by a public name that one of them stands in for.

    What it begins from is built first, if it is not there; a stand-in takes its layers from the image that it
    really is. Returns the name under which the store has it; `tell` hears what is being done. For an ordinary
    user, this process is root of a user namespace from then on. Raises Error.
    """
    folder, stand_in = recipes.find(name)
    become_root()
    with store.hold():
        if not stand_in:
            return build(store, folder, tell).named.name
        image = obtain(store, folder, tell)
        config = labelled(config_of(image), stand_in_labels(folder, stand_in))
        return assemble(store, stored(stand_in), layers_of(image), config, CREATED).name


def stored(name: str) -> str:
    """Say under which name the store has an image of ours."""
    return reference.parse(name).stored_name()


def config_of(image: Image | None) -> ContainerConfig:
    """Give what containers of an image begin with; of no image, or of one that does not say, nothing."""
    return (image.config.config if image else None) or ContainerConfig()


def obtain(store: Store, folder: Folder, tell: Tell) -> Image:
    """Take an image from the store, or build it. Raises Error; Conflict for another image of its name."""
    try:
        image = load(store, find(store, stored(folder.name)))
    except NotFound:
        return build(store, folder, tell)
    if MADE_HERE.items() <= (config_of(image).labels or {}).items():
        return image
    raise Conflict(
        f"{image.named.name} in the store is not what images/{folder.name} makes",
        f"minicontainer image build-base {folder.name} replaces it",
    )


def build(store: Store, folder: Folder, tell: Tell) -> Image:
    """Build an image and name it. Raises Error."""
    base = obtain(store, recipes.find(folder.recipe.base)[0], tell) if folder.recipe.base else None
    tell(f"{folder.name}: {folder.recipe.title}")
    with failing(f"build {folder.name} in {store.root}"), workplace(store) as place, usual_umask():
        layer = make_layer(store, folder, base, place, tell)
    config = labelled(configure(config_of(base), folder.recipe.config), own_labels(folder))
    layers = [*(layers_of(base) if base else ()), layer]
    return load(store, assemble(store, stored(folder.name), layers, config, CREATED))


@contextlib.contextmanager
def workplace(store: Store) -> Iterator[Path]:
    """Give a directory to work in, which the next collection removes if we are killed."""
    place = Path(tempfile.mkdtemp(prefix=".new-", dir=store.layers))
    try:
        yield place
    finally:
        remove_tree(place)


@contextlib.contextmanager
def usual_umask() -> Iterator[None]:
    """Let new files have the modes that they usually have, whatever the user's umask is."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def make_layer(store: Store, folder: Folder, base: Image | None, place: Path, tell: Tell) -> Layer:
    """Make what a recipe adds to its base into a layer, which is in the store then. Raises Error."""
    tar, new = place / "layer.tar", place / "new"
    with old_tree(store, base, place) as old:
        if folder.recipe.tree:
            make_tree(folder, new)
        else:
            programs.run(["cp", "--archive", "--no-target-directory", f"{old}/.", str(new)])
            make_system(folder, new, tell)
        tell("writing the layer")
        with opened(old) as before, opened(new) as after, tar.open("wb") as out:
            diff_trees(before, after, out, clamp=EPOCH)
    return add_layer(store, tar, HistoryEntry(created=CREATED, created_by=story(folder)))


@contextlib.contextmanager
def old_tree(store: Store, base: Image | None, place: Path) -> Iterator[Path]:
    """Give the tree that an image begins from: its base's, or an empty one."""
    if base:
        unpack(store, base, Nobody(), Limits())
        with view(store, base) as tree:
            yield tree
    else:
        empty = place / "empty"
        empty.mkdir()
        yield empty


def make_tree(folder: Folder, tree: Path) -> None:
    """Let a recipe's own script make the tree. Raises Error, with the script's words."""
    script = folder.path / folder.recipe.tree
    try:
        run_with_files(["sh", str(script), str(tree)])
    except ProgramFailedError as problem:
        raise Error(f"images/{folder.name}/{script.name}: {' | '.join(problem.said) or problem}") from problem


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[int]:
    """Open a directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
