"""What one hostile image is: the attack in a sentence, the image, and what is right.

Right is one of two things. Refused: an error of one line, in which the named words stand; for a layer its
digest is one of them. Unpacked safely: the tree equals the one that GNU tar makes in a chroot, of the layer
itself or, where the image has several layers or GNU tar gives up, of the entries `as_if`.
In both nothing outside changes, and of a refused image nothing stays.
See test_hostile.py, which runs them; layouts.py, which writes them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.image.layouts import Entry, Layer, Layout, image, layer, tar

# A directory of the host, with one file `hello`, that the attacks want to read or change. Its path is the
# same for all of them, so that the tables are plain values.
VICTIM = Path(tempfile.gettempdir(), f"minicontainer-victim-{os.getpid()}")
Entries = Sequence[Entry | bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One hostile image; `refused` are the words of the error, none when it is to be unpacked."""

    name: str
    sentence: str
    make: Callable[[], Layout]
    refused: tuple[str, ...] = ()
    as_if: bytes = b""  # the tar of which GNU tar makes the right tree
    served: bool = True  # by a registry as well
    limits: Mapping[str, int] = field(default_factory=dict)  # what is configured for it
    archive: Callable[[Layout, Path], object] = Layout.archive


def unpacked(
    name: str, sentence: str, entries: Entries, *, below: Iterable[Entries] = (), as_if: Entries | None = None
) -> Attack:
    """Describe a layer that is unpacked safely, above the layers `below`."""
    layers = [*below, entries]
    right = tar(entries if as_if is None else as_if)
    return Attack(name=name, sentence=sentence, make=lambda: image([layer(e) for e in layers]), as_if=right)


def refused(
    name: str, sentence: str, entries: Entries, entry: str, *, below: Iterable[Entries] = ()
) -> Attack:
    """Describe a layer that is refused because of one entry, as the error names it."""
    layers = [*below, entries]
    return refused_layers(name, sentence, lambda: [layer(e) for e in layers], f'entry "{entry}"')


def refused_layers(name: str, sentence: str, make: Callable[[], Sequence[Layer]], *words: str) -> Attack:
    """Describe layers of which the last is refused."""
    return Attack(name=name, sentence=sentence, make=lambda: image(make()), refused=("layer sha256:", *words))


HARMLESS: Entries = (Entry(kind=b"0", name=b"harmless", content=b"harmless\n"),)
# of the image that is in the store before
KNOWN: Entries = (Entry(kind=b"0", name=b"known", content=b"known\n"),)
# Times that no entry has said are not compared; this is how a table says that of a directory.
NEW = 2**33


def implied(name: str) -> Entry:
    """Describe a directory that is made without an entry."""
    return Entry(kind=b"5", name=name.encode(), mode=0o755, mtime=NEW)
