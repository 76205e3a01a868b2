"""The commands that bring a container to life: create, start, run.

See runc(8) "create", "start", "run"; runtime-spec, runtime.md "Operations".
"""

from __future__ import annotations

import posix

from minicontainer.errors import Error, SpecError
from minicontainer.runtime import lifecycle
from minicontainer.runtime.destroy import clear, end_processes, run_poststop
from minicontainer.runtime.foreground import Terminal, forward_signals, wait_for_end
from minicontainer.runtime.lifecycle import CreateRequest, bring_up, run_poststart, timestamp, write_pid_file
from minicontainer.runtime.spawn import wait_for_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.container import Container
    from minicontainer.runtime.options import CommandLine
    from minicontainer.runtime.spawn import FirstProcess


def create_request(line: CommandLine) -> CreateRequest:
    """Read what `create` and `run` are asked for from the command line."""
    identifier = line.operands[0]
    options = line.options
    request = CreateRequest(line.settings["root"], identifier, options["bundle"] or ".")
    request.console_socket = options["console-socket"]
    request.pid_file = absolute_path(options["pid-file"])
    request.preserve_fds = preserved(options["preserve-fds"])
    request.no_pivot = options["no-pivot"]
    request.new_keyring = not options["no-new-keyring"]
    request.systemd_cgroup = line.settings["systemd-cgroup"]
    request.use_cgroup = line.settings["cgroup-manager"] != "disabled"
    return request


def absolute_path(path: str) -> str:
    """Make a path absolute: the working directory may change before it is used."""
    return path if not path or path[:1] == "/" else f"{posix.getcwd()}/{path}"


def preserved(text: str) -> int:
    """Read `--preserve-fds`; LISTEN_FDS in our environment adds to it (sd_listen_fds(3))."""
    variables: dict[bytes, bytes] = posix.environ  # type: ignore[assignment]
    listening = variables.get(b"LISTEN_FDS", b"0")
    if not text.isdigit():
        raise SpecError("--preserve-fds", f'"{text}" is not a number')
    return int(text) + (int(listening) if listening.isdigit() else 0)


def create_command(line: CommandLine) -> int:
    """Create a container; its program waits for `start`."""
    lifecycle.create(create_request(line))
    return 0


def start_command(line: CommandLine) -> int:
    """Start the program of a created container."""
    lifecycle.start(line.settings["root"], line.operands[0])
    return 0


def run_command(line: CommandLine) -> int:
    """Create a container, start its program and, unless detached, stay until it ends and delete the container."""
    return run_container(create_request(line), line.options["detach"], line.options["keep"])


def run_container(request: CreateRequest, detach: bool = False, keep: bool = False) -> int:
    """Run a container as `run` does; returns the program's exit code (128 + n for a signal)."""
    terminal = None if detach or request.console_socket else Terminal()
    container, first = bring_up(request, False, terminal)
    try:
        if request.pid_file:
            write_pid_file(request.pid_file, first.pid)
        if terminal:
            terminal.receive()
            forward_signals(first, terminal.resize)
        container.save(created=timestamp())
        wait_for_program(first)
    except BaseException:
        abandon(container, first)
        raise
    container.unlock()
    try:
        run_poststart(container)
    except Error:
        first.reap()
        raise
    if detach:
        return 0
    code = terminal.relay_until_end(first) if terminal and terminal.master >= 0 else wait_for_end(first)
    if not keep:
        container.take_lock()
        end_processes(container)
        run_poststop(container)
        clear(container)
    return code


def abandon(container: Container, first: FirstProcess) -> None:
    """Undo a container whose program could not be started."""
    first.kill()
    run_poststop(container)
    clear(container)
