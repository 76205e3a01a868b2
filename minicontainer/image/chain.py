"""The directories of which an overlay makes the tree of a chain of layers.

    layers/HEX/diff        one for each layer
    layers/chain-HEX       what is known of a whole chain: whether the layers alone give the right tree
    layers/chain-HEX/diff  directories, to be stacked on top, where they do not (implied.py says why)

This is on the hot lane. Implements image-spec config.md, "Layer ChainID".
"""

from __future__ import annotations

import posix

from minicontainer.image.store.place import layer_path
from minicontainer.linux.paths import exists
from minicontainer.oci.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OPAQUE = {"trusted.overlay.opaque", "user.overlay.opaque"}


def chain_id(diff_ids: Sequence[str]) -> str:
    """Name a chain of layers, lowest first, by the digits of its chain id."""
    first, *others = [diff_id.rpartition(":")[2] for diff_id in diff_ids]
    chain = first
    for diff_id in others:
        chain = sha256(f"sha256:{chain} sha256:{diff_id}".encode()).hexdigest()
    return chain


def chain_path(root: str, diff_ids: Sequence[str]) -> str:
    """Name the directory for what is known of a chain."""
    return f"{root}/layers/chain-{chain_id(diff_ids)}"


def directories(root: str, diff_ids: Sequence[str]) -> list[str]:
    """List what is to be stacked for a chain of unpacked layers, topmost first.

    `diff_ids` are the layers, lowest first: digests, or the digits of SHA-256 ones. Raises Error.
    """
    layers = seen([f"{layer_path(root, diff_id)}/diff" for diff_id in uppermost(diff_ids)])
    if len(layers) < 2:  # noqa: PLR2004 - nothing lies below
        return layers
    chain = chain_path(root, diff_ids)
    if not exists(chain):
        from minicontainer.image.implied import examine

        examine(chain, layers)
    return [f"{chain}/diff", *layers] if exists(f"{chain}/diff") else layers


def uppermost(diff_ids: Sequence[str]) -> Iterable[str]:
    """List the layers from the top; a layer that comes twice shows only where it comes last."""
    return dict.fromkeys(reversed(diff_ids))


def seen(layers: list[str]) -> list[str]:
    """Leave out what lies below a layer whose root is opaque: overlayfs looks only in other directories."""
    for number, layer in enumerate(layers[:-1]):
        if OPAQUE & {*posix.listxattr(layer)}:
            return layers[: number + 1]
    return layers
