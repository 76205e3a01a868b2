"""create, start, run: the life of a container up to its own program.

The intent is written down before the first side effect, and every side effect follows from what is written,
so that `delete --force` can clear what a command that was killed left behind.

Implements runtime-spec, runtime.md "Lifecycle".
"""

from __future__ import annotations

import posix
import select
import time

from minicontainer.errors import Conflict, Error, Refused, SpecError
from minicontainer.linux.capabilities import last_capability
from minicontainer.linux.cgroups import own_cgroup
from minicontainer.linux.descriptors import close_on_exec_from
from minicontainer.linux.prctl import PR_SET_DUMPABLE, prctl
from minicontainer.linux.process import start_time
from minicontainer.linux.terminals import connect_to
from minicontainer.runtime.activation import pass_on_activation
from minicontainer.runtime.bundle import absolute, load_config
from minicontainer.runtime.cgroup import Group, apply_resources, cgroup_path, create_group, planned_groups
from minicontainer.runtime.cgroup_paths import root, whole_path
from minicontainer.runtime.channel import GO
from minicontainer.runtime.container import (
    CREATED,
    SPEC_VERSION,
    STOPPED,
    Container,
    open_container,
    write_file,
)
from minicontainer.runtime.destroy import clear, run_poststop
from minicontainer.runtime.handover import Handover
from minicontainer.runtime.hooks import run_hooks
from minicontainer.runtime.idmap import copy_sources
from minicontainer.runtime.mounting import copy_of_tree
from minicontainer.runtime.plan import InitPlan
from minicontainer.runtime.seccomp_cache import compiled_filter
from minicontainer.runtime.spawn import FirstProcess, converse, spawn
from minicontainer.trace.events import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.runtime.foreground import Terminal


class CreateRequest:
    """What `create` and `run` are asked for, beside the bundle's own configuration."""

    __slots__ = (
        "bundle",
        "console_socket",
        "identifier",
        "new_keyring",
        "no_pivot",
        "pid_file",
        "preserve_fds",
        "root",
        "systemd_cgroup",
        "use_cgroup",
    )

    def __init__(self, root: str, identifier: str, bundle: str) -> None:
        self.root = root
        self.identifier = identifier
        self.bundle = bundle
        self.console_socket = ""
        self.pid_file = ""
        self.preserve_fds = 0
        self.no_pivot = False
        self.new_keyring = True
        self.systemd_cgroup = False
        self.use_cgroup = True


def create(request: CreateRequest) -> None:
    """Make a container whose first process waits to be started. On failure nothing is left."""
    container, first = bring_up(request, True)
    try:
        if request.pid_file:
            write_pid_file(request.pid_file, first.pid)
        container.save(created=timestamp())
        first.channel.say(GO)
    except BaseException:
        first.kill()
        run_poststop(container)
        clear(container)
        raise


def bring_up(
    request: CreateRequest, waits_for_start: bool, terminal: Terminal | None = None
) -> tuple[Container, FirstProcess]:
    """Make the container up to the point where its first process is ready. On failure nothing is left."""
    secure_ourselves(request.preserve_fds)
    bundle = absolute(request.bundle)
    config, raw = load_config(bundle)
    plan = make_plan(request, config, bundle)
    console = connect_console(request, plan, terminal)
    container = Container(request.root, request.identifier)
    container.reserve()
    try:
        record_intent(container, plan, raw, bundle)
        group = make_cgroup(container, config)
        handover = prepare(container, plan, console, waits_for_start)
        handover.parents_fds = [container.lock] + ([group.directory] if group else [])
        first = start_first_process(container, handover, group, config)
    except BaseException:
        run_poststop(container)
        clear(container)
        raise
    return container, first


def secure_ourselves(preserve_fds: int) -> None:
    """Keep the caller's descriptors from the container, and other processes from reading this one's memory."""
    for fd in range(3, 3 + preserve_fds):
        try:
            posix.fstat(fd)
        except OSError:
            raise SpecError("--preserve-fds", f"descriptor {fd} is not open") from None
    if posix.geteuid() == 0:
        # For others a process that is not dumpable has files in /proc that are root's: no map could be
        # written.
        prctl(PR_SET_DUMPABLE, 0)
    close_on_exec_from(3 + preserve_fds)


def make_plan(request: CreateRequest, config: dict[str, Any], bundle: str) -> InitPlan:
    """Decide everything that can be decided before anything is made."""
    plan = InitPlan(config, bundle, request.identifier)
    plan.no_pivot = request.no_pivot
    plan.new_keyring = request.new_keyring
    plan.preserve_fds = request.preserve_fds
    plan.cgroup_path = ""
    if request.use_cgroup:
        plan.cgroup_path = cgroup_path(config, request.identifier, request.systemd_cgroup) or ""
    pass_on_activation(plan)
    seccomp = (config.get("linux") or {}).get("seccomp")
    if seccomp:
        plan.process.seccomp, plan.process.seccomp_flags = compiled_filter(
            seccomp, request.root + "/.seccomp"
        )
    return plan


def connect_console(request: CreateRequest, plan: InitPlan, terminal: Terminal | None) -> int:
    """Connect to the caller's console socket; a terminal and a socket must come together.

    In the foreground we are the caller, and the socket is a pair of our own.
    """
    if plan.process.terminal and terminal:
        return terminal.open()
    if plan.process.terminal and not request.console_socket:
        raise Refused("cannot allocate tty if runc will detach without setting console socket")
    if not plan.process.terminal and request.console_socket:
        raise Refused("cannot use console socket if runc will not detach or allocate tty")
    return connect_to(request.console_socket) if request.console_socket else -1


@step
def record_intent(container: Container, plan: InitPlan, raw: bytes, bundle: str) -> None:
    """Write down what is going to be made, so that whatever happens it can be found and removed.

    runtime-spec, runtime.md "State"
    """
    me = posix.getpid()
    container.save(
        ociVersion=SPEC_VERSION,
        id=container.identifier,
        bundle=bundle,
        rootfs=plan.rootfs,
        annotations=plan.annotations,
        owner=posix.getuid(),
        created=timestamp(),
        creator=me,
        creatorStartTime=start_time(me),
        cgroup=plan.cgroup_path,
        cgroupsMade=planned_groups(plan.cgroup_path) if plan.cgroup_path else [],
        pid=0,
        sharesPids=not plan.namespaces.makes("pid"),
    )
    write_file(f"{container.path}/config.json", raw)


def prepare(container: Container, plan: InitPlan, console: int, waits_for_start: bool) -> Handover:
    """Open on the host's side what the first process takes with it."""
    record = container.record
    state = {
        "ociVersion": SPEC_VERSION,
        "id": record["id"],
        "bundle": record["bundle"],
        "annotations": plan.annotations,
    }
    handover = Handover(plan, state)
    handover.console_fd = console
    handover.last_capability = last_capability()
    userns = plan.namespaces.has("user")
    handover.bind_devices = userns or posix.geteuid() != 0
    if not plan.namespaces.has("cgroup"):
        handover.cgroup_source = whole_path(plan.cgroup_path or own_cgroup()) if root() else ""
    copy_sources(plan, handover.cgroup_source)
    if userns:
        handover.rootfs_fd = copy_of_tree(plan.rootfs, True)
    if waits_for_start:
        handover.start_fd = make_fifo(f"{container.path}/start")
        handover.result_fd = make_fifo(f"{container.path}/result")
    return handover


def make_fifo(path: str) -> int:
    """Make a FIFO and hold both of its ends, so that opening it never waits."""
    posix.mkfifo(path, 0o600)
    return posix.open(path, posix.O_RDWR | posix.O_CLOEXEC)


def make_cgroup(container: Container, config: dict[str, Any]) -> Group | None:
    """Make the cgroup and set its limits, before anything runs in it."""
    linux = config.get("linux") or {}
    resources = linux.get("resources") or {}
    group = create_group(
        container.record["cgroup"] or None, resources, required=bool(linux.get("cgroupsPath"))
    )
    if group is None:
        container.record["cgroup"] = ""
    else:
        apply_resources(group, resources)
    return group


def start_first_process(
    container: Container, handover: Handover, group: Group | None, config: dict[str, Any]
) -> FirstProcess:
    """Start the first process, put it on record, and help it until it is ready."""
    first = spawn(handover, group.directory if group else -1)
    try:
        container.save(pid=first.pid, startTime=start_time(first.pid))
        state = {**handover.state, "status": "creating", "pid": first.pid}

        def on_hooks() -> None:
            for kind in ("prestart", "createRuntime"):
                if handover.plan.hooks.get(kind):
                    run_hooks(kind, handover.plan.hooks[kind], state, container.record["bundle"])

        def on_listener(number: int) -> None:
            from minicontainer.runtime.seccomp_listener import hand_over_listener

            hand_over_listener(first, number, {**state, "status": "created"}, config)

        converse(first, on_hooks, on_listener)
    except BaseException:
        first.kill()
        raise
    finally:
        for fd in (handover.start_fd, handover.result_fd, handover.console_fd, handover.rootfs_fd):
            if fd >= 0:
                posix.close(fd)
    return first


def start(root: str, identifier: str) -> None:
    """Let a created container's first process become the user's program. Raises Conflict in other states."""
    container = open_container(root, identifier, lock=True)
    status = container.status()
    if status != CREATED:
        raise Conflict(
            "cannot start a container that has stopped"
            if status == STOPPED
            else f"cannot start an already running container ({status})"
        )
    wake(container)
    run_poststart(container)


@step
def wake(container: Container) -> None:
    """Wake the waiting process, and listen until it has become the user's program.

    fifo(7), execve(2)
    """
    result = posix.open(f"{container.path}/result", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    starter = posix.open(f"{container.path}/start", posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    posix.write(starter, b"g")
    posix.close(starter)
    watch = select.poll()
    watch.register(result, select.POLLIN | select.POLLHUP)
    said = b""
    while True:
        watch.poll()
        try:
            part = posix.read(result, 65536)
        except BlockingIOError:
            continue
        if not part:
            break
        said += part
    posix.close(result)
    if said:
        from minicontainer.runtime.channel import raise_reported

        raise_reported(said)


def run_poststart(container: Container) -> None:
    """Run the poststart hooks; when one fails the container is killed and cleared."""
    config = container.config()
    hooks = (config.get("hooks") or {}).get("poststart")
    if not hooks:
        return
    try:
        run_hooks("poststart", hooks, oci_state(container, "running"), container.record["bundle"])
    except Error:
        run_poststop(container)
        clear(container)
        raise


def oci_state(container: Container, status: str) -> dict[str, Any]:
    """Build the state as the specification has it."""
    record = container.record
    return {
        "ociVersion": SPEC_VERSION,
        "id": record["id"],
        "pid": 0 if status == STOPPED else container.pid,
        "status": status,
        "bundle": record["bundle"],
        "rootfs": record.get("rootfs", ""),
        "created": record.get("created", ""),
        "owner": owner_name(record.get("owner", 0)),
        "annotations": record.get("annotations") or {},
    }


def owner_name(uid: int) -> str:
    """Name the user that made the container."""
    if uid == 0:
        return "root"
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def timestamp() -> str:
    """Write the present time as RFC 3339 has it, to the nanosecond, in UTC."""
    now = time.time_ns()
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000)) + f".{now % 1_000_000_000:09d}Z"
    )


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid so that a reader finds all of it or nothing: beside, then renamed."""
    folder, _, name = path.rpartition("/")
    beside = f"{folder}/.{name}" if folder else f".{name}"
    write_file(beside, str(pid).encode())
    posix.rename(beside, path)
