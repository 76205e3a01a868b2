r"""From packages to a guest's image: two programs of Debian's, and what is cut out of the result for booting.

    mmdebstrap -> root.tar -> sqfstar -> root.squashfs
                          \-> kernel, busybox, modules/      for the initramfs

As root, or as an ordinary user in a user namespace; the same packages give the same bytes.

See mmdebstrap(1), sqfstar(1); subuid(5).
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

from minicontainer.errors import Error, Unsupported
from minicontainer.image.debian import check_subordinate_ids, complaint, meanings, mmdebstrap
from minicontainer.linux.long_programs import ProgramFailedError, run_with_files
from minicontainer.linux.programs import PATH
from minicontainer.vm import initramfs
from minicontainer.vm.recipe import Recipe

Tell = Callable[[str], None]

TOOLS = {"mmdebstrap": "mmdebstrap", "sqfstar": "squashfs-tools"}  # the program and its package
ROOM = 1800 << 20  # bytes that a build needs for a while; 400 MiB stay


def check_machine(cache: Path) -> None:
    """Find out what is missing before the work begins. Raises Unsupported, Error."""
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool, path=PATH)]
    if os.geteuid() and not shutil.which("newuidmap", path=PATH):
        missing.append("uidmap")
    if missing:
        raise Unsupported(
            f"a guest's image is made with {', '.join(TOOLS)}, and something is not installed",
            f"apt-get install {' '.join(missing)}",
        )
    if os.geteuid():
        check_subordinate_ids()
    free = shutil.disk_usage(cache).free
    if free < ROOM:
        raise no_room(cache)


def no_room(cache: Path) -> Error:
    """Make the error for a full disk."""
    return Error(
        f"no space left for a guest's image: {cache} has {shutil.disk_usage(cache).free >> 20} MB free, "
        f"and {ROOM >> 20} MB are needed while it is made",
        "free some, or set XDG_CACHE_HOME to a directory on another disk",
    )


def build(recipe: Recipe, place: Path, tell: Tell) -> None:
    """Make root.squashfs, kernel, busybox and modules/ in a directory that exists. Raises Error."""
    tar = place / "root.tar"
    bootstrap(recipe, tar, tell)
    tell("cutting out kernel and drivers")
    write_boot_files(tar, place)
    tell("writing root.squashfs")
    write_squashfs(recipe, tar, place / "root.squashfs")
    tar.unlink()


def write_squashfs(recipe: Recipe, tar: Path, target: Path) -> None:
    """Turn the tar into a file system. Raises ProgramFailedError.

    sqfstar 4.5 makes whoever runs it the owner of /, whatever it is told: an ordinary user runs it as root.
    """
    as_root = ("unshare", "--user", "--map-root-user", "--") if os.geteuid() else ()
    run_with_files([*as_root, *recipe.squashfs(target)], stdin=tar)


def bootstrap(recipe: Recipe, tar: Path, tell: Tell) -> None:
    """Let mmdebstrap make the root file system, which goes through a tar because its owners are not ours."""
    tell(f"making a Debian {recipe.suite} for {recipe.architecture}")
    mmdebstrap(recipe.command(tar), tar.parent, meanings(tell, "removing what is private or accidental"))


def write_boot_files(tar: Path, place: Path) -> None:
    """Take the kernel and what the initramfs needs out of the root file system. Raises Error."""
    with tarfile.open(tar) as archive:
        members = {member.name.removeprefix("./"): member for member in archive}

        def read(*names: str) -> bytes:
            for name in names:
                file = archive.extractfile(members[name]) if name in members else None
                if file:
                    return file.read()
            raise Error(f"the new root file system has no {names[0]}")

        version = next((name for name in members if name.startswith("boot/vmlinuz-")), "-?").partition("-")[2]
        (place / "kernel").write_bytes(read(f"boot/vmlinux-{version}", f"boot/vmlinuz-{version}"))
        (place / "busybox").write_bytes(read("usr/bin/busybox", "bin/busybox"))
        tree = f"lib/modules/{version}"

        def read_module(name: str) -> bytes:
            return read(f"usr/{tree}/{name}", f"{tree}/{name}")

        order = initramfs.loading_order(
            read_module("modules.dep").decode(), read_module("modules.builtin").decode()
        )
        write_modules(place / "modules", {path: read_module(path) for path in order})


def write_modules(directory: Path, modules: dict[str, bytes]) -> None:
    """Write the modules, and the order in which to load them."""
    directory.mkdir()
    for path, data in modules.items():
        (directory / Path(path).name).write_bytes(data)
    (directory / "order").write_text("".join(f"{Path(path).name}\n" for path in modules))


def explained(problem: ProgramFailedError, directory: Path, what: str) -> Error:
    """Say what a failed program means for the user."""
    if any("No space left on device" in line for line in problem.said):
        return no_room(directory)
    return Error(f"{what}: {complaint(problem)}", "run it again, or see mmdebstrap(1)")
