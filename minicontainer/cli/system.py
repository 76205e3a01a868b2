"""`minicontainer version` and `minicontainer system reset`.

What is kept between commands, and why, is listed in docs/explain.md ("What stays"): nothing of it is needed
to be correct, so all of it may be removed at any time when no container is running.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import minicontainer
from minicontainer.cli import places
from minicontainer.errors import Conflict, Error
from minicontainer.image import busybox
from minicontainer.runtime.main import default_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value


def version(_values: dict[str, Value]) -> int:
    """Print the version."""
    sys.stdout.write(f"minicontainer version {minicontainer.__version__}\n")
    return 0


def reset(_values: dict[str, Value]) -> int:
    """Remove caches, built images and the interpreter's read-only view; refuse while containers run."""
    home = Path(places.home())
    if home.is_dir():
        refuse_while_running()
        remove_tree(home)
    remove_tree(Path(busybox.store()))
    remove_tree(Path(default_root()) / ".seccomp")
    remove_interpreter()
    return 0


def refuse_while_running() -> None:
    """Raise Conflict while a `minicontainer run` lives; what killed ones left is removed."""
    living = places.remove_stale(known=lambda _name: False)
    if living:
        raise Conflict(f"containers are running: {', '.join(sorted(living))}", hint="stop them first")


def remove_tree(place: Path) -> None:
    """Remove a directory of ours if it is there."""
    try:
        shutil.rmtree(place)
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
