"""What is wrong with a layer, in one line that names the layer and the entry.

Names in a layer are bytes of a stranger: they are shown with everything escaped that a terminal could obey.
See docs/images.md, "Layers".
"""

from __future__ import annotations

import os

from minicontainer.errors import Error

LONGEST = 200  # characters of a name that are shown


class LayerError(Error):
    """A layer that is not unpacked: damaged, beyond a limit, or asking for what is not safe."""


def shown(name: bytes) -> str:
    """Write a name of any bytes so that it can be read, and does nothing else."""
    text = name.decode("utf-8", "backslashreplace")
    safe = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[:LONGEST])
    return f'"{safe}..."' if len(text) > LONGEST else f'"{safe}"'


def reason(problem: Exception) -> str:
    """Say why in the fewest words: of a refused system call only the kernel's answer."""
    if isinstance(problem, OSError) and problem.errno:
        return os.strerror(problem.errno)
    return str(problem)
