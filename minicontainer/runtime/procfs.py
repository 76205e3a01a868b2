"""A procfs of our own, for what the runtime itself writes there after the container's files are in reach.

The container's /proc may be faked by its image or by a volume (CVE-2019-16884, CVE-2025-52881). This one is
mounted nowhere: only a descriptor leads to it, and its magic number and that of every file in it are
verified.

See fsopen(2), proc(5).
"""

from __future__ import annotations

import posix

from minicontainer.errors import Refused
from minicontainer.linux import mounts as m
from minicontainer.linux.kernel import kernel_call
from minicontainer.linux.paths import PROC_SUPER_MAGIC, RESOLVE_BENEATH, filesystem_magic, openat2
from minicontainer.runtime.mounting import new_filesystem

ATTRIBUTES = m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC


def own_procfs() -> int:
    """Mount a procfs for the caller's PID namespace, attached nowhere; returns its root directory."""
    return new_filesystem("proc", "proc", [], ATTRIBUTES)


@kernel_call
def write_procfs(proc: int, path: str, value: str) -> None:
    """Write one value to a file of our own procfs, in one write(2)."""
    fd = openat2(proc, path, posix.O_WRONLY, 0, RESOLVE_BENEATH)
    try:
        if filesystem_magic(fd) != PROC_SUPER_MAGIC:
            raise Refused(f"/proc/{path} is not a file of the kernel")
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)
