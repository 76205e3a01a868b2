"""Digests: the names of content, `sha256:` and 64 hexadecimal digits, made from the content itself.

Implements image-spec descriptor.md, "Digests". Of its algorithms we know the two that are registered.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from minicontainer.errors import SpecError

if TYPE_CHECKING:
    from hashlib import _Hash

ALGORITHMS = ("sha256", "sha512")
# \Z and not $: a digest becomes the name of a file, and $ would let a newline through.
DIGEST = re.compile(r"(sha256):([0-9a-f]{64})\Z|(sha512):([0-9a-f]{128})\Z")


def split_digest(digest: str) -> tuple[str, str]:
    """Take a digest apart into algorithm and hexadecimal digits. Raises SpecError."""
    found = DIGEST.match(digest)
    if found is None:
        raise SpecError("", f"{digest[:200]!r} is not a digest, as sha256:<64 digits of 0-9a-f>")
    return (found[1], found[2]) if found[1] else (found[3], found[4])


def is_digest(text: str) -> bool:
    """Tell whether a text is a digest that we know how to check."""
    return DIGEST.match(text) is not None


def digest_of(data: bytes) -> str:
    """Name content by its SHA-256."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hasher(digest: str) -> _Hash:
    """Begin to compute what `digest` should be equal to. Raises SpecError."""
    return hashlib.new(split_digest(digest)[0])
