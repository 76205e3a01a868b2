"""From the runtime's own powers to the user's program's: the last steps before execve, in `run` and `exec`.

    scheduling -> no_new_privs -> [seccomp] -> bounding set -> ids -> capabilities -> chdir -> [seccomp]

Each line needs what the next one takes away: a filter needs CAP_SYS_ADMIN unless no_new_privs is set,
dropping from the bounding set needs CAP_SETPCAP, changing ids needs CAP_SETUID; ambient capabilities come
last, because they must be permitted and inheritable first.

Implements runtime-spec, config.md "Process"; see capabilities(7), credentials(7).
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import Error, KernelError, Refused
from minicontainer.linux import keyrings
from minicontainer.linux.capabilities import capset
from minicontainer.linux.credentials import setgroups, setresgid, setresuid, umask
from minicontainer.linux.paths import NULL_DEVICE, O_DIRECTORY, O_PATH, S_IFMT, S_IFSOCK, fchown, openat2
from minicontainer.linux.prctl import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_SET_KEEPCAPS,
    PR_SET_NO_NEW_PRIVS,
    prctl,
)
from minicontainer.linux.seccomp import SECCOMP_SET_MODE_FILTER, seccomp
from minicontainer.runtime.program import open_root
from minicontainer.trace.events import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.runtime.process_plan import ProcessPlan

DEFAULT_UMASK = 0o022
STANDARD_STREAMS = (0, 1, 2)


@step
def join_new_keyring(container_id: str) -> None:
    """Take a keyring of its own, so that the container cannot read the keys of whoever started it.

    session-keyring(7), keyctl(2)
    """
    try:
        keyrings.join_session_keyring("_ses." + container_id)
    except KernelError as problem:
        if problem.errno != errno.ENOSYS:
            raise


@step
def set_scheduling(process: ProcessPlan) -> None:
    """Set how the scheduler treats the program: CPU policy and I/O priority.

    sched_setattr(2), ioprio_set(2)
    """
    from minicontainer.linux import scheduling

    if process.scheduler:
        scheduling.sched_setattr(0, process.scheduler)
    if process.ioprio:
        scheduling.set_io_priority(*process.ioprio)


@step
def forbid_new_privileges() -> None:
    """Promise the kernel that no execve will ever gain privileges.

    prctl(2), PR_SET_NO_NEW_PRIVS
    """
    prctl(PR_SET_NO_NEW_PRIVS, 1)


@step
def load_seccomp_filter(program: bytes, flags: int) -> int:
    """Let a filter judge every system call from here on; it cannot be taken off again.

    seccomp(2)
    """
    return seccomp(SECCOMP_SET_MODE_FILTER, flags, program)


@step
def limit_capabilities(bounding: int, last: int) -> None:
    """Drop from the bounding set what no program in here may ever gain.

    capabilities(7), "Capability bounding set"
    """
    for number in range(last + 1):
        if not bounding >> number & 1:
            prctl(PR_CAPBSET_DROP, number)


@step
def become_user(uid: int, gid: int, groups: list[int] | None) -> None:
    """Become the user and the groups that the program runs as.

    setgroups(2), setresgid(2), setresuid(2)
    """
    # Without KEEPCAPS a change from root to another user empties the permitted set at once.
    prctl(PR_SET_KEEPCAPS, 1)
    try:
        if groups is not None:
            setgroups(groups)
    except KernelError as problem:
        # A user namespace made without privileges has setgroups denied; nothing was asked for, nothing is
        # lost.
        if groups or problem.errno != errno.EPERM:
            raise
    setresgid(gid, gid, gid)
    setresuid(uid, uid, uid)


@step
def keep_capabilities(sets: dict[str, int]) -> None:
    """Keep exactly the capabilities that were granted, in all five sets.

    capset(2), capabilities(7)
    """
    prctl(PR_SET_KEEPCAPS, 0)
    capset(sets["effective"], sets["permitted"], sets["inheritable"])
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    # The kernel has no other in this set, and buildah asks for some; runc leaves these out as well.
    ambient = sets["ambient"] & sets["permitted"] & sets["inheritable"]
    for number in range(ambient.bit_length()):
        if ambient >> number & 1:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


def change_directory(path: str) -> None:
    """Go to the working directory, and prove that it lies inside the container's root (CVE-2024-21626).

    No magic link of /proc is followed: such a link leads to any descriptor that somebody left open.
    """
    root = open_root()
    try:
        folder = openat2(root, path, O_PATH | O_DIRECTORY)
        posix.fchdir(folder)
        posix.close(folder)
    except KernelError as problem:
        if problem.errno == errno.ELOOP:
            raise Refused(f'cwd "{path}" leads out of the container') from None
        raise Error(f'chdir to cwd ("{path}") set in config.json failed: {reason(problem)}') from None
    except OSError as problem:
        raise KernelError(problem.errno or 0, "fchdir", (path,)) from None
    finally:
        posix.close(root)
    if posix.getcwd()[:1] != "/":
        raise Refused(f'cwd "{path}" is outside of the container')


def reason(problem: OSError) -> str:
    """Say what an errno means, in the lower case that callers match."""
    return posix.strerror(problem.errno or 0).lower()


def give_standard_streams(uid: int) -> None:
    """Let the program own its standard streams, as it would its terminal; leave what cannot change owner."""
    for fd in STANDARD_STREAMS:
        try:
            status = posix.fstat(fd)
            if status.st_uid != uid and status.st_rdev != NULL_DEVICE and not is_socket(status):
                fchown(fd, uid, -1)
        except OSError as problem:
            if problem.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS, errno.EBADF):
                raise


def is_socket(status: posix.stat_result) -> bool:
    """Tell whether a file is a socket."""
    return status.st_mode & S_IFMT == S_IFSOCK


def assume_identity(process: ProcessPlan, last: int, early_seccomp: Any) -> None:
    """Become who the program runs as. `early_seccomp` loads the filter where that must happen before."""
    umask(DEFAULT_UMASK if process.umask is None else process.umask & 0o777)
    if process.ioprio or process.scheduler:
        set_scheduling(process)
    if process.no_new_privileges:
        forbid_new_privileges()
    early_seccomp()
    limit_capabilities(process.capabilities["bounding"], last)
    give_standard_streams(process.uid)
    delayed = not enter_directory(process.cwd)
    become_user(process.uid, process.gid, None if process.keep_groups else groups_of(process))
    keep_capabilities(process.capabilities)
    if delayed:
        change_directory(process.cwd)


def enter_directory(path: str) -> bool:
    """Try the working directory as root; where root may not enter (NFS, FUSE) the user tries again later."""
    try:
        change_directory(path)
    except Refused:
        raise
    except (Error, OSError):
        return False
    return True


def groups_of(process: ProcessPlan) -> list[int]:
    """List the supplementary groups, each once."""
    groups: list[int] = []
    for group in process.groups:
        if group not in groups:
            groups.append(group)
    return groups
