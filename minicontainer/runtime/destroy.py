"""Making a container be nothing again: from what is on disk and in the kernel, never from memory.

Every step can be repeated and skips what is gone, so it does not matter at which point whoever made the
container was killed, or whether two clear it at once. Processes die by pidfd and by cgroup; nobody polls,
nobody sleeps.

Implements runtime-spec, runtime.md "Delete"; see cgroups(7) "cgroup.kill", pidfd_send_signal(2).
"""

from __future__ import annotations

import errno
import posix
import select
import time

from minicontainer.errors import Conflict, Error, KernelError, NotFound
from minicontainer.linux.process import pidfd_send_signal
from minicontainer.runtime.cgroup import remove_group
from minicontainer.runtime.cgroup_paths import cgroup_path
from minicontainer.runtime.cgroup_processes import kill_group, processes
from minicontainer.runtime.container import STOPPED, Container, remove_file
from minicontainer.trace.events import step

SIGKILL = 9
PATIENCE = 30.0  # seconds that a killed process may take to end
SLICE = 200  # milliseconds between two looks at the cgroup, when it takes long


def clear(container: Container) -> None:
    """Remove everything that belongs to a container; it need not be whole, nor there at all."""
    end_processes(container)
    clear_rest(container)


def clear_rest(container: Container) -> None:
    """Remove what is left of a container whose processes have ended."""
    if container.record.get("cgroup"):
        remove_cgroup(container)
    forget(container)


@step
def end_processes(container: Container) -> None:
    """Make sure that nothing of the container runs any more, whoever was started in it.

    cgroups(7) "cgroup.kill", pidfd_open(2)
    """
    try:
        handle = container.open_process()
    except (Conflict, KernelError):
        handle = -1
    if container.record.get("cgroup") and owns_cgroup(container):
        kill_group(container.record["cgroup"])
    if handle < 0:
        return
    try:
        pidfd_send_signal(handle, SIGKILL)
    except KernelError as problem:
        if problem.errno != errno.ESRCH:
            raise
    wait_for_end(container, handle)
    posix.close(handle)


def wait_for_end(container: Container, handle: int) -> None:
    """Wait until a killed first process has ended, or has at least left its cgroup.

    The first process of a PID namespace ends only after everybody in it has been collected by its parent; a
    parent outside that forgets to (of a process that `exec` has started) must not keep the container.
    """
    watch = select.poll()
    watch.register(handle, select.POLLIN)
    deadline = time.monotonic() + PATIENCE
    while not watch.poll(SLICE):
        if container.record.get("cgroup") and not processes(container.record["cgroup"]):
            return
        if time.monotonic() > deadline:
            raise Error(
                f"the first process of {container.identifier} does not end",
                f"see /proc/{container.pid}/stack",
            )


def owns_cgroup(container: Container) -> bool:
    """Tell whether what runs in the cgroup is the container's, not somebody's whose cgroup was merely named.

    It is when the group was missing before, or once `create` has found it empty and put a process into it.
    """
    return bool(container.pid) or container.record["cgroup"] in (container.record.get("cgroupsMade") or [])


def remove_cgroup(container: Container) -> None:
    """Remove the container's cgroup; one that systemd has made is its to remove."""
    path, made = container.record["cgroup"], container.record.get("cgroupsMade") or []
    if container.record.get("scope"):
        from minicontainer.runtime.scope import stop_scope

        made = [] if stop_scope(container) else [path]
    remove_group(path, made)


def forget(container: Container) -> None:
    """Remove the container's directory; state.json goes last, so that a second try knows what is left."""
    try:
        names = posix.listdir(container.path)
    except FileNotFoundError:
        return
    for name in sorted(names, key=lambda name: name == "state.json"):
        remove_file(f"{container.path}/{name}")
    try:
        posix.rmdir(container.path)
    except FileNotFoundError:
        return


def run_poststop(container: Container) -> None:
    """Run the poststop hooks; one that fails is logged by the caller's log and does not stop the others."""
    try:
        if not container.config_mentions(b"poststop"):
            return
        config = container.config()
    except (OSError, Error):
        return  # killed before the configuration was kept: no hook has run, none needs to be undone
    hooks = (config.get("hooks") or {}).get("poststop")
    if not hooks:
        return
    from minicontainer.runtime.hooks import run_hooks
    from minicontainer.runtime.log import warn
    from minicontainer.runtime.status import oci_state

    for hook in hooks:
        try:
            run_hooks("poststop", [hook], oci_state(container, STOPPED), container.record["bundle"])
        except Error as problem:
            warn(str(problem))


def delete(root: str, identifier: str, force: bool) -> None:
    """Delete a stopped container; with `force` one in any state, a broken one, and one that is not there."""
    container = Container(root, identifier)
    try:
        container.take_lock()
        container.load()
    except NotFound:
        if not force:
            raise
        forget(container)
        return
    except Error:
        if not force:
            raise
        recover_record(container)
        clear(container)
        return
    delete_known(container, force)


def recover_record(container: Container) -> None:
    """Replace a damaged record by what id and configuration tell: the cgroup, if it is there."""
    try:
        config = container.config()
    except (OSError, Error):
        config = {}
    asked = (config.get("linux") or {}).get("cgroupsPath") or ""
    systemd = asked.count(":") == len("::") and "/" not in asked
    path = cgroup_path(config, container.identifier, systemd)
    container.record = {"cgroup": path, "cgroupsMade": [path]}
    if systemd:
        container.record["scope"] = path.rpartition("/")[2]


def delete_known(container: Container, force: bool) -> None:
    """Delete a container whose record could be read."""
    status = container.status()
    if not force and status not in (STOPPED, "created"):
        raise Conflict(
            f"cannot delete container {container.identifier} that is not stopped: {status}",
            "stop it first, or use --force",
        )
    # Processes first: hooks of poststop run after the container's program has ended.
    end_processes(container)
    run_poststop(container)
    clear_rest(container)
