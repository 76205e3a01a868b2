"""Wait for a condition, never for a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 30.0


def eventually(condition: Callable[[], object], complaint: str, deadline: float = DEADLINE) -> None:
    """Poll until the condition holds; fail with the complaint after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, complaint
        time.sleep(0.005)
