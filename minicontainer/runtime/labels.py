"""Labels of the Linux security modules: which AppArmor profile or SELinux context the program gets at execve.

They are written through a procfs that we mounted ourselves, so nothing in the container can fake the file.

Implements runtime-spec, config.md "apparmorProfile", "selinuxLabel"; see apparmor(7),
<Documentation/admin-guide/LSM>.
"""

from __future__ import annotations

import posix

from minicontainer.errors import Unsupported
from minicontainer.linux.descriptors import read_beginning
from minicontainer.runtime.procfs import own_procfs, write_procfs


def set_exec_label(apparmor: str, selinux: str) -> None:
    """Ask for a profile (AppArmor) or a context (SELinux) from the next execve on."""
    if not apparmor and not selinux:
        return
    proc = own_procfs()
    if apparmor:
        write_procfs(proc, "self/attr/apparmor/exec", f"exec {apparmor}")
    if selinux:
        write_procfs(proc, "self/attr/exec", selinux)
    posix.close(proc)


def check_labels(apparmor: str, selinux: str, mount_label: str) -> None:
    """Refuse labels that this kernel cannot honour; called before anything is made. Raises Unsupported."""
    if apparmor and apparmor != "unconfined" and not has_apparmor():
        raise Unsupported(
            f'process.apparmorProfile: "{apparmor}" was asked for, '
            "but AppArmor is not enabled on this machine"
        )
    if (selinux or mount_label) and not posix.access("/sys/fs/selinux/enforce", posix.F_OK):
        field = "process.selinuxLabel" if selinux else "linux.mountLabel"
        raise Unsupported(f"{field}: was given, but SELinux is not enabled on this machine")


def has_apparmor() -> bool:
    """Tell whether the running kernel has AppArmor switched on."""
    try:
        return read_beginning("/sys/module/apparmor/parameters/enabled", 1) == b"Y"
    except OSError:
        return False
