"""Making a directory that others must see whole or not at all, though several processes may want to make it.

    .new-NAME   being made, locked by its maker; what a killed maker left in it is removed by the next one
    NAME        renamed when it is whole

See flock(2), rename(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from minicontainer.image.store.removal import remove_tree


@contextlib.contextmanager
def claimed(place: Path) -> Iterator[Path | None]:
    """Give an empty directory that becomes `place` at the end; None when somebody else has made it."""
    new = place.with_name(f".new-{place.name}")
    lock = _locked(new, place)
    if lock is None:
        yield None
        return
    try:
        yield new
        new.rename(place)
    except BaseException:
        remove_tree(new)
        raise
    finally:
        os.close(lock)


def _locked(new: Path, place: Path) -> int | None:
    """Make the directory `new`, empty and locked by us; None when there is a `place` by now."""
    while not place.exists():
        lock = _open_locked(new)
        if lock is None:
            continue
        if _is_still(new, lock):
            _empty(new)
            if not place.exists():
                return lock
            new.rmdir()  # ours: somebody's was renamed between our two looks at `place`
        os.close(lock)  # or it was renamed or removed while we waited
    return None


def _open_locked(new: Path) -> int | None:
    """Open the directory, made if it is missing, and lock it; None when it is renamed meanwhile."""
    with contextlib.suppress(FileExistsError):
        new.mkdir(mode=0o700)
    try:
        lock = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _empty(directory: Path) -> None:
    """Remove what a killed maker has left."""
    for left in directory.iterdir():
        if left.is_dir() and not left.is_symlink():
            remove_tree(left)
        else:
            left.unlink()


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
