"""What GNU tar makes of a layer in a chroot: the measure of what is right.

In a chroot the kernel itself keeps every path inside, so tar may take all names as they are (-P). It is
copied into the root with its libraries for as long as it runs, as the root has none.
See tar(1), chroot(8), ldd(1).
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

FOLDER = ".gnu-tar"
OPTIONS = ("--extract", "--absolute-names", "--preserve-permissions", "--same-owner", "--numeric-owner")
XATTRS = ("--xattrs", "--xattrs-include=*")


def unpack(data: bytes, root: Path) -> subprocess.CompletedProcess[bytes]:
    """Unpack a tar file into a new directory; the caller decides what a complaint of tar's means."""
    root.mkdir(mode=0o755)
    tools = root / FOLDER
    tools.mkdir()
    for path in programs():
        shutil.copy(path, tools)
    loader = next(path.name for path in tools.iterdir() if path.name.startswith("ld-linux"))
    tar = [f"/{FOLDER}/{loader}", "--library-path", f"/{FOLDER}", f"/{FOLDER}/tar"]
    done = subprocess.run(
        ["chroot", root, *tar, *OPTIONS, *XATTRS], input=data, capture_output=True, check=False
    )
    times = root.stat()
    shutil.rmtree(tools)
    os.utime(root, ns=(times.st_atime_ns, times.st_mtime_ns))
    return done


@functools.cache
def programs() -> tuple[Path, ...]:
    """Find tar, its libraries and their loader."""
    tar = shutil.which("tar")
    assert tar is not None
    listed = subprocess.run(["ldd", tar], capture_output=True, text=True, check=True).stdout
    return Path(tar), *map(Path, re.findall(r"(/\S+) \(0x", listed))
