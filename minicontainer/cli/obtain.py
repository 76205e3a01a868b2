"""An image that `run` was asked for and that is not here, or not unpacked: made, pulled, unpacked.

What `images/` can make without any network, the busybox of a first look, is made here. Everything else is
pulled. Either way standard error tells, because standard output is the program's.

See docker-run(1), "--pull".
"""

from __future__ import annotations

import sys

from minicontainer.cli.progress import PULL, Lines
from minicontainer.errors import NotFound
from minicontainer.image import configuration, platform, recipe, reference
from minicontainer.image.progress import Nobody
from minicontainer.image.pull import Pull
from minicontainer.image.recipe_build import build_base
from minicontainer.image.reference import Reference
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.credentials import Credentials
from minicontainer.image.store import images, lookup
from minicontainer.image.store.names import Named, find
from minicontainer.image.store.store import Store
from minicontainer.image.unpack import unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.image.store.lookup import Found


def obtain(root: str, name: str) -> Found:
    """Find an image by name or id, or get it, and unpack what is missing. Raises Error."""
    store = Store(root).create()
    try:
        named = find(store, name)
    except NotFound:
        named = get(store, reference.parse(name).with_default_tag())
    image = images.load(store, named)
    with store.hold():
        unpack(store, image, Nobody(), configuration.load().limits)
    return lookup.read_image(root, image.descriptor.digest)


def get(store: Store, wanted: Reference) -> Named:
    """Make or pull an image. Raises Error."""
    teller = Lines(PULL, sys.stderr)
    teller.line(f"Unable to find image '{wanted.familiar()}' locally")
    folder = makeable(wanted)
    if folder:
        build_base(store, folder, teller.line)
    else:
        settings = configuration.load()
        client = RegistryClient(settings, Credentials(), teller.line)
        Pull(store, client, wanted, platform.host(), teller, settings.limits).run()
    return find(store, wanted)


def makeable(wanted: Reference) -> str:
    """Name the recipe that makes an image without a network; "" if there is none."""
    for folder in recipe.folders().values():
        if folder.recipe.tree and wanted == reference.parse(folder.name).with_default_tag():
            return folder.name
    return ""
