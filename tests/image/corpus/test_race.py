"""Somebody changes the tree while it is unpacked: nothing is made outside all the same (CVE-2025-47290).

The attacker may write where layers are unpacked, and swaps a directory for a link to the victim without end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minicontainer.image.layer.extract import Extractor, LayerError
from minicontainer.image.layer.limits import Limits
from tests.image.layouts import directory, file, tar, whiteout
from tests.image.trees import read_tree

pytestmark = pytest.mark.requires("root")

SWAP = """
import os, sys
os.chdir(sys.argv[1])
os.symlink(sys.argv[2], "link")
print("ready", flush=True)
while True:
    try:
        os.rename("d", "kept")
        os.rename("link", "d")
        os.rename("d", "link")
        os.rename("kept", "d")
    except OSError:
        pass
"""
LAYER = tar(
    [
        *(
            entry
            for number in range(100)
            for entry in (directory("d"), file(f"d/{number}", b"x", mode=0o4777))
        ),
        *(whiteout(f"d/gone{number}") for number in range(20)),
        directory("d", 0o777, uid=1234),
    ]
)


@contextmanager
def attacker(root: Path, victim: Path) -> Iterator[None]:
    """Swap as long as the block lasts."""
    with subprocess.Popen([sys.executable, "-c", SWAP, root, victim], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere(
    tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    victim, root = tmp_path / "victim", tmp_path / "root"
    victim.mkdir()
    (victim / "hello").write_text("hello")
    before = read_tree(victim)
    root.mkdir()
    outcomes = set()
    with attacker(root, victim):
        for _ in range(rounds(30, 500)):
            outcomes.add(extract(root))
    assert read_tree(victim) == before
    assert True in outcomes, "the attacker never let us pass: it was no race"


def extract(root: Path) -> bool:
    """Unpack the layer, over what is there; says whether that went well."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with Extractor(descriptor, "sha256:...", limits=Limits()) as extractor:
            extractor.feed(LAYER)
            extractor.finish()
    except LayerError:
        return False
    finally:
        os.close(descriptor)
    return True
