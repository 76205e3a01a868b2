"""seccomp's user notification: the filter asks a program on the host, which needs the filter's descriptor.

    first process --loads it--> number N --pipe--> runtime --pidfd_getfd(N)--> descriptor --socket--> listener

The runtime fetches it, because the first process could not send it: its own system calls may be the ones
asked about.

Implements runtime-spec, config-linux.md "Seccomp", "The Container Process State"; see seccomp_unotify(2).
"""

from __future__ import annotations

import posix

from minicontainer.errors import SpecError
from minicontainer.linux.process import pidfd_getfd
from minicontainer.linux.terminals import connect_to, send_descriptor
from minicontainer.runtime.container import SPEC_VERSION
from minicontainer.trace.json_lines import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.runtime.first_process import FirstProcess

RECEIVER = "run.oci.seccomp.receiver"


def hand_over_listener(
    first: FirstProcess, number: int, state: dict[str, Any], config: dict[str, Any]
) -> None:
    """Give the descriptor `number` of the first process to the listener that the configuration names."""
    seccomp = config["linux"]["seccomp"]
    path = seccomp.get("listenerPath") or (config.get("annotations") or {}).get(RECEIVER)
    if not path:
        raise SpecError("linux.seccomp.listenerPath", "is missing: SCMP_ACT_NOTIFY needs somebody to notify")
    message = {
        "ociVersion": SPEC_VERSION,
        "fds": ["seccompFd"],
        "pid": first.pid,
        "metadata": seccomp.get("listenerMetadata") or "",
        "state": state,
    }
    descriptor = pidfd_getfd(first.pidfd, number)
    try:
        connection = connect_to(path)
    except OSError as problem:
        what = posix.strerror(problem.errno or 0).lower()
        raise SpecError("linux.seccomp.listenerPath", f'"{path}" cannot be connected to: {what}') from None
    send_descriptor(connection, descriptor, dumps(message).encode())
    posix.close(connection)
    posix.close(descriptor)
