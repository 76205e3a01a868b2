"""The container's terminal: made on the container's own devpts, its master handed to the caller.

    caller (conmon, shim)  <-- console socket: master --  first process  -- slave --> 0, 1, 2, /dev/console

Implements runtime-spec, config.md "terminal", "consoleSize"; runc's docs/terminals.md; see pty(7), unix(7).
"""

from __future__ import annotations

import posix

from minicontainer.errors import KernelError, Refused, SpecError
from minicontainer.linux.paths import DEVPTS_SUPER_MAGIC, O_DIRECTORY, O_PATH, filesystem_magic, open_in_root
from minicontainer.linux.terminals import (
    give_terminal,
    open_terminal,
    send_descriptor,
    set_window_size,
    take_terminal,
)
from minicontainer.runtime.devices import console_target
from minicontainer.runtime.identity import STANDARD_STREAMS
from minicontainer.runtime.mounting import attach, copy_of_tree
from minicontainer.trace.events import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.process_plan import ProcessPlan


@step
def make_console(root: int, process: ProcessPlan, socket: int) -> None:
    """Make a terminal inside the container, and hand its other end to the caller.

    pty(7), devpts
    """
    slave = hand_over_terminal(root, process, socket)
    # Bound from this process's own descriptor: the name /dev/pts/0 could be a link by now (CVE-2025-52565).
    copy = copy_of_tree(f"/proc/self/fd/{slave}", False)
    target = console_target(root)
    attach(copy, target)
    posix.close(copy)
    posix.close(target)
    use_terminal(slave)


def hand_over_terminal(root: int, process: ProcessPlan, socket: int) -> int:
    """Make a terminal on the devpts at /dev/pts, send its master through the socket; returns the slave."""
    try:
        devpts = open_in_root(root, "/dev/pts", O_PATH | O_DIRECTORY)
    except KernelError:
        raise SpecError("mounts", "a terminal needs a devpts mounted on /dev/pts") from None
    if filesystem_magic(devpts) != DEVPTS_SUPER_MAGIC:
        raise Refused("/dev/pts is not a devpts file system: no terminal can be made there")
    master, slave = open_terminal(devpts)
    posix.close(devpts)
    if process.console_size:
        set_window_size(master, *process.console_size)
    send_descriptor(socket, master)
    posix.close(master)
    posix.close(socket)
    give_terminal(slave, process.uid)
    return slave


def use_terminal(slave: int) -> None:
    """Make the terminal this session's own, and its standard streams."""
    take_terminal(slave)
    for stream in STANDARD_STREAMS:
        posix.dup2(slave, stream)
    if slave not in STANDARD_STREAMS:
        posix.close(slave)
