"""Processes that work on one store at once, and some that die at a moment that is chosen for them."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable


def start(work: Callable[[], object]) -> int:
    """Fork a process that does the work and exits with 0, or with 1 and a traceback; gives its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def end(pid: int) -> int:
    """Wait for a process; gives its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def start_mortal(work: Callable[[], object], moment: int) -> int:
    """Fork a process that is killed when it opens, renames, removes, ... a file for the `moment`th time.

    The moments are Python's audit events about files; the process is killed before the call is made.
    """

    def mortal() -> None:
        left = moment

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event == "open" or event.startswith(("os.", "fcntl.", "tempfile.")):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        work()

    return start(mortal)
