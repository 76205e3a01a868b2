"""What a pull, a push or an unpacking tells while it works: the status of each layer, bytes done of all.

See `minicontainer.cli.progress` for how it looks.
"""

from __future__ import annotations

from typing import Literal, Protocol

Status = Literal["waiting", "downloading", "extracting", "exists", "done", "pushing", "mounted"]


class Observer(Protocol):
    """Someone who is told."""

    def layer(self, digest: str, status: Status, done: int = 0, total: int = 0) -> None:
        """Note how far a layer has come; `done` and `total` are bytes of its blob."""

    def line(self, text: str) -> None:
        """Note what is not about one layer."""


class Nobody:
    """Listens to nothing."""

    def layer(self, digest: str, status: Status, done: int = 0, total: int = 0) -> None:
        """Ignore it."""

    def line(self, text: str) -> None:
        """Ignore it."""
