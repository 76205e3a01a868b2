"""What a service manager gives to a program that it starts, passed on into the container.

Sockets (LISTEN_FDS) come as descriptors from 3 on, which are preserved; readiness is told through a socket of
the service manager (NOTIFY_SOCKET), which is bound into the container.

See sd_listen_fds(3), sd_notify(3); runc's and crun's behaviour.
"""

from __future__ import annotations

import posix

from minicontainer.runtime.caller import listening_fds
from minicontainer.runtime.plan import InitPlan, MountPlan

INSIDE = "/run/notify/notify.sock"


def pass_on_activation(plan: InitPlan) -> None:
    """Let the container's program see the sockets that our caller's environment names."""
    variables: dict[bytes, bytes] = posix.environ
    if listening := listening_fds():
        plan.process.env = [*plan.process.env, f"LISTEN_FDS={listening}", "LISTEN_PID=1"]
    notify = variables.get(b"NOTIFY_SOCKET", b"").decode("utf-8", "surrogateescape")
    if notify[:1] == "/" and posix.access(notify, posix.F_OK):
        entry = {
            "destination": INSIDE,
            "type": "bind",
            "source": notify,
            "options": ["bind", "nosuid", "nodev", "noexec"],
        }
        plan.mounts.append(MountPlan(entry, "/"))
        plan.process.env = [*plan.process.env, f"NOTIFY_SOCKET={INSIDE}"]
