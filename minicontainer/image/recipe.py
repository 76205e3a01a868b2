"""Recipes: what the images of `images/` are made of, as data.

    images/NAME/recipe.toml   what it is, and what a container of it begins with
                stand-ins     the public names, one a line, in whose place it can be given
                ...           files and scripts that recipe.toml names

An image begins in one of three ways: as a Debian `suite`, `from` another of these images, or as a `tree` that
a script makes without a network. The first two take packages of Debian and of PyPI, and nothing else.

See images/README.md; image-spec config.md for what [config] becomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

import minicontainer
from minicontainer.errors import Error, NotFound, SpecError
from minicontainer.image import reference

FILE, STAND_INS = "recipe.toml", "stand-ins"

# These words reach the command lines of programs, so each is held to a form that has no second meaning there.
Word = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z")]
Package = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9+.-]+\Z")]
PythonPackage = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[a-z0-9,-]+\])?([=<>~!]=?[0-9][0-9A-Za-z.*]*,?)*\Z")
]
Inside = Annotated[str, Meta(pattern=r"^(/(?!\.\.?(/|\Z))[^/\0]+)+\Z")]  # a place in the image
Beside = Annotated[str, Meta(pattern=r"^(?!\.\.?(/|\Z))[A-Za-z0-9._-]+\Z")]  # a name in the recipe's folder
Variable = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]
Port = Annotated[str, Meta(pattern=r"^[0-9]{1,5}/(tcp|udp)\Z")]


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """What a container begins with; what is not said is as in the image that `from` names."""

    env: dict[Variable, str] = {}
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    workdir: Inside = ""
    user: str = ""
    expose: tuple[Port, ...] = ()
    volumes: tuple[Inside, ...] = ()
    labels: dict[str, str] = {}
    stop_signal: str = ""


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file recipe.toml."""

    title: str  # what the image holds, in a few words
    suite: Word = ""
    base: Word = field(default="", name="from")
    tree: Beside = ""
    packages: tuple[Package, ...] = ()
    pip: tuple[PythonPackage, ...] = ()
    files: dict[Beside, Inside] = {}  # files and directories of the folder -> their places in the image
    script: Beside = ""  # run in the new system at the end
    config: Config = Config()


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of `images/`, read."""

    name: str
    path: Path
    recipe: Recipe
    stand_ins: tuple[str, ...]


def directory() -> Path:
    """Find `images/`: in the checkout that this package is part of, or where an installation puts it."""
    around = Path(minicontainer.__path__[0]).parent  # in an installation PREFIX/lib/python3.x/site-packages
    for place in (around / "images", around.parent.parent.parent / "share/minicontainer/images"):
        if (place / "busybox" / FILE).exists():
            return place
    raise Error("images/ is not part of this installation", "run from a checkout, or install again")


def folders() -> dict[str, Folder]:
    """Read all recipes, by the names of their folders. Raises SpecError."""
    known = {path.parent.name: read(path.parent) for path in sorted(directory().glob(f"*/{FILE}"))}
    for folder in known.values():
        check_beginning(folder, known)
    return known


def check_beginning(folder: Folder, known: Mapping[str, Folder]) -> None:
    """Follow `from` to its end. Raises SpecError."""
    chain = [folder.name]
    while base := known[chain[-1]].recipe.base:
        if base in chain or base not in known:
            problem = "the image begins from itself" if base in chain else f"there is no images/{base}"
            raise SpecError(f"images/{chain[-1]}/{FILE}: from", problem)
        chain.append(base)


def find(name: str) -> tuple[Folder, str]:
    """Find the recipe of an image, and the public name for which it stands in: "" for its own name.

    Raises NotFound, SpecError.
    """
    wanted, known = reference.parse(name).stored_name(), folders()
    for folder in known.values():
        for stand_in in ("", *folder.stand_ins):
            if reference.parse(stand_in or folder.name).stored_name() == wanted:
                return folder, stand_in
    raise NotFound(f"no recipe makes {name}", f"there are {', '.join(known)}, and the stand-ins in images/*/")


def read(folder: Path) -> Folder:
    """Read the recipe in a folder. Raises SpecError, which names the file and the field."""
    shown, names = f"images/{folder.name}/{FILE}", folder / STAND_INS
    try:
        recipe = msgspec.toml.decode((folder / FILE).read_bytes(), type=Recipe)
        stand_ins = tuple(names.read_text().split()) if names.exists() else ()
    except msgspec.ValidationError as problem:
        why, _, where = str(problem).partition(" - at ")
        raise SpecError(f"{shown}: {where}" if where else shown, why) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise SpecError(shown, f"it is not TOML: {problem}") from None
    except OSError as problem:
        raise Error(f"cannot read {shown}: {problem.strerror}") from problem
    check(shown, folder, recipe)
    return Folder(folder.name, folder, recipe, stand_ins)


def check(shown: str, folder: Path, recipe: Recipe) -> None:
    """Refuse what the forms of single fields let through. Raises SpecError."""
    if [bool(recipe.suite), bool(recipe.base), bool(recipe.tree)].count(True) != 1:
        raise SpecError(f"{shown}: suite, from, tree", "exactly one of them says how the image begins")
    if recipe.tree and (recipe.packages or recipe.pip or recipe.files or recipe.script):
        raise SpecError(f"{shown}: tree", "its script makes the whole image; nothing is added to that")
    beside = {"tree": [recipe.tree], "script": [recipe.script], "files": recipe.files}
    for where, names in beside.items():
        for name in filter(None, names):
            if not (folder / name).exists():
                raise SpecError(f"{shown}: {where}", f"there is no {name} beside it")
