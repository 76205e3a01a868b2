"""What every process does on its way into a container, the first one and those of `exec` alike.

Once inside, files are the container's: nothing may be imported, and nobody may look into this process.

See prctl(2) "PR_SET_DUMPABLE", seccomp(2), signal(7).
"""

from __future__ import annotations

import _signal
import posix
import sys

from minicontainer.errors import KernelError
from minicontainer.linux.credentials import setgroups
from minicontainer.linux.prctl import PR_SET_DUMPABLE, prctl
from minicontainer.linux.process import CLONE_PARENT, clone3
from minicontainer.linux.seccomp import SECCOMP_FILTER_FLAG_NEW_LISTENER
from minicontainer.runtime.channel import GO, LISTEN, PID, with_number
from minicontainer.runtime.identity import load_seccomp_filter
from minicontainer.trace.events import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.channel import Channel
    from minicontainer.runtime.process_plan import ProcessPlan

FAILURE = 1


def expect_go(channel: Channel) -> None:
    """Wait for the runtime; without it there is nobody who could use this process."""
    if channel.hear() != GO:
        posix._exit(FAILURE)


def be_born_of_stage(flags: int, channel: Channel) -> None:
    """Make the process that lives on, and end the stage with that; returns in the new process only."""
    told, teller = posix.pipe2(posix.O_CLOEXEC)
    pid, _ = clone3(flags | CLONE_PARENT, 0, -1)
    if pid:
        try:
            channel.say(with_number(PID, pid))
            posix.write(teller, GO)
        finally:
            posix._exit(0)
    posix.close(teller)
    # On the same pipe nothing may come before the pid. A stage that is killed before takes us along.
    if posix.read(told, 1) != GO:
        posix._exit(FAILURE)
    posix.close(told)


@step
def close_to_others() -> None:
    """Let no process of the container look into this one, or take from it what it holds open.

    prctl(2) "PR_SET_DUMPABLE", CVE-2016-9962
    """
    prctl(PR_SET_DUMPABLE, 0)


def drop_groups() -> None:
    """Leave the caller's groups behind; where a user namespace may not, they mean nothing."""
    try:
        setgroups([])
    except KernelError:
        return


def close_the_door() -> None:
    """Let nothing be imported any more: from here on a module would come from the container's own files."""
    # What the path finder has remembered of directories is left where it is: without the finder nobody reads
    # it, and to free it would copy every page of it.
    in_memory = [finder for finder in sys.meta_path if getattr(finder, "__name__", "") == "InMemory"]
    sys.meta_path[:] = in_memory  # hot_start.py
    sys.__dict__.get("path", []).clear()  # Python's own finders are there only if somebody has asked for them


def end_when_asked() -> None:
    """End at a signal that asks for it: the kernel keeps from process 1 what it has no handler for.

    It is so until execve(2), which resets handlers; a signal that the caller ignores stays ignored, by the
    program as well.
    """
    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM):
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, lambda number, _frame: posix._exit(128 + number))


def reset_signals() -> None:
    """Undo what CPython does to signals: it ignores SIGPIPE and SIGXFSZ, and a program would inherit that."""
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def listens(process: ProcessPlan) -> bool:
    """Tell whether the filter has a listener, which must get its descriptor before the program starts."""
    return bool(process.seccomp_flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)


def load_filter(process: ProcessPlan, channel: Channel) -> None:
    """Load the filter; its listener, if any, is fetched by the runtime."""
    listener = load_seccomp_filter(process.seccomp, process.seccomp_flags)
    if listens(process):
        channel.say(with_number(LISTEN, listener))
        expect_go(channel)
        posix.close(listener)
