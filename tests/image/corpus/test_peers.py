"""What podman and umoci do with the hostile images that we refuse: at least one refuses them, too.

Or it is a recorded deviation, and then it is shown on one image that they take it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.corpus import bombs, breakouts, documents, entries
from tests.image.corpus.attack import Attack
from tests.image.unpackers import podman_takes, umoci_takes
from tests.runtime.runtimes import recorded_deviations

pytestmark = [
    pytest.mark.requires("root", "peer:umoci", "peer:podman"),
    pytest.mark.usefixtures("victim"),
]

TAKES = {"podman": podman_takes, "umoci": umoci_takes}
ATTACKS = {
    attack.name: attack
    for attack in (*breakouts.ATTACKS, *entries.ATTACKS, *documents.ATTACKS, *bombs.ENDS, bombs.TRUE_BOMB)
    if attack.refused
}
# The images in which each deviation shows; the first one is asked of the peers.
DEVIATIONS = {
    "image-dotdot": (
        *("filename-dotdot", "filename-slash-dotdot", "symlink-parent-relative", "whiteout-relative-path"),
        *("store-neighbour-name", "dotdot-in-the-middle", "dotdot-directory", "pax-path-escape"),
        *("gnu-long-name-escape", "prefix-escape", "error-control-characters"),
    ),
    "image-owner": ("owner-minus-one", "owner-33-bits", "owner-negative"),
    "image-device-0-0": ("device-0-0",),
    "image-device-number": ("device-too-large",),
    "image-documents": (
        *("manifest-keys-twice", "schema-version-3", "schema-version-null", "top-schema-version"),
        *("diff-ids-too-many", "manifest-5-mb", "config-nul"),
    ),
    "image-cut": ("cut-in-padding", "cut-after-long-name"),
    "image-descriptor-size": ("layer-size-one-less",),
    "image-many": ("index-5000",),
    "image-bomb": ("bomb-true",),
}
STRICTER = {name for names in DEVIATIONS.values() for name in names}


def those_who_take(attack: Attack, folder: Path) -> set[str]:
    """Say which peers unpack an image."""
    layout = attack.make().write(folder / "layout")
    return {name for name, takes in TAKES.items() if takes(layout, "sample:latest", folder / name)}


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_the_peers_take_what_only_we_refuse(deviation: str, tmp_path: Path) -> None:
    attack = ATTACKS[DEVIATIONS[deviation][0]]
    assert those_who_take(attack, tmp_path) == set(recorded_deviations()[deviation]["peer"])


def test_what_we_refuse_a_peer_refuses_too(tmp_path: Path, rounds: Callable[[int, int], int]) -> None:
    names = sorted(ATTACKS.keys() - STRICTER)
    chosen = names[:: max(1, len(names) // rounds(15, len(names)))]
    taken = {name: those_who_take(ATTACKS[name], tmp_path / name) for name in chosen}
    assert [name for name, takers in taken.items() if takers == TAKES.keys()] == []


def test_the_table_names_attacks() -> None:
    assert ATTACKS.keys() >= STRICTER
