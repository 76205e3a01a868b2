"""Other programs, for what is not ours to do: ps(1), newuidmap(1).

Cold. The only place besides `process` that starts one; its environment is small and its output taken whole.

See subprocess; newuidmap(1), ps(1).
"""

from __future__ import annotations

import posix
import subprocess

from minicontainer.errors import Error, Unsupported

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # callers such as conmon give none


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
