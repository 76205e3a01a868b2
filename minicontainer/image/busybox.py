"""The image `busybox`, which this machine builds itself from Debian's busybox-static: images/busybox/build.

    /var/lib/minicontainer/images/busybox/IDENTITY/        a finished root file system, never changed again
    /var/lib/minicontainer/images/busybox/.new-PID/        one that is being built; renamed when it is done

The identity is made of the size and time of what it is built from, so that a new busybox makes a new image,
and a container that still runs on the old one keeps it.

See images/busybox/README.md.
"""

from __future__ import annotations

import posix

from minicontainer.errors import Error, NotFound

BUSYBOX = "/bin/busybox"
RECIPE = "images/busybox/build"
DIGITS = 0xFFFFFFFFFFFF  # Python's hash of numbers is the same in every process
INSTALL = "apt-get install busybox-static"


def store() -> str:
    """Say where images of this kind lie: for root in /var/lib, for a user below the home directory."""
    if posix.geteuid() == 0:
        return "/var/lib/minicontainer/images/busybox"
    home = posix.environ.get(b"HOME", b"/").decode("utf-8", "surrogateescape")
    data = (
        posix.environ.get(b"XDG_DATA_HOME", b"").decode("utf-8", "surrogateescape") or f"{home}/.local/share"
    )
    return f"{data}/minicontainer/images/busybox"


def root_file_system() -> str:
    """Find the image's root file system, or build it if it is not there yet. Raises NotFound."""
    recipe = find_recipe()
    place = f"{store()}/{hash((*identity(BUSYBOX), *identity(recipe))) & DIGITS:012x}"
    try:
        posix.stat(place)
    except FileNotFoundError:
        from minicontainer.image.building import build

        build(recipe, BUSYBOX, place)
    return place


def identity(path: str) -> tuple[int, int]:
    """Tell the version of a file by its size and time. Raises NotFound."""
    try:
        found = posix.stat(path)
    except OSError:
        hint = INSTALL if path == BUSYBOX else "install minicontainer again"
        raise NotFound(f"{path} is missing, and the image busybox is made from it", hint) from None
    return found.st_size, found.st_mtime_ns


def find_recipe() -> str:
    """Find the recipe: in the checkout that this package is part of, or where an installation puts it."""
    import minicontainer

    package = minicontainer.__path__[0]
    checkout = package.rpartition("/")[0]
    prefix = package.rsplit("/", 4)[0]
    for place in (f"{checkout}/{RECIPE}", f"{prefix}/share/minicontainer/{RECIPE}"):
        try:
            posix.stat(place)
        except OSError:
            continue
        return place
    raise Error(f"{RECIPE} is not part of this installation", hint="run from a checkout, or install again")
