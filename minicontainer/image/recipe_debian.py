"""A recipe's Debian system, made in a directory by mmdebstrap: from nothing, or from another image's tree.

    suite:  mmdebstrap unpacks and installs what is essential, then the packages
    from:   mmdebstrap takes the directory as it is, and apt in it installs the packages
    both:   files, pip, script, and at the end seal.sh: what is accidental goes

mmdebstrap gives what is needed around that: apt's configuration, /proc, /sys and /dev while packages are
configured, no services that start, a network's resolv.conf for as long as it is needed.

See mmdebstrap(1), "custom", "EXAMPLES"; minicontainer/image/debian.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote

from minicontainer.errors import Error, Unsupported
from minicontainer.image.debian import complaint, meanings, mmdebstrap
from minicontainer.image.epoch import LEFT_OUT
from minicontainer.image.recipe import Folder, Recipe
from minicontainer.linux.long_programs import ProgramFailedError
from minicontainer.linux.programs import PATH

SEAL = Path(__file__).with_name("seal.sh")
# Frozen mirrors carry expired lists.
APT = ("Apt::Install-Recommends false", "Acquire::Check-Valid-Until false")
# As Docker's images have it: the copyright notices stay, and nobody waits for the disk after each file.
DPKG = [f"path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
DPKG += ["path-include=/usr/share/doc/*/copyright", "force-unsafe-io"]
# A company's proxy or a school's mirror may have a certificate that only this machine knows: pip is to trust
# whom we trust. In /tmp, which mmdebstrap empties.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
THERE = "/tmp/certificates.pem"  # noqa: S108 - of the new system


def make_system(folder: Folder, tree: Path, tell: Callable[[str], None]) -> None:
    """Make the system of a recipe in `tree`: empty for a suite, else what it begins from. Raises Error."""
    if not shutil.which("mmdebstrap", path=PATH):
        raise Unsupported("images of Debian packages are made by mmdebstrap", "apt-get install mmdebstrap")
    try:
        listener = meanings(tell, "adding what the recipe says, removing what is accidental")
        mmdebstrap(command(folder, tree), tree.parent, listener, trust())
    except ProgramFailedError as problem:
        raise Error(
            f"the image {folder.name} could not be made: {complaint(problem)}",
            "run it again, or see mmdebstrap(1)",
        ) from problem
    shutil.rmtree(tree / "dev")  # device nodes, of which each container gets its own
    (tree / "dev").mkdir()


def command(folder: Folder, tree: Path) -> list[str]:
    """Give mmdebstrap's command line."""
    recipe = folder.recipe
    return [
        *("mmdebstrap", "--mode=root", "--format=directory"),
        *(f"--aptopt={option}" for option in APT),
        *(beginning(recipe) if recipe.suite else continuing(recipe)),
        *(f"--customize-hook={hook}" for hook in hooks(folder)),
        *([recipe.suite, str(tree)] if recipe.suite else ["", str(tree), ""]),  # "": apt's sources are there
    ]


def beginning(recipe: Recipe) -> Iterator[str]:
    """Give the words for a system from nothing; no mirror is named, so it is Debian's own."""
    yield "--variant=minbase"
    yield from (f"--dpkgopt={option}" for option in DPKG)
    if recipe.packages:
        yield f"--include={','.join(recipe.packages)}"


def continuing(recipe: Recipe) -> Iterator[str]:
    """Give the words for a system that is there; apt's lists are fetched only if they are wanted."""
    yield from ("--variant=custom", "--skip=check/empty")
    if recipe.packages:
        packages = " ".join(recipe.packages)
        yield f'--customize-hook=chroot "$1" apt-get install --quiet --quiet --yes {packages}'
    else:
        yield "--skip=update"


def trust() -> dict[str, str]:
    """Give the variables that make pip trust whom this machine trusts."""
    return {"PIP_CERT": THERE} if CERTIFICATES.exists() else {}


def hooks(folder: Folder) -> Iterator[str]:
    """Give the shell commands that finish the system, in whose `$1` it is."""
    recipe = folder.recipe
    if trust():
        yield f'cp {CERTIFICATES} "$1"{THERE}'
    for name, place in recipe.files.items():
        for source in files_of(folder.path / name):
            mode = "755" if os.access(source, os.X_OK) else "644"
            inside = Path(place) / source.relative_to(folder.path / name)
            yield f'install -D --mode={mode} {quote(str(source))} "$1"{quote(str(inside))}'
    for volume in recipe.config.volumes:
        yield f'mkdir -p "$1"{quote(volume)}'
    if recipe.pip:
        yield f'chroot "$1" pip install --quiet --no-cache-dir --root-user-action=ignore {quoted(recipe.pip)}'
    for script in [folder.path / recipe.script] * bool(recipe.script) + [SEAL]:
        yield f'chroot "$1" sh -eu -c "$(cat {quote(str(script))})"'


def quoted(words: tuple[str, ...]) -> str:
    """Write words for a shell: `<` and `>` in a version mean something to it."""
    return " ".join(quote(word) for word in words)


def files_of(place: Path) -> list[Path]:
    """List the files below a place, or the place if it is one; not what Python leaves in a checkout."""
    if place.is_file():
        return [place]
    found = (path for path in place.rglob("*") if path.is_file())
    return sorted(path for path in found if "__pycache__" not in path.parts)
