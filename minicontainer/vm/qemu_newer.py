"""A newer QEMU than the distribution's: Debian 13's, unpacked into the cache and started by its own loader.

    mmdebstrap -> qemu.tar -> ~/.cache/minicontainer/vm/qemu-KEY/usr/{bin,lib,libexec,share}

Nothing is installed, and apt's sources stay as they are. QEMU 10 starts a guest's processes four times faster
than 7.2 when it emulates; who cannot have it does with what the distribution gives.

See mmdebstrap(1) "extract"; ld.so(8) "--library-path".
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from minicontainer.errors import Error, Unsupported
from minicontainer.image.debian import clear, mmdebstrap
from minicontainer.linux.long_programs import ProgramFailedError
from minicontainer.linux.programs import PATH
from minicontainer.vm.image import cache, locked, say, sweep
from minicontainer.vm.image_build import explained
from minicontainer.vm.recipe import architecture

SUITE = "trixie"
PACKAGES = {"amd64": ("qemu-system-x86", "virtiofsd"), "arm64": ("qemu-system-arm", "virtiofsd")}
ROOM = 600 << 20  # bytes, while it is unpacked; a third of it stays
LIBRARIES = f"usr/lib/{platform.machine()}-linux-gnu"
LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
PROGRAMS = ("usr/bin", "usr/libexec")
DATA = ("usr/share/qemu", "usr/share/seabios")
WANTED = ("usr/bin/qemu-", "usr/libexec/virtiofsd", f"{LIBRARIES}/", *(f"{each}/" for each in DATA))


def command(system: str, tell: Callable[[str], None] = say) -> list[str]:
    """Give the words that start a program of QEMU's or virtiofsd; unpack them first if need be.

    `system` is a name such as qemu-system-x86_64. Raises Error, Unsupported, when it cannot be had.
    """
    place = obtain(tell)
    libraries = place / LIBRARIES
    for directory in PROGRAMS:
        program = place / directory / system
        if program.exists():
            start = [
                str(libraries / LOADERS[platform.machine()]),
                "--library-path",
                str(libraries),
                str(program),
            ]
            return [*start, *data_directories(place)] if system.startswith("qemu-system-") else start
    raise Unsupported(f"Debian's {' and '.join(PACKAGES[architecture()])} have no {system}")


def data_directories(place: Path) -> Iterator[str]:
    """Say where firmware lies."""
    for directory in DATA:
        if (place / directory).is_dir():
            yield from ("-L", str(place / directory))


def tree() -> Path:
    """Say where it is, or will be."""
    parts = (SUITE, *PACKAGES[architecture()], *WANTED)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return cache() / f"qemu-{key}"


def obtain(tell: Callable[[str], None] = say) -> Path:
    """Give the directory with QEMU unpacked. Raises Error, Unsupported."""
    packages = PACKAGES[architecture()]
    place = tree()
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.parent, tell):
            sweep(place.parent)
            if not place.is_dir():
                unpack(packages, place, tell)
    except OSError as problem:
        raise Error(f"QEMU cannot be unpacked in {place.parent}: {problem.strerror}") from problem
    return place


def unpack(packages: tuple[str, ...], place: Path, tell: Callable[[str], None]) -> None:
    """Fetch the packages, and unpack what is wanted beside the place, then rename."""
    if not shutil.which("mmdebstrap", path=PATH):
        raise Unsupported(
            "mmdebstrap, which fetches a newer QEMU, is not installed", "apt-get install mmdebstrap"
        )
    if shutil.disk_usage(place.parent).free < ROOM:
        raise Error(
            f"no space left for QEMU in {place.parent}: {ROOM >> 20} MB are needed while it is unpacked"
        )
    unfinished = place.parent / f"unfinished-{os.getpid()}"
    unfinished.mkdir(mode=0o755)
    try:
        tell(f"unpacking {' and '.join(packages)} of Debian {SUITE}")
        tar = unfinished / "qemu.tar"
        fetch(packages, tar)
        with tarfile.open(tar) as archive:
            extract(archive, unfinished)
        tar.unlink()
        unfinished.rename(place)
    except ProgramFailedError as problem:
        raise explained(problem, place.parent, "QEMU could not be unpacked") from problem
    finally:
        clear(unfinished)


def fetch(packages: tuple[str, ...], tar: Path) -> None:
    """Let mmdebstrap resolve, fetch, verify and lay out the packages; nothing of them is run."""
    mmdebstrap(
        [
            *("mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(packages)}"),
            *("--aptopt=Apt::Install-Recommends false", "--aptopt=Acquire::Check-Valid-Until false"),
            *(SUITE, str(tar)),
        ],
        tar.parent,
        tell=lambda _line: None,
    )


def extract(archive: tarfile.TarFile, target: Path) -> None:
    """Write the wanted files and links as our own. They come from packages that apt has verified."""
    for member in archive:
        name = member.name.removeprefix("./")
        if not name.startswith(WANTED) or ".." in name.split("/"):
            continue
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        source = archive.extractfile(member) if member.isfile() or member.islnk() else None
        if source:
            with path.open("wb") as file:
                shutil.copyfileobj(source, file)
            path.chmod(0o755 if member.mode & 0o100 else 0o644)
        elif member.issym():
            path.symlink_to(member.linkname)
