"""A store of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicontainer.image.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Make an empty store."""
    return Store(tmp_path / "root").create()
