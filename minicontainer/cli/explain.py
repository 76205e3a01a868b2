"""`minicontainer explain FILE`: tell a story that was recorded before, for example under podman.

See docs/explain.md; `minicontainer-runtime --trace-fd`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from minicontainer.errors import NotFound
from minicontainer.launch import reach_libraries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value


def explain(values: dict[str, Value]) -> int:
    """Tell the story in a file on standard output."""
    file = Path(str(values["file"]))
    if not file.is_file():
        raise NotFound(
            f"{file}: no such file", hint="a story is written by `minicontainer-runtime --trace-fd N`"
        )
    reach_libraries()
    from minicontainer.explain.narrator import Teller
    from minicontainer.explain.story import read_events
    from minicontainer.explain.text import Page, screen

    teller = Teller(Page(screen(sys.stdout)))
    for event in read_events(file.read_bytes()):
        teller.tell(event)
    teller.end()
    return 0
