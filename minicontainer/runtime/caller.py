"""What the runtime owes to its caller: its descriptors kept from the container, and word of the new process.

See runc(8) "--preserve-fds", "--pid-file", "--pidfd-socket".
"""

from __future__ import annotations

import posix

from minicontainer.errors import SpecError
from minicontainer.linux.descriptors import close_on_exec_from
from minicontainer.linux.prctl import PR_SET_DUMPABLE, prctl
from minicontainer.runtime.channel import GO
from minicontainer.runtime.container import write_at_once
from minicontainer.runtime.foreground import forward_signals
from minicontainer.trace.events import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.execute import ExecRequest
    from minicontainer.runtime.first_process import FirstProcess
    from minicontainer.runtime.foreground import Terminal
    from minicontainer.runtime.lifecycle import CreateRequest


@step
def secure_ourselves(preserve_fds: int) -> None:
    """Keep the caller's descriptors from the container, and other processes out of this one's memory.

    close_range(2), prctl(2) "PR_SET_DUMPABLE"
    """
    for fd in range(3, 3 + preserve_fds):
        try:
            posix.fstat(fd)
        except OSError:
            raise SpecError("--preserve-fds", f"descriptor {fd} is not open") from None
    if posix.geteuid() == 0:
        # For others a process that is not dumpable has files in /proc that are root's: no map could be
        # written.
        prctl(PR_SET_DUMPABLE, 0)
    occupy_standard_streams()
    close_on_exec_from(3 + preserve_fds)


def occupy_standard_streams() -> None:
    """Open /dev/null for each standard stream that the caller has closed, before ours gets there.

    What lies at 0, 1 or 2 is the program's: it would be given away, or a terminal be put in its place.
    """
    for stream in (0, 1, 2):
        try:
            posix.fstat(stream)
        except OSError:
            posix.open("/dev/null", posix.O_RDWR)  # gets the lowest number that is free: this one
            posix.set_inheritable(stream, True)


def let_start(request: CreateRequest | ExecRequest, first: FirstProcess, terminal: Terminal | None) -> None:
    """Do what must be done before the program starts, then say GO. `terminal` is given in the foreground."""
    tell_caller(request, first)
    if terminal:
        terminal.receive()
        forward_signals(first, terminal.resize if terminal.master >= 0 else None)
    first.channel.say(GO)


def let_start_when_ready(
    request: CreateRequest | ExecRequest, first: FirstProcess, terminal: Terminal | None
) -> None:
    """Say GO before the process is ready, where nobody waits for that: it need not wait for us then."""
    try:
        let_start(request, first, terminal)
    except BrokenPipeError:
        return  # it has died, and its last words are still to be heard


def tell_caller(request: CreateRequest | ExecRequest, first: FirstProcess) -> None:
    """Say which process it is, as the caller wants it: by its pid in a file, by a pidfd in a socket."""
    if request.pid_file:
        write_pid_file(request.pid_file, first.pid)
    if request.pidfd_socket:
        from minicontainer.linux.terminals import connect_to, send_descriptor

        connection = connect_to(request.pidfd_socket)
        try:
            send_descriptor(connection, first.pidfd, b"pidfd")
        finally:
            posix.close(connection)


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid so that a reader finds all of it or nothing."""
    write_at_once(path, str(pid).encode(), 0o666)  # less the caller's umask


def absolute_path(path: str) -> str:
    """Make a path absolute: the working directory may change before it is used."""
    return path if not path or path[:1] == "/" else f"{posix.getcwd()}/{path}"


def preserved(text: str) -> int:
    """Read `--preserve-fds`. Raises SpecError."""
    if not (text.isascii() and text.isdigit()):
        raise SpecError("--preserve-fds", f'"{text}" is not a number')
    return int(text)


def listening_fds() -> int:
    """Say how many sockets a service manager has given us (sd_listen_fds(3)): a new container gets them."""
    variables: dict[bytes, bytes] = posix.environ
    listening = variables.get(b"LISTEN_FDS", b"")
    return int(listening) if listening.isdigit() else 0
