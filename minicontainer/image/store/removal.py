"""Removing a directory tree that a stranger made, however deep it is.

A layer may have thousands of levels: more than Python calls itself, or than a process may have open. So every
directory is lifted to the top before it is emptied; only the top and one more are ever open, and no link is
followed.

See unlinkat(2), renameat(2).
"""

from __future__ import annotations

import os
from pathlib import Path

ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LIFTED = ".lifted-"


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it. Raises OSError."""
    top = os.open(path, ENTER)
    try:
        empty(top)
    finally:
        os.close(top)
    path.rmdir()


def empty(top: int) -> None:
    """Remove all that is in an open directory. Raises OSError."""
    waiting = _unlink_or_lift(top, top)
    while waiting:
        name = waiting.pop()
        directory = os.open(name, ENTER, dir_fd=top)
        try:
            waiting += _unlink_or_lift(directory, top)
        finally:
            os.close(directory)
        os.rmdir(name, dir_fd=top)


def _unlink_or_lift(directory: int, top: int) -> list[str]:
    """Unlink what is no directory, lift the directories to the top; gives the names that they have there."""
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    lifted = []
    for name, is_directory in found:
        if is_directory:
            new = LIFTED + os.urandom(8).hex()
            os.rename(name, new, src_dir_fd=directory, dst_dir_fd=top)
            lifted.append(new)
        else:
            os.unlink(name, dir_fd=directory)
    return lifted
