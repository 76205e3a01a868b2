"""The toolkit on its way into a guest: one tar that QEMU shows as a disk.

    .toolkit          the digest of all that follows: a guest that has unpacked the same does not do it again
    minicontainer/    the package
    images/           recipes of images
    tests/ ...        with tests=True, and all else that git would track in this checkout, committed or not

The same files give the same bytes: order, owners and times do not depend on the machine.

See tar(5), the ustar and pax formats; minicontainer/vm/guest/install-toolkit.sh, which unpacks it.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import minicontainer
from minicontainer.errors import NotFound
from minicontainer.image.epoch import EPOCH
from minicontainer.image.recipe import directory

PACKAGE = Path(minicontainer.__path__[0])
# What .gitignore names, git's own directory, and what an editor keeps: a test compares with git.
AT_THE_TOP = (".git", ".venv", ".peers", ".vagrant", "build", "dist")
ANYWHERE = ("*.egg-info", "__pycache__", ".*_cache", ".hypothesis")
MARK = ".toolkit"
BLOCK = 512  # a disk's size is a multiple of it, and so is a tar's


def pack(target: Path, *, tests: bool) -> str:
    """Write the tar; returns its SHA-256. `tests` needs a checkout. Raises NotFound."""
    files = dict(checkout_files() if tests else package_files())
    beside = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        with beside.open("w+b") as file:
            write(file, files)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        beside.rename(target)
    finally:
        beside.unlink(missing_ok=True)
    return digest


def write(file: io.BufferedRandom, files: dict[str, Path]) -> None:
    """Write the mark, its digest still missing, then all files, then the digest."""
    total = hashlib.sha256()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        add(tar, MARK, bytes(64), 0o644)
        for name, path in sorted(files.items()):
            data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            mode = 0o777 if path.is_symlink() else 0o755 if os.access(path, os.X_OK) else 0o644
            total.update(f"{name}\0{mode:o}\0{len(data)}\0".encode() + data)
            add(tar, name, data, mode)
    file.seek(BLOCK)
    file.write(total.hexdigest().encode())


def add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    """Add a file, or with mode 777 a symbolic link."""
    member = tarfile.TarInfo(name)
    member.mode = mode
    member.mtime = EPOCH
    if mode == 0o777:  # noqa: PLR2004 - what every symbolic link has
        member.type = tarfile.SYMTYPE
        member.linkname = data.decode()
        tar.addfile(member)
    else:
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def checkout() -> Path:
    """Find the checkout that this package is part of. Raises NotFound."""
    place = PACKAGE.parent
    if not (place / "pyproject.toml").is_file() or not (place / "tests").is_dir():
        raise NotFound("this installation has no tests", "run from a checkout: ./bootstrap test")
    return place


def checkout_files() -> Iterator[tuple[str, Path]]:
    """Name all that git would track."""
    place = checkout()
    for entry in sorted(place.iterdir()):
        if entry.name not in AT_THE_TOP:
            yield from below(entry, entry.name)


def package_files() -> Iterator[tuple[str, Path]]:
    """Name what an installation has: the package and the images' recipes."""
    yield from below(PACKAGE, "minicontainer")
    yield from below(directory(), "images")


def below(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Name a file, or all files in a directory."""
    if any(fnmatch(path.name, pattern) for pattern in ANYWHERE):
        return
    if path.is_dir() and not path.is_symlink():
        for entry in sorted(path.iterdir()):
            yield from below(entry, f"{name}/{entry.name}")
    elif path.is_file() or path.is_symlink():
        yield name, path
