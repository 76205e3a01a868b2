"""minicontainer-runtime: from a command line to one call of the runtime, and from an exception to one line.

What the commands need is imported where they are called: a `state` must not pay for a `create`.

Implements runc's command line; see runc(8) and docs/runtime.md.
"""

from __future__ import annotations

import fcntl
import posix

from minicontainer.errors import Error, KernelError, SpecError
from minicontainer.runtime.log import fail, log
from minicontainer.runtime.options import CommandLine, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ENTERING = ("create", "run", "exec")  # commands that make a process enter a container
EXEC_FAILURE = 255
F_SETFD, F_GETFL, FD_CLOEXEC = 2, 3, 1


def main(words: list[str]) -> int:
    """Run one command of the runtime; returns the exit code."""
    failure = 1
    try:
        line = parse(words)
        failure = EXEC_FAILURE if line.command == "exec" else 1
        return run_command(line)
    except Error as problem:
        fail(told(problem))
        return failure
    except OSError as problem:
        # Python has some problems of its own making, without a number: "AF_UNIX path too long".
        reason = posix.strerror(problem.errno).lower() if problem.errno else str(problem)
        fail(f"{problem.filename or line.command}: {reason}")
        return failure


def told(problem: Error) -> str:
    """Write a failure with its hint; of a refused system call the cause is looked for."""
    hint = problem.hint
    if isinstance(problem, KernelError):
        hint = hint or cause(problem)
    return f"{problem}: {hint}" if hint else str(problem)


def cause(problem: KernelError) -> str:
    """Find out why the kernel refused, from the table of causes; nothing when it is not known."""
    from minicontainer.linux.causes import hint_for

    return hint_for(problem)


def run_command(line: CommandLine) -> int:
    """Choose the function for the command."""
    settings = line.settings
    log.path, log.format, log.debugging = settings["log"], settings["log-format"], settings["debug"]
    if log.format not in ("text", "json"):
        raise Error(f"invalid log-format: {log.format}", "text and json are known")
    if settings["help"] or settings["version"] or not line.command:
        from minicontainer.runtime.help import show

        return show(line)
    if settings["trace-fd"]:
        watch(settings["trace-fd"])
    if line.command in ENTERING:
        from minicontainer.runtime.interpreter import protect_interpreter

        protect_interpreter()
    if settings["trace-fd"]:
        keep_from_program(int(settings["trace-fd"]))
    settings["root"] = settings["root"] or default_root()
    return function_for(line.command)(line)


def function_for(command: str) -> Callable[[CommandLine], int]:
    """Import what a command needs, and no more."""
    if command in ("create", "run"):
        from minicontainer.runtime import command_create as module
    elif command == "start":
        from minicontainer.runtime import command_start as module  # type: ignore[no-redef]
    elif command == "exec":
        from minicontainer.runtime import command_exec as module  # type: ignore[no-redef]
    elif command in ("kill", "delete", "pause", "resume"):
        from minicontainer.runtime import command_stop as module  # type: ignore[no-redef]
    elif command == "update":
        from minicontainer.runtime import command_update as module  # type: ignore[no-redef]
    else:
        from minicontainer.runtime import command_show as module  # type: ignore[no-redef]
    function: Callable[[CommandLine], int] = getattr(module, command + "_command")
    return function


def watch(descriptor: str) -> None:
    """Tell everything that happens from here on to the trace file behind a descriptor. Raises SpecError."""
    from minicontainer.trace.events import witnesses
    from minicontainer.trace.file import TraceFile

    try:
        readable_only = not fcntl.fcntl(int(descriptor), F_GETFL) & (posix.O_WRONLY | posix.O_RDWR)
    except (ValueError, OverflowError, OSError):
        readable_only = True
    if readable_only:
        raise SpecError("--trace-fd", f'"{descriptor}" is not a descriptor that is open for writing')
    witnesses.append(TraceFile(int(descriptor)))


def default_root() -> str:
    """Say where containers' state lies: for root in /run, for others where the system gives them a place."""
    variables: dict[Any, Any] = posix.environ
    runtime = variables.get(b"XDG_RUNTIME_DIR", b"").decode()
    if posix.geteuid() == 0 and not (runtime and is_root_of_a_user_namespace()):
        return "/run/minicontainer-runtime"
    return (runtime or f"/run/user/{posix.geteuid()}") + "/minicontainer-runtime"


def is_root_of_a_user_namespace() -> bool:
    """Tell whether this root is only the root of some user namespace (rootless podman)."""
    from minicontainer.linux.namespaces import in_user_namespace

    return in_user_namespace()


def keep_from_program(descriptor: int) -> None:
    """Let the user's program never see a descriptor."""
    fcntl.fcntl(descriptor, F_SETFD, FD_CLOEXEC)
