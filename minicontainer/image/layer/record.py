"""What unpacking a layer has found out, kept beside its tree in layer.json.

    {"size": 10240, "entries": 5, "implied": ["", "etc"]}

Names are bytes: what is not UTF-8 in them stands in the text as lone surrogates, as Python's os.fsdecode has
it, which most JSON readers refuse. So it is read and written here only.

See PEP 383.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minicontainer.errors import SpecError
from minicontainer.oci.json_text import loads
from minicontainer.trace.json_lines import dumps

NAME = "layer.json"
LARGEST = 1 << 30  # bytes; each name in it stood in the layer, whose size is bounded


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an unpacked layer."""

    size: int  # bytes of the uncompressed tar
    entries: int
    implied: tuple[bytes, ...]  # directories that no entry describes

    def write(self, layer: Path) -> None:
        """Put the record into a layer's directory."""
        members = {"size": self.size, "entries": self.entries, "implied": self.implied}
        (layer / NAME).write_text(dumps(members))


def read_record(layer: Path) -> Record:
    """Read the record of a layer's directory. Raises FileNotFoundError; SpecError when it is not one."""
    document: Any = loads((layer / NAME).read_bytes(), LARGEST, ours=True)
    try:
        implied = tuple(path.encode("utf-8", "surrogateescape") for path in document["implied"])
        return Record(document["size"], document["entries"], implied)
    except (KeyError, TypeError, AttributeError):
        raise SpecError(str(layer / NAME), "not the record of a layer") from None
