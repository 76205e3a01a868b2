"""The container's first process: from a fresh clone to the user's program.

`become_container` reads from top to bottom as the birth of a container. The order is not free; each step says
what must already be true before it. Nothing is imported here any more: the parent has loaded everything, and
the door to further imports is shut before the container's root is entered.

Implements runtime-spec, runtime.md "Lifecycle" steps 3 to 8; see namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import KernelError, SpecError
from minicontainer.linux import mounts as m
from minicontainer.linux.credentials import setsid, umask
from minicontainer.linux.loopback import bring_up_loopback
from minicontainer.linux.mounts import mount, pivot_root, umount2
from minicontainer.linux.namespaces import CLONE_NEWCGROUP, KINDS, setdomainname, sethostname, setns, unshare
from minicontainer.linux.paths import O_PATH, make_directories
from minicontainer.linux.process import execve
from minicontainer.runtime.channel import EXEC, HOOKS_ME, READY, failure_report
from minicontainer.runtime.devices import make_default_devices, make_listed_devices
from minicontainer.runtime.entering import (
    close_the_door,
    end_when_asked,
    expect_go,
    listens,
    load_filter,
    reset_signals,
)
from minicontainer.runtime.hiding import make_paths_readonly, mask_paths
from minicontainer.runtime.identity import assume_identity, join_new_keyring, load_seccomp_filter
from minicontainer.runtime.mounting import attach, copy_of_tree, freeze_tmpfs, mount_entry
from minicontainer.runtime.program import environment, find_program, open_root
from minicontainer.trace.events import step, witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from minicontainer.runtime.channel import Channel
    from minicontainer.runtime.handover import Handover
    from minicontainer.runtime.plan import InitPlan

FAILURE = 1


def become_container(handover: Handover, channel: Channel) -> NoReturn:
    """Build the container around this process and become its program; report a failure, never print it."""
    try:
        plan = handover.plan
        end_when_asked()
        enter_namespaces(handover)
        root = prepare_mounts(handover)
        hooks_before_pivot(handover, channel)
        hide_paths(root, plan)
        enter_root(root, plan)
        name_the_host(plan)
        finish_root(plan)
        close_the_door()
        settle(handover, channel)
        become_program(handover, channel)
    except BaseException as problem:
        report(problem, handover, channel)
    posix._exit(FAILURE)


def report(problem: BaseException, handover: Handover, channel: Channel) -> None:
    """Tell the runtime (before it said GO for good), or `start` (after), what went wrong."""
    said = failure_report(problem)
    try:
        channel.say(said)
    except OSError:
        if handover.result_fd >= 0:
            posix.write(handover.result_fd, said[1:])


@step
def enter_namespaces(handover: Handover) -> None:
    """Leave the host: the new namespaces were made with this process, those that exist are joined.

    namespaces(7), setns(2), cgroup_namespaces(7)
    """
    for kind, fd in handover.joined:
        setns(fd, KINDS[kind][0])
        posix.close(fd)
    # Only now: a cgroup namespace has its root where the process is, and clone3 moves it after copying
    # namespaces.
    if handover.plan.namespaces.new & CLONE_NEWCGROUP:
        unshare(CLONE_NEWCGROUP)
    setsid()
    if handover.plan.namespaces.makes("network"):
        switch_on_loopback()


@step
def switch_on_loopback() -> None:
    """Switch on the loopback device of the new network, so that programs in it can talk to each other.

    netdevice(7), network_namespaces(7)
    """
    bring_up_loopback()


def prepare_mounts(handover: Handover) -> int:
    """Make the root file system and everything that is mounted in it; returns the root's descriptor."""
    plan = handover.plan
    umask(0)
    keep_mounts_to_ourselves(plan.root_propagation)
    root = make_rootfs_a_mount(plan.rootfs, handover.rootfs_fd, plan.root_propagation)
    mount_file_systems(root, handover)
    if not any(entry.options.bind and entry.destination.strip("/") == "dev" for entry in plan.mounts):
        make_devices(root, handover)
    if plan.process.terminal and handover.console_fd >= 0:
        from minicontainer.runtime.console import make_console

        make_console(root, plan.process, handover.console_fd)
    return root


@step
def keep_mounts_to_ourselves(propagation: int) -> None:
    """Stop our mounts from showing up on the host.

    mount_namespaces(7), "Shared subtrees"
    """
    # Before any other mount: systemd makes / shared, and a mount made in a shared tree appears on the host as
    # well.
    shared = propagation & m.MS_SHARED
    mount(None, "/", None, (m.MS_SHARED if shared else m.MS_SLAVE) | m.MS_REC, None)


@step
def make_rootfs_a_mount(rootfs: str, source: int, propagation: int) -> int:
    """Turn the directory of the root file system into a mount, as pivot_root demands.

    open_tree(2), pivot_root(2) "new_root must be a path to a mount point"
    """
    if propagation & m.MS_SHARED:
        part_from_parents(rootfs)
    tree = source if source >= 0 else copy_of_tree(rootfs, True)
    if propagation & m.MS_SHARED:
        m.mount_setattr(tree, "", m.AT_EMPTY_PATH, 0, 0, m.MS_PRIVATE, 0)
    # Onto "/", not onto its own place: that could lie behind directories that a user namespace may not pass.
    place = posix.open("/", O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    attach(tree, place)
    posix.close(place)
    return tree


def part_from_parents(rootfs: str) -> None:
    """Make the root and the mount that holds it private: pivot_root refuses a shared parent."""
    mount(None, "/", None, m.MS_PRIVATE, None)
    path = rootfs
    while path:
        try:
            mount(None, path, None, m.MS_PRIVATE, None)
        except KernelError as problem:
            if problem.errno != errno.EINVAL:  # not a mount point: the one above holds it
                raise
            path = path.rpartition("/")[0]
        else:
            return


@step
def mount_file_systems(root: int, handover: Handover) -> None:
    """Mount what the container's configuration asks for: /proc, /dev, /sys, volumes.

    fsopen(2), open_tree(2), move_mount(2); runtime-spec, config.md "Mounts"
    """
    for entry in handover.plan.mounts:
        mount_entry(root, entry, handover.cgroup_source)


@step
def make_devices(root: int, handover: Handover) -> None:
    """Make the few device nodes that every program expects, and those that the configuration lists.

    mknod(2); runtime-spec, config-linux.md "Default Devices"
    """
    devices = handover.plan.devices
    make_default_devices(root, devices, handover.bind_devices)
    make_listed_devices(root, devices, handover.bind_devices)


def hooks_before_pivot(handover: Handover, channel: Channel) -> None:
    """Let the hooks run that want to see the container before its root is entered, inside and outside."""
    wanted = handover.plan.hooks
    if wanted.get("prestart") or wanted.get("createRuntime"):
        channel.say(HOOKS_ME)
        expect_go(channel)
    if wanted.get("createContainer"):
        state = {**handover.state, "status": "creating", "pid": posix.getpid()}
        from minicontainer.runtime.hooks import run_hooks

        run_hooks("createContainer", wanted["createContainer"], state, handover.state["bundle"])


@step
def enter_root(root: int, plan: InitPlan) -> None:
    """Make the container's root file system the root directory, and let go of the host's.

    pivot_root(2), "pivot_root(".", ".")"
    """
    posix.fchdir(root)
    if plan.no_pivot:
        mount(".", "/", None, m.MS_MOVE, None)
        m.chroot(".")
    else:
        leave_old_root()
    posix.chdir("/")
    posix.close(root)
    if plan.root_propagation & ~(m.MS_REC | m.MS_PRIVATE | m.MS_SLAVE):
        mount(None, "/", None, plan.root_propagation, None)


def leave_old_root() -> None:
    """Swap the roots, then take the old one away, which now lies on top of ours."""
    old = posix.open("/", O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    pivot_root(".", ".")
    # "." is still ours for mount(2): the old root must be gone to. It becomes a slave before it is taken
    # away, or its peers, which are the host's own mounts, would be taken away with it.
    posix.fchdir(old)
    mount(None, ".", None, m.MS_SLAVE | m.MS_REC, None)
    umount2(".", m.MNT_DETACH)
    posix.close(old)


@step
def name_the_host(plan: InitPlan) -> None:
    """Give the container a host name of its own.

    uts_namespaces(7), sethostname(2)
    """
    if plan.hostname:
        sethostname(plan.hostname)
    if plan.domainname:
        setdomainname(plan.domainname)


@step
def hide_paths(root: int, plan: InitPlan) -> None:
    """Hide what the container may not see, and freeze what it may not change, most of it in /proc.

    runtime-spec, config-linux.md "Masked Paths", "Readonly Paths"
    """
    # While the host's /dev/null is still in reach: the container's could be anything.
    make_paths_readonly(root, plan.readonly_paths)
    mask_paths(root, plan.masked_paths)


def finish_root(plan: InitPlan) -> None:
    """Write the kernel's settings that are the container's own, and freeze what is to be read-only."""
    if plan.sysctl:
        from minicontainer.runtime.sysctls import write_sysctls

        write_sysctls(plan.sysctl)
    make_cwd(plan.process.cwd)
    for entry in plan.mounts:
        freeze_tmpfs(entry)
    if plan.root_readonly:
        freeze_root()


@step
def freeze_root() -> None:
    """Make the root file system read-only.

    mount_setattr(2)
    """
    root = open_root()
    m.mount_setattr(root, "", m.AT_EMPTY_PATH, m.MOUNT_ATTR_RDONLY, 0, 0, 0)
    posix.close(root)


def settle(handover: Handover, channel: Channel) -> None:
    """Become who the program runs as, in the directory where it starts, and find it: `create` may fail."""
    plan, process = handover.plan, handover.plan.process
    if plan.new_keyring:
        join_new_keyring(plan.container_id)
    if process.apparmor or process.selinux:
        from minicontainer.runtime.labels import set_exec_label

        set_exec_label(process.apparmor, process.selinux)
    if plan.memory_policy:
        from minicontainer.linux.scheduling import set_mempolicy

        set_mempolicy(*handover.memory_policy)

    def early() -> None:
        if process.seccomp and (not process.no_new_privileges or listens(process)):
            load_filter(process, channel)

    assume_identity(process, handover.last_capability, early)
    root = open_root()
    handover.environment = environment(process.env, process.uid, root)
    posix.close(root)
    if process.args:
        handover.program = find_program(process.args[0], handover.environment.get("PATH", ""))
    if plan.personality:
        from minicontainer.linux.scheduling import personality

        personality(handover.personality)


def make_cwd(path: str) -> None:
    """Make the working directory when the image lacks it."""
    from_root = open_root()
    try:
        posix.close(make_directories(from_root, path))
    except KernelError:
        return  # what is wrong with it is said by whoever goes there
    finally:
        posix.close(from_root)


def become_program(handover: Handover, channel: Channel) -> None:
    """Wait to be started, then turn into the user's program."""
    process = handover.plan.process
    channel.say(READY)
    expect_go(channel)
    if handover.start_fd >= 0:
        # `create` is done: its pipes must not keep it, or the caller, waiting.
        channel.close()
        if not posix.read(handover.start_fd, 1):
            posix._exit(FAILURE)
    if handover.plan.hooks.get("startContainer"):
        wanted = [{"env": process.env, **hook} for hook in handover.plan.hooks["startContainer"]]
        from minicontainer.runtime.hooks import run_hooks

        run_hooks(
            "startContainer", wanted, {**handover.state, "status": "created", "pid": posix.getpid()}, ""
        )
    reset_signals()
    if not process.args:
        raise SpecError("process", "is missing: there is no program to start")
    if process.seccomp and process.no_new_privileges and not listens(process):
        load_seccomp_filter(process.seccomp, process.seccomp_flags)
    if handover.start_fd >= 0:
        # The command `start` is done when `result` is closed. At execve both would be, in no certain order,
        # and while anybody reads `start` the container is "created".
        posix.close(handover.start_fd)
    start_program(handover, channel)


@step
def start_program(handover: Handover, channel: Channel) -> None:
    """Replace this process with the user's program.

    execve(2)
    """

    def catch_up() -> None:
        # Whoever watches reads on, so that the whole story stands before the program's own output.
        channel.say(EXEC)
        expect_go(channel)

    watched = witnesses and handover.start_fd < 0
    execve(handover.program, handover.plan.process.args, handover.environment, catch_up if watched else None)
