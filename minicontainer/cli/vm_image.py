"""`minicontainer vm image`: build the image of the virtual machines, and remove old ones.

See minicontainer/vm/image.py for what is kept where; docs/vm.md.
"""

from __future__ import annotations

import sys

from minicontainer.vm.image import obtain
from minicontainer.vm.image_prune import prune
from minicontainer.vm.recipe import SUITE, standard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value

MEGABYTE = 1_000_000


def image(values: dict[str, Value]) -> int:
    """Build the image of a suite, or with --prune remove the others; progress goes to standard error."""
    suite = str(values["suite"] or SUITE)
    if values["prune"]:
        for gone in prune(standard(suite).key()):
            sys.stdout.write(f"removed {gone.name} ({gone.size // MEGABYTE} MB)\n")
        return 0
    sys.stdout.write(f"{obtain(suite=suite).place}\n")
    return 0
