"""What all tests of images have: folders that are cleared although the trees in them are hostile.

Layers may be a thousand directories deep. pytest clears a test's folder some sessions later, cannot go so
deep, and ends with an error that names no test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainer.image.store.removal import remove_tree


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Give pytest's folder, and remove what the test has left in it."""
    yield tmp_path
    for left in tmp_path.iterdir():
        if left.is_dir() and not left.is_symlink():
            remove_tree(left)
