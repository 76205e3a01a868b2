"""start: the first process, which waits since `create`, becomes the user's program.

Implements runtime-spec, runtime.md "Start"; see fifo(7).
"""

from __future__ import annotations

import posix
import select

from minicontainer.errors import Conflict, Error
from minicontainer.runtime.container import CREATED, STOPPED, Container, open_container
from minicontainer.runtime.status import oci_state
from minicontainer.trace.events import step


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
    if not container.config_mentions(b"poststart"):
        return
    hooks = (container.config().get("hooks") or {}).get("poststart")
    if not hooks:
        return
    from minicontainer.runtime.hooks import run_hooks

    try:
        run_hooks("poststart", hooks, oci_state(container, "running"), container.record["bundle"])
    except Error:
        from minicontainer.runtime.destroy import clear, run_poststop

        run_poststop(container)
        clear(container)
        raise
