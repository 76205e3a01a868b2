"""Giving birth to the container's first process, and talking with it until it waits to be started.

Usually one clone3 does it all: new namespaces, the right cgroup, a pidfd. A stage in between is needed where
namespaces must be joined before others are made, or clocks be set before anybody enters:

    runtime --clone3--> stage --setns, unshare, clone3(CLONE_PARENT)--> first process (a child of the runtime)

See clone3(2), user_namespaces(7), time_namespaces(7), setns(2).
"""

from __future__ import annotations

import posix

from minicontainer.errors import Error, KernelError, SpecError
from minicontainer.linux.credentials import setgroups, setresgid, setresuid
from minicontainer.linux.descriptors import keep_only
from minicontainer.linux.namespaces import (
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    KINDS,
    setns,
    unshare,
)
from minicontainer.linux.prctl import PR_SET_DUMPABLE, prctl
from minicontainer.linux.process import CLONE_PARENT, SIGCHLD, clone3, pidfd_open, pidfd_send_signal
from minicontainer.runtime.channel import (
    EXEC,
    FAILED,
    GO,
    HOOKS_ME,
    LISTEN,
    MAP_ME,
    PID,
    READY,
    Channel,
    channel_pair,
    failure_report,
    raise_reported,
    with_number,
)
from minicontainer.runtime.idmap import map_ids, set_time_offsets
from minicontainer.runtime.init import become_container, expect_go
from minicontainer.runtime.limits import set_process_limits
from minicontainer.trace.events import step, witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minicontainer.runtime.handover import Handover

SIGKILL = 9
TIME = b"t"


class FirstProcess:
    """The container's first process, as the runtime sees it."""

    __slots__ = ("channel", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, channel: Channel) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel

    def kill(self) -> None:
        """End it, whatever it is doing, and collect it."""
        try:
            pidfd_send_signal(self.pidfd, SIGKILL)
            posix.waitpid(self.pid, 0)
        except (OSError, KernelError):
            return  # it is gone already

    def reap(self) -> None:
        """Collect it after somebody else has ended it."""
        posix.waitpid(self.pid, 0)


@step
def spawn(handover: Handover, cgroup: int) -> FirstProcess:
    """Start the container's first process, in new namespaces and in its cgroup, with one call.

    clone3(2), "CLONE_INTO_CGROUP"; namespaces(7)
    """
    namespaces = handover.plan.namespaces
    handover.joined = [(kind, open_namespace(kind, path)) for kind, path in namespaces.joined]
    runtime_end, init_end = channel_pair()
    if namespaces.staged:
        return spawn_through_stage(handover, cgroup, runtime_end, init_end)
    home = enter_pid_namespace(handover)
    pid, pidfd = clone3(namespaces.at_clone, SIGCHLD, cgroup)
    if pid == 0:
        be_first_process(handover, runtime_end, init_end)
    if home >= 0:
        setns(home, CLONE_NEWPID)
        posix.close(home)
    init_end.close()
    first = FirstProcess(pid, pidfd, runtime_end)
    if namespaces.makes("user"):
        help_with_user_namespace(first, handover)
    return first


def help_with_user_namespace(first: FirstProcess, handover: Handover) -> None:
    """Set, while it waits, what a process in a new user namespace has no right to set itself."""
    try:
        map_ids(first.pid, handover.plan.namespaces.uid_mappings, handover.plan.namespaces.gid_mappings)
        set_process_limits(first.pid, handover.plan.process)
    except BaseException:
        first.kill()
        raise
    first.channel.say(GO)


def be_first_process(handover: Handover, runtime_end: Channel, init_end: Channel) -> None:
    """Run the first process, after waiting for its ids where it has a new user namespace. Does not return."""
    leave_parent(handover, runtime_end, init_end)
    for witness in witnesses:
        witness.role = "init"
    try:
        if handover.plan.namespaces.makes("user"):
            become_namespace_root(init_end)
        else:
            set_process_limits(0, handover.plan.process)
        prctl(PR_SET_DUMPABLE, 0)
    except BaseException as problem:
        init_end.say(failure_report(problem))
        posix._exit(1)
    become_container(handover, init_end)


def leave_parent(handover: Handover, runtime_end: Channel, init_end: Channel) -> None:
    """Close what only the runtime may hold: its pipes, its lock on the container, whatever its caller has leaked."""
    runtime_end.close()
    for fd in handover.parents_fds:
        posix.close(fd)
    keep_only(handover.plan.preserve_fds, [init_end.reading, init_end.writing, *handover.descriptors()])


def become_namespace_root(channel: Channel) -> None:
    """Wait until the ids are mapped, then become root inside the user namespace."""
    expect_go(channel)
    setresgid(0, 0, 0)
    setresuid(0, 0, 0)
    drop_groups()


def drop_groups() -> None:
    """Leave the caller's groups behind; where a user namespace may not (setgroups is denied) they mean nothing."""
    try:
        setgroups([])
    except KernelError:
        return


def open_namespace(kind: str, path: str) -> int:
    """Open a namespace that is to be joined. Raises SpecError when there is none of this kind."""
    try:
        return posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as problem:
        what = posix.strerror(problem.errno or 0).lower()
        raise SpecError(
            "linux.namespaces", f'the {kind} namespace at "{path}" cannot be opened: {what}'
        ) from None


def enter_pid_namespace(handover: Handover) -> int:
    """Join a PID namespace for the next child; returns a descriptor of our own to come back with, or -1."""
    for kind, fd in handover.joined:
        if kind == "pid":
            home = posix.open("/proc/self/ns/pid", posix.O_RDONLY | posix.O_CLOEXEC)
            setns(fd, CLONE_NEWPID)
            posix.close(fd)
            handover.joined.remove((kind, fd))
            return home
    return -1


def spawn_through_stage(
    handover: Handover, cgroup: int, runtime_end: Channel, init_end: Channel
) -> FirstProcess:
    """Start the stage, do for it what only the host's side can do, and take over the process that it makes."""
    stage, pidfd = clone3(0, SIGCHLD, cgroup)
    if stage == 0:
        be_stage(handover, runtime_end, init_end)
    init_end.close()
    posix.close(pidfd)
    try:
        pid = serve_stage(handover, stage, runtime_end)
    finally:
        posix.waitpid(stage, 0)
    return FirstProcess(pid, pidfd_open(pid, 0), runtime_end)


def serve_stage(handover: Handover, stage: int, channel: Channel) -> int:
    """Map ids and set clocks when the stage asks; returns the pid of the first process."""
    namespaces = handover.plan.namespaces
    while True:
        heard = channel.hear()
        if heard == MAP_ME:
            map_ids(stage, namespaces.uid_mappings, namespaces.gid_mappings)
        elif heard == TIME:
            set_time_offsets(stage, namespaces.time_offsets)
        elif heard == PID:
            return channel.hear_number()
        elif heard == FAILED:
            raise_reported(channel.hear_all())
        else:
            raise Error("the process that prepares the container's namespaces died")
        channel.say(GO)


def be_stage(handover: Handover, runtime_end: Channel, init_end: Channel) -> None:
    """Join and make namespaces in the order that rights demand, then make the first process. Does not return."""
    leave_parent(handover, runtime_end, init_end)
    for witness in witnesses:
        witness.role = "stage"
    try:
        set_process_limits(0, handover.plan.process)
        arrange_namespaces(handover, init_end)
        prctl(PR_SET_DUMPABLE, 0)
        namespaces = handover.plan.namespaces
        flags = namespaces.at_clone & ~(CLONE_NEWUSER | (CLONE_NEWTIME if namespaces.time_offsets else 0))
        pid, _ = clone3(flags | CLONE_PARENT, 0, -1)
    except BaseException as problem:
        init_end.say(failure_report(problem))
        posix._exit(1)
    if pid == 0:
        for witness in witnesses:
            witness.role = "init"
        become_container(handover, init_end)
    init_end.say(with_number(PID, pid))
    posix._exit(0)


def arrange_namespaces(handover: Handover, channel: Channel) -> None:
    """Enter the user namespace and the others; a namespace that the host owns is joined before rights are given up."""
    namespaces = handover.plan.namespaces
    waiting = handover.joined
    users = [entry for entry in waiting if entry[0] == "user"]
    waiting = [entry for entry in waiting if entry[0] != "user"]
    waiting = [entry for entry in waiting if not joined_now(*entry)]
    if users:
        setns(users[0][1], CLONE_NEWUSER)
        setresgid(0, 0, 0)
        setresuid(0, 0, 0)
        drop_groups()
    elif namespaces.makes("user"):
        unshare(CLONE_NEWUSER)
        channel.say(MAP_ME)
        become_namespace_root(channel)
    for kind, fd in waiting:
        setns(fd, KINDS[kind][0])
    if namespaces.time_offsets:
        unshare(CLONE_NEWTIME)
        channel.say(TIME)
        expect_go(channel)
    handover.joined = []


def joined_now(kind: str, fd: int) -> bool:
    """Try to join a namespace with the rights of the host; a mount namespace waits until its owner is entered."""
    if kind == "mount":
        return False
    try:
        setns(fd, KINDS[kind][0])
    except KernelError:
        return False
    return True


def converse(first: FirstProcess, on_hooks: Callable[[], None], on_listener: Callable[[int], None]) -> None:
    """Answer the first process until it is ready to be started. Raises what it reports, or that it died."""
    while True:
        heard = first.channel.hear()
        if heard == READY:
            return
        if heard == HOOKS_ME:
            on_hooks()
        elif heard == LISTEN:
            on_listener(first.channel.hear_number())
        elif heard == FAILED:
            raise_reported(first.channel.hear_all())
        else:
            raise Error("the container's first process died before it was ready")
        first.channel.say(GO)


def wait_for_program(first: FirstProcess) -> None:
    """Say GO in `run`, and wait until the user's program has taken the process over. Raises what went wrong."""
    first.channel.say(GO)
    heard = first.channel.hear()
    if heard == EXEC:
        for witness in witnesses:
            witness.flush()
        first.channel.say(GO)
        heard = first.channel.hear()
    if heard == FAILED:
        raise_reported(first.channel.hear_all())
