"""Hooks: programs that the configuration wants to be run at six points of a container's life.

A hook gets the container's state on stdin, exactly the environment that is written for it, the bundle as its
working directory and no descriptor of ours. Its time is bounded when it says so.

Implements runtime-spec, config.md "POSIX-platform Hooks", and runtime.md "Lifecycle".
"""

from __future__ import annotations

import posix
import select

from minicontainer.errors import Error
from minicontainer.linux.process import SIGCHLD, clone3, execve, pidfd_send_signal
from minicontainer.runtime.entering import reset_signals
from minicontainer.trace.events import step, witnesses
from minicontainer.trace.json_lines import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIGKILL = 9
LONGEST_POLL = 2**31 - 1  # milliseconds: poll(2) takes an int
QUOTED = 4096  # how much of a failing hook's stderr is shown


@step
def run_hooks(kind: str, hooks: list[dict[str, Any]], state: dict[str, Any], folder: str) -> None:
    """Run the hooks that the configuration wants at this point.

    runtime-spec, config.md "POSIX-platform Hooks"
    """
    for number, hook in enumerate(hooks):
        problem = run_hook(hook, state, folder)
        if problem:
            raise Error(f"error running {kind} hook #{number}: {problem}")


def run_hook(hook: dict[str, Any], state: dict[str, Any], folder: str) -> str:
    """Run one hook to its end; returns what went wrong, or nothing."""
    given = memory_file("hook-stdin", dumps(state).encode())
    said = memory_file("hook-stderr", b"")
    pid, handle = clone3(0, SIGCHLD, -1)
    if pid == 0:
        become_hook(hook, state, (given, said), folder)
    try:
        status = wait_for(pid, handle, hook.get("timeout"))
        if status is None:
            return f"timed out after {hook['timeout']} seconds"
        if status == 0:
            return ""
        quoted = posix.pread(said, QUOTED, 0).decode("utf-8", "replace").strip().replace("\n", " ")
        return f"{ending(status)}, stderr: {quoted}"
    finally:
        posix.close(handle)
        posix.close(given)
        posix.close(said)


def memory_file(name: str, content: bytes) -> int:
    """Make a file without a name that holds `content`, positioned at its start."""
    fd = posix.memfd_create(name, posix.MFD_CLOEXEC)
    posix.write(fd, content)
    posix.lseek(fd, 0, 0)
    return fd


def become_hook(hook: dict[str, Any], state: dict[str, Any], streams: tuple[int, int], folder: str) -> None:
    """Turn this fresh child into the hook. Does not return."""
    for witness in witnesses:
        witness.role = "hook"
    try:
        given, said = streams
        posix.dup2(given, 0)
        # First where its errors go: from here on ours go there as well.
        posix.dup2(said, 2)
        posix.dup2(output_of_hooks(state, "stdout") or posix.open("/dev/null", posix.O_WRONLY), 1)
        posix.dup2(output_of_hooks(state, "stderr") or said, 2)
        if folder:
            posix.chdir(folder)
        reset_signals()
        variables = dict(
            [(entry.partition("=")[0], entry.partition("=")[2]) for entry in hook.get("env") or []]
        )
        execve(hook["path"], hook.get("args") or [hook["path"]], variables)
    except OSError as problem:
        what = problem.filename or hook["path"]
        posix.write(2, f"{what}: {posix.strerror(problem.errno or 0)}".encode())
    finally:
        posix._exit(127)


def output_of_hooks(state: dict[str, Any], stream: str) -> int:
    """Open the file to which an annotation lets a stream of all hooks be appended; 0 without one."""
    path = (state.get("annotations") or {}).get(f"run.oci.hooks.{stream}")
    if not path:
        return 0
    return posix.open(path, posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC, 0o600)


def wait_for(pid: int, handle: int, timeout: float | None) -> int | None:
    """Wait for a hook; one that takes longer than `timeout` seconds is killed, and None returned."""
    watch = select.poll()
    watch.register(handle, select.POLLIN)
    if not watch.poll(min(timeout * 1000, LONGEST_POLL) if timeout else None):
        pidfd_send_signal(handle, SIGKILL)
        posix.waitpid(pid, 0)
        return None
    return posix.waitpid(pid, 0)[1]


def ending(status: int) -> str:
    """Say how a process ended."""
    if posix.WIFSIGNALED(status):
        return f"signal {posix.WTERMSIG(status)}"
    return f"exit status {posix.WEXITSTATUS(status)}"
