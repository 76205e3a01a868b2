"""Sysctls: the kernel's settings that belong to the container's own namespaces.

Which names those are is judged before the container exists (`oci.sysctls`); here they are written.

Implements runtime-spec, config-linux.md "Sysctl"; see sysctl(8), proc(5).
"""

from __future__ import annotations

import posix

from minicontainer.oci.sysctls import sysctl_path
from minicontainer.runtime.procfs import own_procfs, write_procfs
from minicontainer.trace.events import step


@step
def write_sysctls(settings: dict[str, str]) -> None:
    """Set the kernel's switches that belong to this container's namespaces.

    runtime-spec, config-linux.md "Sysctl"
    """
    proc = own_procfs()
    for name, value in settings.items():
        write_procfs(proc, "sys/" + sysctl_path(name), value)
    posix.close(proc)
