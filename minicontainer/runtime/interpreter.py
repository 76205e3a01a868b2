"""The interpreter that enters a container is never a file that the container could write to.

A program in the container can open /proc/PID/exe of whoever enters, and later write through it: for runc that
was runc (CVE-2019-5736), for us it would be the host's Python. So the runtime runs from a read-only overlay
of the interpreter's directory, mounted once per boot, where the same attack gets EROFS; where no overlay can
be mounted, from a sealed copy in memory, where it gets EPERM.

See overlayfs(5), memfd_create(2) "File sealing"; docs/decisions/0002.
"""

from __future__ import annotations

import fcntl
import posix
import sys

from minicontainer.errors import Error, KernelError
from minicontainer.linux import mounts as m
from minicontainer.linux.process import execve
from minicontainer.trace.events import step

STATE = "/run/minicontainer-runtime"
PLACE = STATE + "/interpreter"
ST_RDONLY = 1
F_ADD_SEALS, F_GET_SEALS, ALL_SEALS = 1033, 1034, 0xF
ATTRIBUTES = m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV


def is_protected() -> bool:
    """Tell whether this process runs from a file that nobody can write to, and that is not out of date."""
    running = posix.readlink("/proc/self/exe")
    if running.startswith(PLACE + "/"):
        read_only = posix.statvfs("/proc/self/exe").f_flag & ST_RDONLY
        return bool(read_only) and is_same_file("/proc/self/exe", running.removeprefix(PLACE))
    if running.startswith("/memfd:"):
        fd = posix.open("/proc/self/exe", posix.O_RDONLY | posix.O_CLOEXEC)
        seals = fcntl.fcntl(fd, F_GET_SEALS)
        posix.close(fd)
        return seals & ALL_SEALS == ALL_SEALS
    return False


def is_same_file(seen: str, real: str) -> bool:
    """Tell whether an overlay still shows what is on the host: an upgrade replaces the file below it."""
    shown, wanted = posix.stat(seen), posix.stat(real)
    return (shown.st_size, shown.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)


def protect_interpreter() -> None:
    """Start this command again from a protected interpreter, unless it runs from one."""
    if is_protected():
        return
    interpreter = posix.readlink("/proc/self/exe").removeprefix(PLACE)
    try:
        program = mounted_interpreter(interpreter)
    except OSError:
        program = sealed_interpreter(interpreter)
    variables = {key.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape")
                 for key, value in posix.environ.items()}  # fmt: skip
    execve(program, [sys.executable or interpreter, *sys.orig_argv[1:]], variables)


@step
def mounted_interpreter(interpreter: str) -> str:
    """Show the interpreter through a read-only overlay, so that no container can ever write to it.

    overlayfs(5), CVE-2019-5736
    """
    from minicontainer.runtime.container import make_private_directories

    prefix = sys.base_prefix.removeprefix(PLACE)
    if not interpreter.startswith(prefix + "/"):
        raise OSError(2, "the interpreter does not lie in its own prefix")
    place = PLACE + prefix
    empty = STATE + "/.empty"
    make_private_directories(empty)
    make_private_directories(place)
    guard = posix.open(PLACE, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not shows(place, interpreter[len(prefix) :], interpreter):
            mount_overlay(prefix, empty, place)
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


def mount_overlay(prefix: str, empty: str, place: str) -> None:
    """Mount an overlay that has no upper directory: there is nowhere that a write could go."""
    context = m.fsopen("overlay", m.FSOPEN_CLOEXEC)
    try:
        m.fsconfig(context, m.FSCONFIG_SET_STRING, "source", "minicontainer-interpreter", 0)
        m.fsconfig(context, m.FSCONFIG_SET_STRING, "lowerdir", f"{prefix}:{empty}", 0)
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
        places = [line.split()[4].decode("utf-8", "surrogateescape") for line in file]
    for place in reversed(places):
        if place.startswith(PLACE + "/"):
            try:
                m.umount2(place, m.MNT_DETACH)
            except KernelError as problem:
                raise Error(f"{place} cannot be unmounted", "run this as root") from problem
            removed.append(place)
    return removed
