"""Making the interpreter's protected form: a read-only overlay of its prefix, or a sealed copy in memory.

The overlay has no upper directory, so there is nowhere that a write could go. It is mounted once per boot,
and anew when an upgrade has replaced the interpreter below it.

See overlayfs(5), memfd_create(2) "File sealing"; docs/decisions/0002.
"""

from __future__ import annotations

import errno
import fcntl
import posix

from minicontainer.errors import Error, KernelError
from minicontainer.linux import mounts as m
from minicontainer.linux.cgroups import unescape
from minicontainer.runtime.container import make_private_directories
from minicontainer.runtime.interpreter import ALL_SEALS, PLACE, is_same_file
from minicontainer.trace.events import step

EMPTY = "/run/minicontainer-runtime/.empty"
F_ADD_SEALS = 1033
ATTRIBUTES = m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV


@step
def mounted_interpreter(interpreter: str) -> str:
    """Show the interpreter through a read-only overlay, so that no container can ever write to it.

    overlayfs(5), CVE-2019-5736
    """
    prefix = interpreter.rpartition("/bin/")[0]  # Python finds its library beside its own `bin`
    if not prefix:
        raise OSError(errno.ENOENT, "the interpreter does not lie in a prefix of its own")
    place = PLACE + prefix
    make_private_directories(EMPTY)
    make_private_directories(place)
    guard = posix.open(PLACE, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not shows(place, interpreter[len(prefix) :], interpreter):
            mount_overlay(prefix, place)
    finally:
        posix.close(guard)
    return PLACE + interpreter


def shows(place: str, below: str, interpreter: str) -> bool:
    """Tell whether the overlay is there and shows the interpreter as it is now; a stale one is taken away."""
    try:
        if is_same_file(place + below, interpreter):
            return True
    except OSError:
        return False
    m.umount2(place, m.MNT_DETACH)
    return False


def mount_overlay(prefix: str, place: str) -> None:
    """Mount an overlay that has no upper directory: there is nowhere that a write could go."""
    lower = prefix.replace("\\", "\\\\").replace(":", "\\:")
    context = m.fsopen("overlay", m.FSOPEN_CLOEXEC)
    try:
        m.fsconfig(context, m.FSCONFIG_SET_STRING, "source", "minicontainer-interpreter", 0)
        m.fsconfig(context, m.FSCONFIG_SET_STRING, "lowerdir", f"{lower}:{EMPTY}", 0)
        m.fsconfig(context, m.FSCONFIG_CMD_CREATE, None, None, 0)
        mount = m.fsmount(context, m.FSMOUNT_CLOEXEC, ATTRIBUTES)
        m.move_mount(mount, "", m.AT_FDCWD, place, m.MOVE_MOUNT_F_EMPTY_PATH)
        posix.close(mount)
    finally:
        posix.close(context)


def sealed_interpreter(interpreter: str) -> str:
    """Copy the interpreter into memory and seal the copy; returns a path that leads to it."""
    source = posix.open(interpreter, posix.O_RDONLY | posix.O_CLOEXEC)
    copy = posix.memfd_create("minicontainer-interpreter", posix.MFD_CLOEXEC | posix.MFD_ALLOW_SEALING)
    while posix.sendfile(copy, source, None, 1 << 24):
        pass
    posix.close(source)
    fcntl.fcntl(copy, F_ADD_SEALS, ALL_SEALS)
    return f"/proc/self/fd/{copy}"


def remove_overlays() -> list[str]:
    """Take away the overlays that `mounted_interpreter` made; returns where they were. For `system reset`."""
    removed = []
    with open("/proc/self/mountinfo", "rb") as file:
        places = [unescape(line.split()[4].decode("utf-8", "surrogateescape")) for line in file]
    for place in reversed(places):
        if place.startswith(PLACE + "/"):
            try:
                m.umount2(place, m.MNT_DETACH)
            except KernelError as problem:
                raise Error(f"{place} cannot be unmounted", "run this as root") from problem
            removed.append(place)
    return removed
