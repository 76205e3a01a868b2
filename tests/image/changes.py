"""Random changes of a file tree: what a program in a container might do to its root file system.

A change is a name and its arguments; it is made if the tree allows it, and forgotten if not. So any list of
changes makes a tree out of nothing, and any other list makes another tree of that.
See hypothesis.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from hypothesis import strategies as st

from tests.linux.children import in_child

NAMES = ("a", "b", "c", "e" * 101, "ä \n" + os.fsdecode(b"\xff"))
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
# What every tree begins with, so that there is something to change.
BEGINNING = [
    *((("mkdir", (path,))) for path in ("a", "a/a", "a/b", "b", "b/a")),
    *((("write", (path, 3, b"x"))) for path in ("a/a/a", "a/a/b", "a/b/a", "a/c", "b/a/a", "c")),
    ("link", ("b/b", "../a/c")),
]
TIMES = st.one_of(
    st.integers(0, 2**31), st.integers(-(10**10), 10**10), st.just(10**9), st.just(8**11 * 10**9)
)
IDS = st.sampled_from([0, 1, 65534, 2**21, 2**31])
Change = tuple[str, tuple[object, ...]]


def opened(path: Path, flags: int) -> IO[bytes]:
    """Open a regular file, made if there is nothing; never a pipe or a device."""
    if path.exists() and not path.is_file():
        raise IsADirectoryError
    return os.fdopen(os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW), "wb")


def write(path: Path, size: int, filler: bytes) -> None:
    with opened(path, os.O_WRONLY | os.O_TRUNC) as file:
        file.write(filler * size)


def punch(path: Path, size: int) -> None:
    with opened(path, os.O_WRONLY | os.O_APPEND) as file:
        file.truncate(file.tell() + size)
        file.seek(0, os.SEEK_END)
        file.write(b"end")


def link(path: Path, other: str) -> None:
    path.hardlink_to(path.parent / other)


def symlink(path: Path, target: str) -> None:
    path.symlink_to(target)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def replace(path: Path) -> None:
    """Remove a directory and make it anew: it hides what the layers below have in it."""
    shutil.rmtree(path)
    path.mkdir()


def rename(path: Path, other: str) -> None:
    path.rename(path.parent / other)


def own(path: Path, uid: int, gid: int) -> None:
    os.chown(path, uid, gid, follow_symlinks=False)


def attribute(path: Path, name: str, value: bytes) -> None:
    os.setxattr(path, name, value, follow_symlinks=False)


def time(path: Path, mtime: int) -> None:
    os.utime(path, ns=(0, mtime), follow_symlinks=False)


def mode(path: Path, bits: int) -> None:
    if not path.is_symlink():
        path.chmod(bits)


def node(path: Path, kind: int) -> None:
    os.mknod(path, kind | 0o640, os.makedev(7, 300) if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0)


ACTIONS: dict[str, tuple[Callable[..., None], tuple[st.SearchStrategy[object], ...]]] = {
    "write": (write, (st.sampled_from([0, 1, 511, 512, 5000]), st.sampled_from([b"x", b"\0", b"yz"]))),
    "mkdir": (Path.mkdir, ()),
    "punch": (punch, (st.sampled_from([4096, 200_000]),)),
    "link": (link, (st.sampled_from(NAMES),)),
    "symlink": (
        symlink,
        (st.sampled_from(["a", "/nonexistent/a", "../b", "g" * 150, os.fsdecode(b"\xfe")]),),
    ),
    "remove": (remove, ()),
    "replace": (replace, ()),
    "rename": (rename, (st.sampled_from(NAMES),)),
    "own": (own, (IDS, IDS)),
    "mode": (mode, (st.integers(0, 0o7777),)),
    "attribute": (attribute, (st.sampled_from(["trusted.t", "security.s"]), st.binary(max_size=20))),
    "time": (time, (TIMES,)),
    "node": (node, (st.sampled_from([stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK]),)),
}


def change(name: str) -> st.SearchStrategy[Change]:
    return st.tuples(st.just(name), st.tuples(PATHS, *ACTIONS[name][1]))


CHANGES = st.lists(st.sampled_from(list(ACTIONS)).flatmap(change), max_size=30)


def play(root: Path, changes: Sequence[Change]) -> None:
    """Make the changes below a directory, as far as each of them is possible.

    It is the root of the process that makes them: no link that was made leads out of it.
    """

    def make() -> None:
        os.chroot(root)
        os.chdir("/")
        for name, (path, *arguments) in changes:
            with contextlib.suppress(OSError):
                ACTIONS[name][0](Path(str(path)), *arguments)

    in_child(make)
