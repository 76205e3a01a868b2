"""`minicontainer save` and `load`: images as files, for docker, podman, skopeo and us.

See man pages docker-save(1), docker-load(1); minicontainer/image/archive.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from minicontainer.cli import progress
from minicontainer.cli.image_words import is_name, wanted_platform, word, words
from minicontainer.errors import Error, SpecError
from minicontainer.image import configuration
from minicontainer.image import reference as references
from minicontainer.image.archive.contents import open_contents
from minicontainer.image.archive.saving import Saved
from minicontainer.image.archive.saving import save as write_archive
from minicontainer.image.archive.source import NAMELESS, ArchiveSource
from minicontainer.image.pull import Pull
from minicontainer.image.reference import Reference
from minicontainer.image.rootless import become_root
from minicontainer.image.store.images import load as load_image
from minicontainer.image.store.names import Named, find, image_id, names
from minicontainer.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.image_words import Values

BOTH, OCI = "docker-archive", "oci-archive"


def save(values: Values) -> int:
    """Write images to a file, or to standard output if it is no terminal."""
    form = word(values, "format") or BOTH
    if form not in (BOTH, OCI):
        raise Error(f"--format {form}: there is {BOTH} and {OCI}")
    store, path = Store(), word(values, "output")
    if not path and sys.stdout.isatty():
        raise Error("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    with store.hold():  # what is saved stays until it is
        saved = wanted(store, words(values, "image"))
        with written(path) as out:
            write_archive(store, saved, out, docker=form == BOTH)
    return 0


def wanted(store: Store, given: list[str]) -> list[Saved]:
    """Find what is to be saved: each image once, with all names that were given. Raises NotFound."""
    found: dict[str, Saved] = {}
    for text in given:
        for named in found_by(store, text):
            image = load_image(store, named)
            reference = named.reference
            name = (reference,) if reference.tag and is_name(named, text) else ()
            before = found.get(image.descriptor.digest, Saved(image, ()))
            found[image.descriptor.digest] = Saved(image, tuple(dict.fromkeys(before.names + name)))
    return list(found.values())


def found_by(store: Store, text: str) -> list[Named]:
    """Find what an argument means; a repository alone means all of its tags. Raises NotFound."""
    try:
        reference = references.parse(text)
    except SpecError:  # an id
        return [find(store, text)]
    if reference == Reference(reference.domain, reference.path):
        found = [named for named in names(store).values() if named.reference.name == reference.name]
        if found:
            return found
    return [find(store, text)]


@contextlib.contextmanager
def written(path: str) -> Iterator[BinaryIO]:
    """Open what is written to: a file appears when it is whole. Raises Error."""
    if not path:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    try:
        if target.exists() and not target.is_file():  # as /dev/null
            with target.open("wb") as out:
                yield out
            return
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".save-", delete=False) as out:
            try:
                yield cast("BinaryIO", out)
                Path(out.name).rename(target)
            except BaseException:
                Path(out.name).unlink()
                raise
    except OSError as problem:
        raise Error(f"cannot write {path}: {problem.strerror}") from problem


# --- load ------------------------------------------------------------------------------------------


def load(values: Values) -> int:
    """Take all images of an archive into the store."""
    path = word(values, "input")
    if not path and sys.stdin.isatty():
        raise Error("requested load from stdin, but stdin is empty", hint="-i FILE, or < FILE")
    become_root()
    store = Store().create()
    limits = configuration.load().limits
    platform = wanted_platform(values)
    quiet = bool(values["quiet"]) or not sys.stdout.isatty()
    with open_contents(path, store.ingests, limits) as contents:
        source = ArchiveSource(contents)
        for reference in source.images:
            with progress.telling(progress.LOAD, quiet=quiet, as_json=False) as teller:
                pulled = Pull(store, source, reference, platform, teller, limits).run()
            sys.stdout.write(f"{loaded(store, pulled.name)}\n")
    return 0


def loaded(store: Store, name: str) -> str:
    """Say what was loaded, in docker's words."""
    named = names(store)[name]
    if named.reference.name == NAMELESS.name:
        return f"Loaded image ID: {image_id(store, named)}"
    return f"Loaded image: {named.reference.familiar()}"
