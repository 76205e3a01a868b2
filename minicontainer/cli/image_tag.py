"""`minicontainer tag`: one more name for an image.

See man page docker-tag(1).
"""

from __future__ import annotations

from minicontainer.cli.image_words import word
from minicontainer.errors import Error
from minicontainer.image import reference as references
from minicontainer.image.store.names import Named, find, set_name
from minicontainer.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.image_words import Values


def tag(values: Values) -> int:
    """Give an image one more name; if another image had the name, it loses it."""
    target = references.parse(word(values, "target"))
    if target.digest:
        raise Error("refusing to create a tag with a digest reference")
    store = Store()
    with store.hold():
        source = find(store, word(values, "source"))
        set_name(store, Named(target.stored_name(), source.descriptor, source.origin))
    return 0
