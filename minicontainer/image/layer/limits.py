"""How much one layer may be: the bounds that stop a bomb before it fills the disk.

See docs/images.md, "Limits".
"""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one layer; sizes in bytes."""

    unpacked: int = 32 * GIB  # of the tar stream after decompression
    entries: int = 500_000
    # A tar of zeros compresses by 1000. More than this, once `ratio_after` bytes came out, is refused.
    ratio: int = 200
    ratio_after: int = 256 * MIB
    directories: int = 96 * MIB  # of memory for what directories get at the end, their names and attributes
    window: int = 64 * MIB  # of zstd: how far back it refers, which is memory that reading it takes
    header: int = 1 * MIB  # of one PAX header or long name
    file: int = 16 * GIB  # of one file, holes included
