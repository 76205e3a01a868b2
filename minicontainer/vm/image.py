"""The guest's image in the cache: found, or built once and kept until its recipe changes.

    ~/.cache/minicontainer/vm/lock            held while one is built
        unfinished-PID/                       being built; renamed when done, swept if its maker was killed
        image-KEY/image.json                  finished: its recipe, and size and digest of each file
                  root.squashfs  kernel       what a guest is started with
                  busybox  modules/           for
                  initramfs-KEY               with the guest's own scripts, made anew when they change

A file whose size or time is not the recorded one is read in full: a broken image is built again, not booted.

See flock(2), rename(2); the XDG base directory specification.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from minicontainer.errors import Error, NotFound
from minicontainer.image.debian import clear
from minicontainer.linux.long_programs import ProgramFailedError
from minicontainer.vm import image_build, initramfs
from minicontainer.vm.recipe import SUITE, Recipe, standard

Tell = Callable[[str], None]
FORMAT = 1  # of image.json; an image with another is built again


@dataclass(frozen=True, slots=True)
class Image:
    """A finished image."""

    place: Path
    root: Path
    kernel: Path
    initramfs: Path
    suite: str
    architecture: str
    key: str


class FileRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one file of an image was when it was written, or read in full for the last time."""

    size: int
    changed: int  # nanoseconds
    sha256: str


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file image.json."""

    format: int
    suite: str
    architecture: str
    packages: tuple[str, ...]
    files: dict[str, FileRecord]


def say(line: str) -> None:
    """Show progress on standard error."""
    sys.stderr.write(f"image: {line}\n")


def cache() -> Path:
    """Say where images are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME') or '~'}/.cache"
    return Path(home).expanduser() / "minicontainer" / "vm"


def obtain(tell: Tell = say, *, suite: str = SUITE, packages: tuple[str, ...] = ()) -> Image:
    """Give the image of a suite with further packages; build it if need be. Raises Error, Unsupported."""
    recipe = standard(suite, packages)
    place = cache() / f"image-{recipe.key()}"
    record = read_whole(place)
    if record is None:
        make(recipe, place, tell)
        record = read_whole(place)
    return described(place, record)


def find(key: str) -> Image:
    """Give a finished image by its key, for a disk that was written on top of it. Raises NotFound."""
    place = cache() / f"image-{key}"
    return described(place, read_whole(place))


def described(place: Path, record: Record | None) -> Image:
    """Put together what a guest is started with. Raises NotFound where there is no whole image."""
    if record is None:
        raise NotFound(f"there is no whole image in {place}")
    return Image(
        place=place,
        root=place / "root.squashfs",
        kernel=place / "kernel",
        initramfs=current_initramfs(place),
        suite=record.suite,
        architecture=record.architecture,
        key=place.name.removeprefix("image-"),
    )


def make(recipe: Recipe, place: Path, tell: Tell) -> None:
    """Build the image unless somebody else just has, one at a time."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.parent, tell):
            sweep(place.parent)
            if read_whole(place) is None:
                build(recipe, place, tell)
    except OSError as problem:
        raise Error(f"the image cannot be made in {place.parent}: {problem.strerror}") from problem


@contextlib.contextmanager
def locked(directory: Path, tell: Tell) -> Iterator[None]:
    """Hold the cache's lock; the kernel gives it up with us."""
    with (directory / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("somebody else is building; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sweep(directory: Path) -> None:
    """Remove what killed builds left. Only with the lock: nobody else is building."""
    for left in directory.glob("unfinished-*"):
        clear(left)


def build(recipe: Recipe, place: Path, tell: Tell) -> None:
    """Build beside the place, then rename: a broken build is never found."""
    image_build.check_machine(place.parent)
    unfinished = place.parent / f"unfinished-{os.getpid()}"
    unfinished.mkdir(mode=0o755)
    try:
        image_build.build(recipe, unfinished, tell)
        write_record(unfinished, recipe)
        shutil.rmtree(place, ignore_errors=True)
        unfinished.rename(place)
    except ProgramFailedError as problem:
        raise image_build.explained(problem, place.parent, "the image could not be built") from problem
    finally:
        clear(unfinished)


def write_record(place: Path, recipe: Recipe) -> None:
    """Write image.json, and let everything reach the disk before the rename."""
    files = {}
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        files[str(path.relative_to(place))] = record_of(path, digest(path))
    record = Record(
        format=FORMAT,
        suite=recipe.suite,
        architecture=recipe.architecture,
        packages=recipe.packages,
        files=files,
    )
    save(place, record)
    os.sync()


def save(place: Path, record: Record) -> None:
    """Replace image.json at once."""
    beside = place / f"image.json.{os.getpid()}"
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2))
    beside.rename(place / "image.json")


def record_of(path: Path, sha256: str) -> FileRecord:
    """Take down what a file is now."""
    found = path.stat()
    return FileRecord(size=found.st_size, changed=found.st_mtime_ns, sha256=sha256)


def digest(path: Path) -> str:
    """Read a file in full."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_whole(place: Path) -> Record | None:
    """Read an image's record if all is as it was built; what was copied or touched is read in full once."""
    try:
        record = msgspec.json.decode((place / "image.json").read_bytes(), type=Record)
        if record.format != FORMAT:
            return None
        now = {name: seen(place / name, before) for name, before in record.files.items()}
        if now != record.files:
            save(place, msgspec.structs.replace(record, files=now))
    except (OSError, msgspec.DecodeError, Altered):
        return None
    return record


class Altered(Exception):
    """A file of an image is not what was written."""


def seen(path: Path, before: FileRecord) -> FileRecord:
    """Compare a file with its record; give the record to keep. Raises Altered, OSError."""
    now = record_of(path, before.sha256)
    if now.size != before.size or (now.changed != before.changed and digest(path) != before.sha256):
        raise Altered
    return now


def current_initramfs(place: Path) -> Path:
    """Find the initramfs with the guest's scripts as they are now, or write it. Raises Error."""
    path = place / current_initramfs_name()
    try:
        if not path.exists():
            write_initramfs(path)
    except OSError as problem:
        raise Error(f"cannot write {path}: {problem.strerror}") from problem
    return path


def current_initramfs_name() -> str:
    """Name the initramfs by what stands in the guest's scripts."""
    parts = [part for name, data in initramfs.guest_files().items() for part in (name.encode(), data)]
    digest_of_all = hashlib.sha256(b"\0".join(parts)).hexdigest()
    return f"initramfs-{digest_of_all[:16]}"


def write_initramfs(path: Path) -> None:
    """Write the initramfs of the image that it lies in, beside and renamed."""
    place = path.parent
    order = (place / "modules" / "order").read_text().split()
    modules = {name: (place / "modules" / name).read_bytes() for name in order}
    beside = path.with_name(f"initramfs.{os.urandom(8).hex()}")  # threads of one process write, too
    busybox = (place / "busybox").read_bytes()
    beside.write_bytes(initramfs.pack(busybox, modules, order, initramfs.guest_files()))
    beside.rename(path)
