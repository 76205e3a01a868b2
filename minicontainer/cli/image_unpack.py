"""`minicontainer image unpack`: an image as one directory, the root file system of a bundle for any runtime.

See man page umoci-unpack(1); docs/images.md.
"""

from __future__ import annotations

from pathlib import Path

from minicontainer.cli.image_words import word
from minicontainer.image import configuration
from minicontainer.image.rootless import become_root
from minicontainer.image.store.images import load
from minicontainer.image.store.names import find
from minicontainer.image.store.store import Store
from minicontainer.image.unpack_tree import unpack_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.image_words import Values


def unpack(values: Values) -> int:
    """Unpack an image into a new directory."""
    become_root()
    store, limits = Store(), configuration.load().limits
    with store.hold():  # its layers stay for as long as they are read
        image = load(store, find(store, word(values, "image")))
        unpack_tree(store, image, Path(word(values, "directory")), limits)
    return 0
