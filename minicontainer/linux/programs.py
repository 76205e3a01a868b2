"""Other programs, for what is not ours to do: ps(1), newuidmap(1).

Cold. The only place besides `process` that starts one; its environment is small and its output taken whole.

See subprocess; newuidmap(1), ps(1).
"""

from __future__ import annotations

import posix
import shutil
import subprocess

from minicontainer.errors import Error, Unsupported

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # callers such as conmon give none


def start(
    command: list[str], *, outputs: int, stdin: int = subprocess.DEVNULL, pass_fds: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Start a program that serves us and must not outlive us; its outputs go to the descriptor `outputs`.

    The kernel kills it when the *thread* that started it ends: setpriv(1), PR_SET_PDEATHSIG(2const); no code
    of ours runs between fork and exec, so threads may call this. Raises Unsupported when it is not installed.
    """
    if shutil.which(command[0]) is None:
        raise Unsupported(f"the program {command[0]} is not installed")
    try:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            stdin=stdin,
            stdout=outputs,
            stderr=outputs,
            pass_fds=pass_fds,
            start_new_session=True,  # Ctrl-C is ours; the program is told in its own words
        )
    except OSError as problem:
        raise Error(f"{command[0]} cannot be started: {posix.strerror(problem.errno or 0).lower()}") from None


def start_alone(command: list[str], *, outputs: int, pass_fds: tuple[int, ...] = ()) -> None:
    """Start a program that lives on when we end, in a session of its own. Raises Error."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=outputs,
            stderr=outputs,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as problem:
        raise Error(f"{command[0]} cannot be started: {posix.strerror(problem.errno or 0).lower()}") from None
    process.returncode = 0  # nobody waits for it: it becomes a child of process 1


def run(command: list[str]) -> str:
    """Run a program to its end and return what it printed.

    Raises Unsupported when it is not installed, Error with its own words when it fails.
    """
    variables = {"PATH": PATH, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=variables, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise Unsupported(
            f"the program {command[0]} is not installed", f"it is looked for in {PATH}"
        ) from None
    except OSError as problem:
        raise Error(f"{command[0]} cannot be started: {posix.strerror(problem.errno or 0).lower()}") from None
    if done.returncode:
        said = done.stderr.strip().replace("\n", " ")
        raise Error(f"{command[0]} failed with exit status {done.returncode}: {said}")
    return done.stdout


def converse(command: list[str], said: bytes) -> tuple[int, bytes]:
    """Run a program of the user's, as the user would: give it `said`, return its exit status and its answer.

    What it has to say besides goes where our own errors go. Raises Unsupported when it is not installed.
    """
    try:
        done = subprocess.run(command, input=said, stdout=subprocess.PIPE, check=False)
    except FileNotFoundError:
        raise Unsupported(f"the program {command[0]} is not installed") from None
    except OSError as problem:
        raise Error(f"{command[0]} cannot be started: {posix.strerror(problem.errno or 0).lower()}") from None
    return done.returncode, done.stdout
