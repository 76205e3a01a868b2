"""Giving birth to the container's first process.

Usually one clone3 does it all: new namespaces, the right cgroup, a pidfd. Where namespaces must be joined
before others are made, or clocks be set before anybody enters, a stage stands in between: stage.py.

See clone3(2), user_namespaces(7).
"""

from __future__ import annotations

import posix

from minicontainer.errors import SpecError
from minicontainer.linux.credentials import setresgid, setresuid
from minicontainer.linux.descriptors import keep_only
from minicontainer.linux.process import SIGCHLD, clone3
from minicontainer.runtime.channel import GO, Channel, channel_pair, failure_report
from minicontainer.runtime.entering import close_to_others, drop_groups, expect_go
from minicontainer.runtime.first_process import FirstProcess
from minicontainer.runtime.init import become_container
from minicontainer.runtime.limits import set_process_limits
from minicontainer.trace.events import step, witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.handover import Handover


@step
def spawn(handover: Handover, cgroup: int) -> FirstProcess:
    """Start the container's first process, in new namespaces and in its cgroup, with one call.

    clone3(2), "CLONE_INTO_CGROUP"; namespaces(7)
    """
    namespaces = handover.plan.namespaces
    handover.joined = [(kind, open_namespace(kind, path)) for kind, path in namespaces.joined]
    runtime_end, init_end = channel_pair()
    if namespaces.staged:
        from minicontainer.runtime.stage import spawn_through_stage

        return spawn_through_stage(handover, cgroup, runtime_end, init_end)
    pid, pidfd = clone3(namespaces.at_clone, SIGCHLD, cgroup)
    if pid == 0:
        be_first_process(handover, init_end)
    init_end.close()
    first = FirstProcess(pid, pidfd, runtime_end)
    if namespaces.makes("user"):
        help_with_user_namespace(first, handover)
    return first


def help_with_user_namespace(first: FirstProcess, handover: Handover) -> None:
    """Set, while it waits, what a process in a new user namespace has no right to set itself."""
    from minicontainer.runtime.idmap import map_ids

    try:
        map_ids(first.pid, handover.plan.namespaces.uid_mappings, handover.plan.namespaces.gid_mappings)
        set_process_limits(first.pid, handover.plan.process)
    except BaseException:
        first.kill()
        raise
    first.channel.say(GO)


def be_first_process(handover: Handover, init_end: Channel) -> None:
    """Run the first process, after waiting for its ids where it has a new user namespace. Does not return."""
    leave_parent(handover, init_end)
    for witness in witnesses:
        witness.role = "init"
    wait_for_cgroup(handover, init_end)
    try:
        if handover.plan.namespaces.makes("user"):
            become_namespace_root(init_end)
        else:
            set_process_limits(0, handover.plan.process)
        close_to_others()
    except BaseException as problem:
        init_end.say(failure_report(problem))
        posix._exit(1)
    become_container(handover, init_end)


def wait_for_cgroup(handover: Handover, channel: Channel) -> None:
    """Wait until systemd has moved this process: a cgroup namespace has its root where the process is."""
    if handover.plan.systemd_cgroup:
        expect_go(channel)


def leave_parent(handover: Handover, init_end: Channel) -> None:
    """Close what only the runtime may hold: its pipes, its lock on the container, what its caller leaked."""
    keep_only(handover.plan.preserve_fds, [init_end.reading, init_end.writing, *handover.descriptors()])


def become_namespace_root(channel: Channel) -> None:
    """Wait until the ids are mapped, then become root inside the user namespace."""
    expect_go(channel)
    setresgid(0, 0, 0)
    setresuid(0, 0, 0)
    drop_groups()


def open_namespace(kind: str, path: str) -> int:
    """Open a namespace that is to be joined. Raises SpecError when there is none of this kind."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as problem:
        what = posix.strerror(problem.errno or 0).lower()
        raise SpecError(
            "linux.namespaces", f'the {kind} namespace at "{path}" cannot be opened: {what}'
        ) from None
    if kind == "mount":
        refuse_hosts_mounts(fd, path)
    return fd


def refuse_hosts_mounts(fd: int, path: str) -> None:
    """Refuse our own mount namespace, and process 1's: their root would be swapped (R32)."""
    theirs = posix.fstat(fd)
    for pid in ("self", "1"):
        try:
            hosts = posix.stat(f"/proc/{pid}/ns/mnt")
        except OSError:
            continue  # an ordinary user may not look at process 1, nor join its namespaces
        if (hosts.st_dev, hosts.st_ino) == (theirs.st_dev, theirs.st_ino):
            raise SpecError(
                "linux.namespaces", f'the mount namespace at "{path}" is the host\'s: so would the mounts be'
            )
