"""Building an image's root file system: beside its place, then renamed, so that nobody ever sees half of one.

See rename(2); elf(5), "PT_INTERP".
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from minicontainer.errors import Error, Unsupported

PROGRAM_HEADERS, HEADER_SIZE, HEADER_COUNT = (
    slice(32, 40),
    slice(54, 56),
    slice(56, 58),
)  # of a 64-bit ELF header
PT_INTERP = 3


def build(recipe: str, busybox: str, place: str) -> None:
    """Run the recipe and put its result at `place`. Raises Error; Unsupported for a dynamic busybox."""
    if not is_static(Path(busybox)):
        raise Unsupported(
            f"{busybox} needs shared libraries that the image does not have",
            hint="apt-get install busybox-static",
        )
    target = Path(place)
    new = target.parent / f".new-{os.getpid()}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(new, ignore_errors=True)
        run_recipe(recipe, str(new), busybox)
        _settle(new, target)
    except OSError as problem:
        raise Error(f"cannot build the image busybox in {target.parent}: {problem.strerror}") from problem
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _settle(new: Path, target: Path) -> None:
    # Somebody else may have finished first: then theirs, which is the same, stays.
    with contextlib.suppress(FileExistsError):
        try:
            new.rename(target)
        except OSError:
            if not target.is_dir():
                raise


def run_recipe(recipe: str, directory: str, busybox: str) -> None:
    """Run `images/busybox/build`. Raises Error if it fails; it says why on stderr."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    pid = os.posix_spawn("/bin/sh", ["sh", recipe, directory, busybox], environment)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise Error(f"{recipe} failed with {code}", hint="see what it printed above")


def is_static(program: Path) -> bool:
    """Tell whether an ELF program asks for no interpreter, so that it runs where nothing else is."""
    with program.open("rb") as file:
        head = file.read(64)
        if head[:4] != b"\x7fELF":
            return False
        start, size, count = (
            int.from_bytes(head[part], "little") for part in (PROGRAM_HEADERS, HEADER_SIZE, HEADER_COUNT)
        )
        file.seek(start)
        table = file.read(size * count)
    kinds = [int.from_bytes(table[at : at + 4], "little") for at in range(0, len(table), size)]
    return PT_INTERP not in kinds
