"""exec: one more process in a container that runs.

    runtime --setns(pid), clone3(CLONE_INTO_CGROUP)--> child --setns(all others)--> identity --> execve

The child enters by the pidfd of the container's first process, which cannot come to mean another one. It runs
from the protected interpreter, is not dumpable, and imports nothing once it is inside.

Implements runc's `exec`; see setns(2) "pidfd", clone3(2).
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import Conflict, Error, KernelError, SpecError
from minicontainer.linux.capabilities import last_capability
from minicontainer.linux.credentials import setresgid, setresuid, setsid
from minicontainer.linux.descriptors import keep_only
from minicontainer.linux.namespaces import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, KINDS, setns
from minicontainer.linux.process import SIGCHLD, clone3, execve, pidfd_open
from minicontainer.oci.json_text import loads
from minicontainer.runtime.caller import let_start, let_start_when_ready, secure_ourselves
from minicontainer.runtime.cgroup_processes import group_for_exec
from minicontainer.runtime.channel import (
    FAILED,
    PID,
    READY,
    Channel,
    channel_pair,
    failure_report,
    raise_reported,
)
from minicontainer.runtime.container import PAUSED, RUNNING, Container, open_container, read_file
from minicontainer.runtime.entering import (
    be_born_of_stage,
    close_the_door,
    close_to_others,
    drop_groups,
    end_when_asked,
    expect_go,
    listens,
    load_filter,
    reset_signals,
)
from minicontainer.runtime.first_process import FirstProcess, converse, wait_for_program
from minicontainer.runtime.identity import assume_identity, load_seccomp_filter
from minicontainer.runtime.limits import set_process_limits
from minicontainer.runtime.process_plan import ProcessPlan
from minicontainer.runtime.program import environment, find_program, open_root
from minicontainer.runtime.seccomp_cache import compiled_filter
from minicontainer.trace.events import step, witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from minicontainer.runtime.foreground import Terminal


class ExecRequest:
    """What `exec` is asked for."""

    __slots__ = (
        "cgroup",
        "console_socket",
        "detach",
        "identifier",
        "ignore_paused",
        "pid_file",
        "pidfd_socket",
        "preserve_fds",
        "process",
        "root",
    )

    def __init__(self, root: str, identifier: str) -> None:
        self.root = root
        self.identifier = identifier
        self.process: Callable[[dict[str, Any]], dict[str, Any]] = dict  # from the container's configuration
        self.detach = False
        self.ignore_paused = False
        self.console_socket = ""
        self.pid_file = self.pidfd_socket = ""
        self.preserve_fds = 0
        self.cgroup = ""


class Visit:
    """What the new process takes with it into the container."""

    __slots__ = ("console_fd", "entered", "kinds", "last_capability", "preserve_fds", "process", "target")

    def __init__(self, process: ProcessPlan, target: int, preserve_fds: int) -> None:
        self.preserve_fds = preserve_fds
        self.process = process
        self.target = target  # pidfd of the container's first process
        self.kinds = 0  # namespaces that are not ours already
        self.last_capability = last_capability()
        self.entered = False  # a stage has entered the namespaces already
        self.console_fd = -1

    def descriptors(self) -> list[int]:
        """List what the process needs open, the witnesses' files included."""
        return [self.target, self.console_fd] + [fd for witness in witnesses for fd in witness.descriptors()]


def execute(request: ExecRequest, terminal: Terminal | None) -> FirstProcess:
    """Start a process in a running container; it has become its program when this returns.

    `terminal` is the caller's own, when it stays in the foreground.
    """
    secure_ourselves(request.preserve_fds)
    container = open_container(request.root, request.identifier)
    require_running(container, request.ignore_paused)
    config = container.config()
    process = plan_process(request, config, terminal is not None)
    visit = Visit(process, container.open_process(), request.preserve_fds)
    visit.kinds = foreign_namespaces(container.pid)
    if not container.is_alive():  # then what was just compared was perhaps another process
        raise Conflict("container not running")
    if request.console_socket:
        from minicontainer.linux.terminals import connect_to

        visit.console_fd = connect_to(request.console_socket)
    elif process.terminal and terminal:
        visit.console_fd = terminal.open()
    group = -1
    if container.record.get("cgroup"):
        group = group_for_exec(container.record["cgroup"], container.pid, request.cgroup or None)
    first = enter(visit, group)
    try:
        set_affinity(first.pid, process.affinity.get("initial"))
        see_it_start(
            request, first, process, terminal, lambda number: listener(container, first, number, config)
        )
    except BaseException:
        first.kill()
        raise
    return first


def see_it_start(
    request: ExecRequest,
    first: FirstProcess,
    process: ProcessPlan,
    terminal: Terminal | None,
    on_listener: Callable[[int], None],
) -> None:
    """Help the new process until it has become its program."""
    ahead = is_awaited_by_nobody(request, process)
    if ahead:
        let_start_when_ready(request, first, terminal)
    converse(first, lambda: None, on_listener)
    if not ahead:
        set_affinity(first.pid, process.affinity.get("final"))
        let_start(request, first, terminal)
    wait_for_program(first)


def is_awaited_by_nobody(request: ExecRequest, process: ProcessPlan) -> bool:
    """Tell whether the program may start as soon as its process is ready: no GO before is asked for."""
    asks = process.terminal or process.affinity or listens(process)
    return not (request.pid_file or request.pidfd_socket or asks)


def require_running(container: Container, ignore_paused: bool) -> None:
    """Refuse containers in which nothing can be executed."""
    status = container.status()
    if status == PAUSED and not ignore_paused:
        raise Conflict("cannot exec in a paused container", "use --ignore-paused")
    if status not in (RUNNING, PAUSED, "created"):
        raise Conflict(f"cannot exec in a {status} container")


def plan_process(request: ExecRequest, config: dict[str, Any], foreground: bool) -> ProcessPlan:
    """Decide about the new process: what it asks for, within what the container was created with."""
    process = ProcessPlan(request.process(config))
    if process.umask is None:
        process.umask = ((config.get("process") or {}).get("user") or {}).get("umask")
    if process.apparmor or process.selinux:
        from minicontainer.runtime.labels import check_labels

        check_labels(process.apparmor, process.selinux, "")
    linux = config.get("linux") or {}
    if linux.get("seccomp"):
        process.seccomp, process.seccomp_flags = compiled_filter(linux["seccomp"], request.root + "/.seccomp")
    if process.terminal and not request.console_socket and not foreground:
        raise SpecError(
            "process.terminal", "cannot allocate tty if runc will detach without setting console socket"
        )
    return process


def listener(container: Container, first: FirstProcess, number: int, config: dict[str, Any]) -> None:
    """Give the filter's listener to whoever the configuration names."""
    from minicontainer.runtime.seccomp_listener import hand_over_listener
    from minicontainer.runtime.status import oci_state

    hand_over_listener(first, number, oci_state(container, RUNNING), config)


def foreign_namespaces(pid: int) -> int:
    """Say which of a process's namespaces are not ours: nobody may enter his own user namespace again.

    Raises Conflict for a process that ends: it has left its namespaces before it is a zombie, and none of
    them would then be entered.
    """
    kinds = 0
    for flag, name in KINDS.values():
        try:
            ours = posix.readlink(f"/proc/self/ns/{name}")  # "net:[4026531840]": faster than stat(2)
        except FileNotFoundError:
            continue  # a kernel without this kind
        try:
            theirs = posix.readlink(f"/proc/{pid}/ns/{name}")
        except OSError as problem:
            if problem.errno not in (errno.ENOENT, errno.ESRCH):
                raise
            raise Conflict("container not running") from None
        if theirs != ours:
            kinds |= flag
    return kinds


def set_affinity(pid: int, cpus: str | None) -> None:
    """Let the process run on these processors only."""
    if cpus:
        from minicontainer.linux.scheduling import numbers_of, sched_setaffinity

        sched_setaffinity(pid, numbers_of(cpus))


@step
def enter(visit: Visit, cgroup: int) -> FirstProcess:
    """Start a process in the container's cgroup and PID namespace; it enters the other namespaces itself.

    setns(2), clone3(2)
    """
    runtime_end, visitor_end = channel_pair()
    if visit.kinds & CLONE_NEWUSER:
        return enter_through_stage(visit, cgroup, runtime_end, visitor_end)
    home = -1
    if visit.kinds & CLONE_NEWPID:
        home = posix.open("/proc/self/ns/pid", posix.O_RDONLY | posix.O_CLOEXEC)
        setns(visit.target, CLONE_NEWPID)
    pid, pidfd = clone3(0, SIGCHLD, cgroup)
    if pid == 0:
        visit.kinds &= ~CLONE_NEWPID
        be_visitor(visit, visitor_end)
    if home >= 0:
        return_home(home)
    visitor_end.close()
    return FirstProcess(pid, pidfd, runtime_end)


def return_home(home: int) -> None:
    """Let later children be born in our own PID namespace again, where that is ours to enter."""
    try:
        setns(home, CLONE_NEWPID)
    except KernelError as problem:
        # Rootless: it belongs to the host's user namespace. There are no later children then.
        if problem.errno != errno.EPERM:
            raise
    finally:
        posix.close(home)


def enter_through_stage(
    visit: Visit, cgroup: int, runtime_end: Channel, visitor_end: Channel
) -> FirstProcess:
    """Enter a user namespace first, in a process of its own: only there are rights over the others."""
    stage, pidfd = clone3(0, SIGCHLD, cgroup)
    if stage == 0:
        be_stage(visit, runtime_end, visitor_end)
    posix.close(pidfd)
    visitor_end.close()
    heard = runtime_end.hear()
    posix.waitpid(stage, 0)
    if heard == PID:
        pid = runtime_end.hear_number()
        return FirstProcess(pid, pidfd_open(pid, 0), runtime_end)
    if heard == FAILED:
        raise_reported(runtime_end.hear_all())
    raise Error("the process that enters the container's namespaces died")


def be_stage(visit: Visit, runtime_end: Channel, visitor_end: Channel) -> NoReturn:
    """Enter all namespaces at once, and make the process that will live in them."""
    runtime_end.close()
    for witness in witnesses:
        witness.role = "stage"
    try:
        # Before the mount namespace changes and names mean something else, no more imports.
        set_process_limits(0, visit.process)
        close_to_others()
        close_the_door()
        setns(visit.target, visit.kinds)
        setresgid(0, 0, 0)
        setresuid(0, 0, 0)
        drop_groups()
        visit.kinds, visit.entered = 0, True
        be_born_of_stage(0, visitor_end)
    except BaseException as problem:
        visitor_end.say(failure_report(problem))
        posix._exit(1)
    be_visitor(visit, visitor_end)


def be_visitor(visit: Visit, channel: Channel) -> NoReturn:
    """Enter the container and become the program there."""
    for witness in witnesses:
        witness.role = "exec"
    try:
        keep_only(visit.preserve_fds, [channel.reading, channel.writing, *visit.descriptors()])
        if not visit.entered:
            set_process_limits(0, visit.process)
        end_when_asked()
        close_to_others()
        close_the_door()
        enter_namespaces(visit)
        settle(visit, channel)
    except BaseException as problem:
        channel.say(failure_report(problem))
    posix._exit(1)


@step
def enter_namespaces(visit: Visit) -> None:
    """Enter the namespaces of the container's first process.

    setns(2), namespaces(7)
    """
    if visit.kinds & ~CLONE_NEWNS:
        setns(visit.target, visit.kinds & ~CLONE_NEWNS)
    if visit.kinds & CLONE_NEWNS:
        setns(visit.target, CLONE_NEWNS)
    posix.close(visit.target)
    setsid()


def settle(visit: Visit, channel: Channel) -> None:
    """Take terminal and identity, find the program, and become it."""
    process = visit.process
    if process.terminal:
        root = open_root()
        from minicontainer.runtime.console import hand_over_terminal, use_terminal

        use_terminal(hand_over_terminal(root, process, visit.console_fd))
        posix.close(root)
    if process.apparmor or process.selinux:
        from minicontainer.runtime.labels import set_exec_label

        set_exec_label(process.apparmor, process.selinux)

    def early() -> None:
        if process.seccomp and (not process.no_new_privileges or listens(process)):
            load_filter(process, channel)

    assume_identity(process, visit.last_capability, early)
    root = open_root()
    variables = environment(process.env, process.uid, root)
    posix.close(root)
    program = find_program(process.args[0], variables.get("PATH", ""))
    channel.say(READY)
    expect_go(channel)
    reset_signals()
    if process.seccomp and process.no_new_privileges and not listens(process):
        load_seccomp_filter(process.seccomp, process.seccomp_flags)
    become(program, process, variables)


@step
def become(program: str, process: ProcessPlan, variables: dict[str, str]) -> None:
    """Replace this process with the program.

    execve(2)
    """
    execve(program, process.args, variables)


def process_file(path: str) -> dict[str, Any]:
    """Read the file of `exec --process`."""
    from minicontainer.oci.check import check_process

    process = loads(read_file(path))
    check_process(process)
    return process  # type: ignore[return-value]
