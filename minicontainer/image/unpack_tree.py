"""Unpacking a whole image into one directory: each layer onto the ones below, deletions carried out.

    minicontainer image unpack busybox bundle/rootfs    a root file system for any runtime

Containers do without it: they get the layers' own directories, stacked by overlayfs.

See image-spec layer.md, "Applying Changesets"; umoci-unpack(1).
"""

from __future__ import annotations

import os
from pathlib import Path

from minicontainer.errors import Conflict, Error
from minicontainer.image.layer.extract import Extractor
from minicontainer.image.layer.limits import Limits
from minicontainer.image.progress import Nobody
from minicontainer.image.store.images import Image
from minicontainer.image.store.removal import remove_tree
from minicontainer.image.store.store import Store
from minicontainer.image.unpack import Layer, check_tar, read_blob, tar_of
from minicontainer.linux.namespaces import in_user_namespace
from minicontainer.oci.digest import hasher


def unpack_tree(store: Store, image: Image, place: Path, limits: Limits) -> None:
    """Unpack all layers into a directory that is not there yet. Raises Conflict, LayerError, Error."""
    try:
        place.mkdir(mode=0o755)
    except FileExistsError:
        raise Conflict(f"{place} is there already", hint="name a directory that is to be made") from None
    except OSError as problem:
        raise Error(f"cannot make {place}: {problem.strerror}") from problem
    try:
        root = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for blob, diff_id in zip(image.manifest.layers, image.diff_ids, strict=True):
                _apply(root, store, Layer(blob, diff_id), limits)
        finally:
            os.close(root)
    except BaseException as problem:
        remove_tree(place)
        if isinstance(problem, OSError):
            raise Error(f"cannot unpack into {place}: {problem.strerror}") from problem
        raise


def _apply(root: int, store: Store, layer: Layer, limits: Limits) -> None:
    computed, confined = hasher(layer.diff_id), in_user_namespace()
    with Extractor(root, layer.blob.digest, limits=limits, userxattr=confined, overlay=False) as extractor:
        for piece in tar_of(layer, read_blob(store, layer.blob, Nobody()), limits):
            computed.update(piece)
            extractor.feed(piece)
        extractor.finish()
    check_tar(layer, computed.hexdigest())
