"""What the user reads when something fails, and the exit code that goes with it.

`run` has docker's codes: 127 if the program is not there, 126 if it cannot be executed, 125 for everything
that went wrong before. All other commands exit with 1.

See docker-run(1), "Exit Status"; errno(3).
"""

from __future__ import annotations

import errno
import sys

from minicontainer.errors import Error, KernelError

ORDINARY, NOT_STARTED, NOT_EXECUTABLE, NO_SUCH_PROGRAM = 1, 125, 126, 127


def report(problem: Error, command: str) -> int:
    """Print one line that says what failed and one with the hint; returns the exit code."""
    print(f"minicontainer: {on_one_line(describe(problem))}", file=sys.stderr)  # noqa: T201 - this is the one place
    hint = problem.hint or cause(problem)
    if hint:
        print(f"hint: {on_one_line(hint)}", file=sys.stderr)  # noqa: T201
    return exit_code(problem) if command == "run" else ORDINARY


def describe(problem: Error) -> str:
    """Say what failed, with the step of the story in which it did."""
    step = getattr(problem, "step", "")
    if not step:
        return str(problem)
    from minicontainer.explain.narration import title

    return f"{title(step).rstrip('.')}: {problem}"


def on_one_line(text: str) -> str:
    """Write as escapes what would steer a terminal: names in a message may be a stranger's."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def cause(problem: Error) -> str:
    """Find the likely cause of a refused system call on this machine."""
    if not isinstance(problem, KernelError):
        return ""
    from minicontainer.linux.causes import hint_for

    return hint_for(problem)


def exit_code(problem: Error) -> int:
    """Choose docker's exit code for a container that could not be started."""
    if isinstance(problem, KernelError) and problem.call in ("execve", "execveat"):
        return NO_SUCH_PROGRAM if problem.errno == errno.ENOENT else NOT_EXECUTABLE
    # The runtime's words for a program that cannot be started are fixed: podman reads them the same way.
    if problem.message.startswith("exec: "):
        found = "permission denied" in problem.message
        return NOT_EXECUTABLE if found else NO_SUCH_PROGRAM
    return NOT_STARTED
