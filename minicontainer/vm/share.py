"""A directory of the host inside the guests: virtiofsd serves it, one process for each node.

Read-only is kept on the host's side: virtiofsd itself refuses to write, or, where it is too old to (QEMU
7.2's, for root only), it is started on a read-only bind mount in a mount namespace of its own. What the
guest's mount says is a courtesy to its programs.

See virtiofsd(1); mount(8), "bind mounts"; mount_namespaces(7); QEMU's docs/interop/vhost-user.rst.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen, TimeoutExpired  # noqa: TID251 - only the types: programs.start makes them

from minicontainer.errors import Error, NotFound, Unsupported
from minicontainer.linux import programs
from minicontainer.vm import qemu_newer
from minicontainer.vm.nodes import Share

RUST = Path("/usr/libexec/virtiofsd")  # Debian's package virtiofsd
OLD = Path("/usr/lib/qemu/virtiofsd")  # QEMU 7.2's own: it needs root, and knows nothing of read-only
SECONDS = 10.0
END_SECONDS = 2.0
GLANCE = 0.01
READ_ONLY_VIEW = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def parse(text: str) -> Share:
    """Read DIR or DIR:ro. Raises NotFound, Error."""
    directory, colon, mode = text.rpartition(":")
    if not colon or (mode not in ("ro", "rw") and Path(text).exists()):
        directory, mode = text, "rw"
    if mode not in ("ro", "rw"):
        raise Error(f"--share {text}: what follows the colon is ro or rw")
    path = Path(directory).absolute()
    if not path.is_dir():
        raise NotFound(f"--share {directory}: there is no such directory")
    if not os.access(path, os.R_OK | os.X_OK):
        raise Error(f"--share {directory}: you may not read it")
    return Share(directory=str(path.resolve()), read_only=mode == "ro")


def find_server(tell: Callable[[str], None]) -> list[str]:
    """Find the words that start a virtiofsd. Raises Unsupported."""
    if RUST.exists():
        return [str(RUST)]
    try:
        return qemu_newer.command("virtiofsd", tell)
    except Error as problem:
        if OLD.exists() and os.geteuid() == 0:
            return [str(OLD)]
        raise Unsupported(
            f"there is no virtiofsd, which --share needs, and none could be unpacked: {problem}",
            "Debian 13 and later: apt-get install virtiofsd",
        ) from problem


def command_line(server: list[str], share: Share, socket: Path) -> list[str]:
    """Write the command line of virtiofsd, whichever it is."""
    if server != [str(OLD)]:
        read_only = ["--readonly"] if share.read_only else []
        return [*server, "--shared-dir", share.directory, "--socket-path", str(socket), *read_only]
    line = [*server, "-f", f"--socket-path={socket}", "-o", f"source={share.directory},log_level=err"]
    if not share.read_only:
        return line
    # Mounts below the directory are not in this view at all, so none of them can be writable.
    return [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        READ_ONLY_VIEW,
        share.directory,
        *line,
    ]


def serve(server: list[str], share: Share, socket: Path, log: Path) -> Popen[bytes]:
    """Start virtiofsd and wait until QEMU can connect. It ends with the connection. Raises Error."""
    socket.unlink(missing_ok=True)
    fd = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = programs.start(command_line(server, share, socket), outputs=fd)
    finally:
        os.close(fd)
    end = time.monotonic() + SECONDS
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            process.wait()
            said = log.read_text(errors="replace").strip().splitlines() or ["it does not say why"]
            raise Error(f"{share.directory} cannot be shared: virtiofsd ended: {said[-1]}")
        time.sleep(GLANCE)
    return process


def end(process: Popen[bytes]) -> None:
    """Wait for a virtiofsd whose guest has gone: it ends by itself, its children first, or is killed."""
    try:
        process.wait(END_SECONDS)
    except TimeoutExpired:
        process.kill()
        process.wait()
