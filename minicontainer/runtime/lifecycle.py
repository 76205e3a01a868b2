"""create and run: the making of a container, up to the point where its program can be started.

The intent is written down before the first side effect, and every side effect follows from what is written,
so that `delete --force` can clear what a command that was killed left behind.

Implements runtime-spec, runtime.md "Lifecycle".
"""

from __future__ import annotations

import posix

from minicontainer.errors import Refused
from minicontainer.linux.capabilities import last_capability
from minicontainer.linux.cgroups import own_cgroup
from minicontainer.linux.process import start_time
from minicontainer.runtime.activation import pass_on_activation
from minicontainer.runtime.bundle import absolute, load_config
from minicontainer.runtime.caller import let_start, let_start_when_ready, secure_ourselves
from minicontainer.runtime.cgroup import Group, create_group, demand_controllers, planned_groups
from minicontainer.runtime.cgroup_paths import cgroup_path, root, whole_path
from minicontainer.runtime.container import SPEC_VERSION, Container, write_file
from minicontainer.runtime.entering import listens
from minicontainer.runtime.first_process import converse
from minicontainer.runtime.handover import Handover
from minicontainer.runtime.plan import InitPlan
from minicontainer.runtime.seccomp_cache import compiled_filter
from minicontainer.runtime.spawn import spawn
from minicontainer.runtime.status import timestamp
from minicontainer.trace.events import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.runtime.first_process import FirstProcess
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
        "pidfd_socket",
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
        self.pid_file = self.pidfd_socket = ""
        self.preserve_fds = 0
        self.no_pivot = False
        self.new_keyring = True
        self.systemd_cgroup = False
        self.use_cgroup = True


def create(request: CreateRequest) -> None:
    """Make a container whose first process waits to be started. On failure nothing is left."""
    bring_up(request, True)


def bring_up(
    request: CreateRequest, waits_for_start: bool, terminal: Terminal | None = None
) -> tuple[Container, FirstProcess]:
    """Make the container up to the point where its first process is ready and has its GO.

    On failure nothing is left.
    """
    secure_ourselves(request.preserve_fds)
    bundle = absolute(request.bundle)
    config, raw = load_config(bundle)
    plan = make_plan(request, config, bundle)
    console = connect_console(request, plan, terminal)
    container = Container(request.root, request.identifier)
    container.reserve()
    try:
        record_intent(container, plan, raw, bundle)
        group = make_cgroup(container, plan, config)
        handover = prepare(container, plan, console, waits_for_start)
        first = start_first_process(request, container, handover, group, config, terminal)
    except BaseException:
        undo(container)
        raise
    return container, first


def set_limits(
    container: Container, handover: Handover, first: FirstProcess, group: Group | None, config: dict[str, Any]
) -> None:
    """Set the cgroup's limits while the first process is at work; it waits before it is the program."""
    if group:
        from minicontainer.runtime.cgroup_limits import apply_resources

        apply_resources(group, (config.get("linux") or {}).get("resources") or {})
    elif handover.plan.systemd_cgroup:
        from minicontainer.runtime.scope import enter_scope

        enter_scope(container, first, config)
    if handover.plan.namespaces.uid_mappings:
        from minicontainer.runtime.cgroup_owner import give_group

        give_group(container.record["cgroup"], handover.plan)


def is_awaited_by_nobody(request: CreateRequest, handover: Handover) -> bool:
    """Tell whether a program may start as soon as its process is ready: no GO before is asked for."""
    plan = handover.plan
    hooks = plan.hooks.get("prestart") or plan.hooks.get("createRuntime")
    asks = hooks or plan.process.terminal or listens(plan.process)
    return not (handover.start_fd >= 0 or request.pid_file or request.pidfd_socket or asks)


def load_what_follows() -> None:
    """Import what `run` needs when the program has ended, while this process would only wait."""
    import minicontainer.runtime.destroy
    import minicontainer.runtime.waking  # noqa: F401


def undo(container: Container) -> None:
    """Remove what has been made of a container that did not come to be."""
    from minicontainer.runtime.destroy import clear, run_poststop

    run_poststop(container)
    clear(container)


def make_plan(request: CreateRequest, config: dict[str, Any], bundle: str) -> InitPlan:
    """Decide everything that can be decided before anything is made."""
    plan = InitPlan(config, bundle, request.identifier)
    plan.no_pivot = request.no_pivot
    plan.new_keyring = request.new_keyring
    plan.preserve_fds = request.preserve_fds
    if request.use_cgroup and request.systemd_cgroup:
        from minicontainer.runtime.systemd import scope_path

        plan.systemd_cgroup, plan.cgroup_path = True, scope_path(config, request.identifier)
    elif request.use_cgroup:
        plan.cgroup_path = cgroup_path(config, request.identifier, False) or ""
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
    if not request.console_socket:
        return -1
    from minicontainer.linux.terminals import connect_to

    return connect_to(request.console_socket)


@step
def record_intent(container: Container, plan: InitPlan, raw: bytes, bundle: str) -> None:
    """Write down what is going to be made, so that whatever happens it can be found and removed.

    runtime-spec, runtime.md "State"
    """
    me = posix.getpid()
    # A scope is the container's only when systemd has said so: another one may have its name.
    own_path = "" if plan.systemd_cgroup else plan.cgroup_path
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
        cgroup=own_path,
        cgroupsMade=planned_groups(own_path) if own_path else [],
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
    handover.bind_devices = plan.namespaces.has("user") or posix.geteuid() != 0
    if not plan.namespaces.has("cgroup"):
        handover.cgroup_source = whole_path(plan.cgroup_path or own_cgroup()) if root() else ""
    if plan.namespaces.has("user") or any(m.options.idmap or m.uid_mappings for m in plan.mounts):
        from minicontainer.runtime.idmap import copy_sources

        handover.rootfs_fd = copy_sources(plan, "" if plan.systemd_cgroup else handover.cgroup_source)
    if waits_for_start:
        handover.start_fd = make_fifo(f"{container.path}/start")
        handover.result_fd = make_fifo(f"{container.path}/result")
    return handover


def make_fifo(path: str) -> int:
    """Make a FIFO and hold both of its ends, so that opening it never waits."""
    posix.mkfifo(path, 0o600)
    return posix.open(path, posix.O_RDWR | posix.O_CLOEXEC)


def make_cgroup(container: Container, plan: InitPlan, config: dict[str, Any]) -> Group | None:
    """Make the cgroup; systemd makes its own later."""
    linux = config.get("linux") or {}
    resources = linux.get("resources") or {}
    if plan.systemd_cgroup:
        demand_controllers(resources)
        return None
    group = create_group(
        container.record["cgroup"] or None, resources, required=bool(linux.get("cgroupsPath"))
    )
    if group is None:
        container.record["cgroup"] = ""
    return group


def start_first_process(
    request: CreateRequest,
    container: Container,
    handover: Handover,
    group: Group | None,
    config: dict[str, Any],
    terminal: Terminal | None,
) -> FirstProcess:
    """Start the first process, put it on record, help it until it is ready, and say GO."""
    first = spawn(handover, group.directory if group else -1)
    try:
        container.save(pid=first.pid, startTime=start_time(first.pid))
        set_limits(container, handover, first, group, config)
        ahead = is_awaited_by_nobody(request, handover)
        if ahead:
            let_start_when_ready(request, first, terminal)
        if handover.start_fd < 0:
            load_what_follows()
        help_until_ready(container, handover, first, config)
        if not ahead:
            let_start(request, first, terminal)
    except BaseException:
        first.kill()
        raise
    finally:
        for fd in (handover.start_fd, handover.result_fd, handover.console_fd, handover.rootfs_fd):
            if fd >= 0:
                posix.close(fd)
    return first


def help_until_ready(
    container: Container, handover: Handover, first: FirstProcess, config: dict[str, Any]
) -> None:
    """Do what the first process asks for: run hooks on the host's side, hand over the filter's listener."""
    state = {**handover.state, "status": "creating", "pid": first.pid}

    def on_hooks() -> None:
        from minicontainer.runtime.hooks import run_hooks

        for kind in ("prestart", "createRuntime"):
            if handover.plan.hooks.get(kind):
                run_hooks(kind, handover.plan.hooks[kind], state, container.record["bundle"])

    def on_listener(number: int) -> None:
        from minicontainer.runtime.seccomp_listener import hand_over_listener

        hand_over_listener(first, number, {**state, "status": "created"}, config)

    converse(first, on_hooks, on_listener)
