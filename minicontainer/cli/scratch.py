"""The writable layer of a container that leaves nothing behind.

    scratch/                 a tmpfs, seen only in this command's own mount namespace
      upper/  work/          what the container changes
      merged/                overlay: upper over the image's layers, which stay as they are

All of it hangs on the namespace and not on the host's mount table: when the last process in it is gone, even
by SIGKILL, the kernel takes everything away. The price: what the container writes lies in memory.

See mount_namespaces(7), tmpfs(5), <Documentation/filesystems/overlayfs.rst>.
"""

from __future__ import annotations

import posix

from minicontainer.image.overlay import mount_overlay, prepare_upper
from minicontainer.linux.mounts import MS_NODEV, MS_NOSUID, MS_REC, MS_SLAVE, mount
from minicontainer.linux.namespaces import CLONE_NEWNS, unshare
from minicontainer.linux.paths import mkdirat
from minicontainer.trace.events import step

O_PATH_DIRECTORY = 0o10200000 | posix.O_CLOEXEC


@step
def take_own_mount_table() -> None:
    """Give this command a mount table of its own, so that nothing it mounts shows up on the host.

    mount_namespaces(7), unshare(2)
    """
    unshare(CLONE_NEWNS)
    # Slave, not private: what the host unmounts later must not be kept busy by us.
    mount(None, "/", None, MS_REC | MS_SLAVE, None)


@step
def lay_writable_layer(layers: list[str], scratch: str) -> str:
    """Lay an empty writable layer over the image's, which are never changed: an overlay, kept in memory.

    overlayfs.rst "Upper and Lower", "Multiple lower layers", tmpfs(5)
    """
    mount("minicontainer", scratch, "tmpfs", MS_NOSUID | MS_NODEV, "mode=700")
    inside = posix.open(scratch, O_PATH_DIRECTORY)
    for name in ("upper", "work", "merged"):
        mkdirat(inside, name, 0o755)
    posix.close(inside)
    prepare_upper(f"{scratch}/upper", layers[0])
    merged = f"{scratch}/merged"
    mount_overlay(merged, layers, f"{scratch}/upper", f"{scratch}/work")
    return merged
