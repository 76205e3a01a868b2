"""The commands that make a container: create, run.

See runc(8) "create", "run"; runtime-spec, runtime.md "Operations".
"""

from __future__ import annotations

from minicontainer.errors import Error, SpecError
from minicontainer.runtime.caller import absolute_path, listening_fds, preserved
from minicontainer.runtime.first_process import wait_for_program
from minicontainer.runtime.foreground import Terminal, wait_for_end
from minicontainer.runtime.lifecycle import CreateRequest, bring_up, create, undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minicontainer.runtime.container import Container
    from minicontainer.runtime.first_process import FirstProcess
    from minicontainer.runtime.options import CommandLine


def create_request(line: CommandLine) -> CreateRequest:
    """Read what `create` and `run` are asked for from the command line."""
    identifier = line.operands[0]
    options = line.options
    request = CreateRequest(line.settings["root"], identifier, options["bundle"] or ".")
    request.console_socket = options["console-socket"]
    request.pid_file = absolute_path(options["pid-file"])
    request.pidfd_socket = options["pidfd-socket"]
    request.preserve_fds = preserved(options["preserve-fds"]) + listening_fds()
    request.no_pivot = options["no-pivot"]
    request.new_keyring = not options["no-new-keyring"]
    manager = line.settings["cgroup-manager"]
    if manager not in ("", "cgroupfs", "systemd", "disabled"):
        raise SpecError("--cgroup-manager", f'"{manager}" is none of cgroupfs, systemd and disabled')
    request.systemd_cgroup = line.settings["systemd-cgroup"] or manager == "systemd"
    request.use_cgroup = manager != "disabled"
    return request


def create_command(line: CommandLine) -> int:
    """Create a container; its program waits for `start`."""
    create(create_request(line))
    return 0


def run_command(line: CommandLine) -> int:
    """Create a container and start its program; unless detached, stay until it ends, then delete all."""
    return run_container(create_request(line), line.options["detach"], line.options["keep"])


def run_container(
    request: CreateRequest,
    detach: bool = False,
    keep: bool = False,
    last_look: Callable[[Container], None] | None = None,
) -> int:
    """Run a container as `run` does; returns the program's exit code (128 + n for a signal).

    `last_look` is called when the program has ended, before anything is removed.
    """
    terminal = None if detach or request.console_socket else Terminal()
    container, first = bring_up(request, False, terminal)
    try:
        wait_for_program(first)
    except BaseException:
        abandon(container, first)
        raise
    from minicontainer.runtime.destroy import clear_rest, end_processes, run_poststop
    from minicontainer.runtime.waking import run_poststart

    container.unlock()
    try:
        run_poststart(container)
    except Error:
        first.reap()
        raise
    if detach:
        return 0
    code = terminal.relay_until_end(first) if terminal and terminal.master >= 0 else wait_for_end(first)
    if last_look:
        last_look(container)
    # Not by its name: `delete --force` may have removed it, and somebody made another one of that name.
    if not keep and container.lock_again():
        end_processes(container)
        run_poststop(container)
        clear_rest(container)
    return code


def abandon(container: Container, first: FirstProcess) -> None:
    """Undo a container whose program could not be started."""
    first.kill()
    undo(container)
