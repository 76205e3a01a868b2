"""Fixtures of the corpus: `guard` runs the product within bounds; `victim` is what nothing may touch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.image.corpus.attack import VICTIM
from tests.image.corpus.guarded import Guarded, guarded


@pytest.fixture(scope="module")
def guard() -> Iterator[Guarded]:
    with guarded() as guard:
        yield guard


@pytest.fixture(scope="module")
def victim() -> Iterator[None]:
    """Make the directory of the host that the attacks are about."""
    VICTIM.mkdir()
    (VICTIM / "hello").write_text("hello\n")
    (VICTIM / "hello").chmod(0o600)
    yield
    shutil.rmtree(VICTIM)
