"""What a container's files come from: an image of the store, or a directory.

    name -> manifest, configuration, layers lowest first -> the layers' directories, the topmost first
            not in the store: made from its recipe, or pulled         not unpacked: unpacked

See docs/images.md; docker-run(1), "--pull".
"""

from __future__ import annotations

from minicontainer.errors import NotFound
from minicontainer.image.chain import directories
from minicontainer.image.store.leases import lease
from minicontainer.image.store.lookup import resolve
from minicontainer.image.store.place import default_root, layer_path
from minicontainer.linux.paths import exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.image.store.leases import Lease


class Source:
    """A root file system to be: either one directory, or the layers of an image with its configuration."""

    __slots__ = ("config", "diff_ids", "directory", "layers", "manifest")

    def __init__(self, directory: str = "") -> None:
        self.directory = directory
        self.manifest = ""
        self.diff_ids: list[str] = []
        self.layers: list[str] = []  # directories, the topmost first
        self.config: dict[str, Any] = {}

    def lease(self, container_id: str) -> Lease | None:
        """Keep the layers from being collected while the container lives."""
        if not self.layers:
            return None
        return lease(default_root(), container_id, self.manifest, self.diff_ids)


def find_image(name: str) -> Source:
    """Find an image, made or pulled if it is not here, with all its layers unpacked. Raises Error."""
    root = default_root()
    found = resolve(root, name)
    if found is None or not all([exists(layer_path(root, layer)) for layer in found[1]]):
        from minicontainer.launch import reach_libraries

        reach_libraries()
        from minicontainer.cli.obtain import obtain

        found = obtain(root, name)
    source = Source()
    source.manifest, source.diff_ids, config = found
    if not source.diff_ids:
        raise NotFound(f"{name}: the image has no layers, and so no program that could run")
    source.layers = directories(root, source.diff_ids)
    source.config = config.get("config") or {}
    return source
