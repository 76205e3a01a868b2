"""The stage between runtime and first process, where namespaces are joined before others are made.

    runtime --clone3--> stage --setns, unshare, clone3(CLONE_PARENT)--> first process (a child of the runtime)

Rights decide the order: what the host owns is joined before a user namespace takes the host's rights away.
Clocks are set while nobody has entered a time namespace yet.

See setns(2), user_namespaces(7), time_namespaces(7).
"""

from __future__ import annotations

import posix

from minicontainer.errors import Error, KernelError
from minicontainer.linux.credentials import setresgid, setresuid
from minicontainer.linux.namespaces import CLONE_NEWTIME, CLONE_NEWUSER, KINDS, setns, unshare
from minicontainer.linux.process import SIGCHLD, clone3, pidfd_open
from minicontainer.runtime.channel import FAILED, GO, MAP_ME, PID, failure_report, raise_reported
from minicontainer.runtime.entering import be_born_of_stage, close_to_others, drop_groups, expect_go
from minicontainer.runtime.first_process import FirstProcess
from minicontainer.runtime.idmap import map_ids, set_time_offsets
from minicontainer.runtime.init import become_container
from minicontainer.runtime.limits import set_process_limits
from minicontainer.runtime.spawn import become_namespace_root, leave_parent, wait_for_cgroup
from minicontainer.trace.events import witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.channel import Channel
    from minicontainer.runtime.handover import Handover

TIME = b"t"


def spawn_through_stage(
    handover: Handover, cgroup: int, runtime_end: Channel, init_end: Channel
) -> FirstProcess:
    """Start the stage, do for it what only the host's side can, and take over the process that it makes."""
    stage, pidfd = clone3(0, SIGCHLD, cgroup)
    if stage == 0:
        be_stage(handover, init_end)
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


def be_stage(handover: Handover, init_end: Channel) -> None:
    """Join and make namespaces in the order that rights demand, then the first process. Does not return."""
    leave_parent(handover, init_end)
    for witness in witnesses:
        witness.role = "stage"
    try:
        set_process_limits(0, handover.plan.process)
        arrange_namespaces(handover, init_end)
        close_to_others()
        namespaces = handover.plan.namespaces
        flags = namespaces.at_clone & ~(CLONE_NEWUSER | (CLONE_NEWTIME if namespaces.time_offsets else 0))
        be_born_of_stage(flags, init_end)
    except BaseException as problem:
        init_end.say(failure_report(problem))
        posix._exit(1)
    for witness in witnesses:
        witness.role = "init"
    wait_for_cgroup(handover, init_end)
    become_container(handover, init_end)


def arrange_namespaces(handover: Handover, channel: Channel) -> None:
    """Enter the user namespace and the others; those that the host owns before rights are given up."""
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
    """Try to join a namespace with the host's rights; a mount namespace waits until its owner is entered."""
    if kind == "mount":
        return False
    try:
        setns(fd, KINDS[kind][0])
    except KernelError:
        return False
    return True
