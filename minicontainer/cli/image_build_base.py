"""`minicontainer image build-base`: the images that this machine makes itself, without any registry.

See images/README.md; docs/images.md, "Images that are made here".
"""

from __future__ import annotations

import sys

from minicontainer.cli.image_format import Columns, write_rows
from minicontainer.cli.image_words import for_each, words
from minicontainer.image import recipe
from minicontainer.image.recipe_build import build_base
from minicontainer.image.reference import parse
from minicontainer.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.image_words import Values

COLUMNS = Columns({"Name": "NAME", "Title": "WHAT IT HOLDS"}, ("Name", "Title"))


def build(values: Values) -> int:
    """Build images, and print their names; without a name, list those that there are recipes for."""
    given = words(values, "name")
    if not given:
        rows = [{"Name": each.name, "Title": each.recipe.title} for each in recipe.folders().values()]
        sys.stdout.write(write_rows(rows, COLUMNS, ""))
    return for_each(given, build_one)


def tell(line: str) -> None:
    """Say what is being done."""
    sys.stderr.write(f"{line}\n")


def build_one(name: str) -> None:
    """Build one image; standard error tells what is being done. Raises Error."""
    made = build_base(Store(), name, tell)
    sys.stdout.write(f"{parse(made).familiar()}\n")
