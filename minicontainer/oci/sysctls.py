"""Which sysctls a container may set: those that belong to a namespace of its own, and no other.

/proc/sys is only partly divided between namespaces; a write to any other file would change the host. A name
is written with dots, or as sysctl(8) also allows with slashes, where a dot then belongs to the name:

    net.ipv4.conf.eth0.forwarding      net/ipv4/conf/eno2.100/rp_filter      net.ipv4.conf.eno2/100.rp_filter

See sysctl(8), sysctl.d(5), namespaces(7), ipc_namespaces(7).
"""

from __future__ import annotations

from minicontainer.errors import SpecError
from minicontainer.oci.shape import member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_OF_IPC = frozenset(
    ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"),
)
_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:@-")


def check_sysctls(sysctls: Iterable[str], owned: Collection[str]) -> None:
    """Raise SpecError for the first name that is not the container's to set.

    `owned` holds the types (`network`, `ipc`, `uts`) of the namespaces that the container does not share with
    the runtime; one that is joined by path and turns out to be the runtime's own does not count.
    """
    for name in sysctls:
        problem = _problem(name, owned)
        if problem:
            raise SpecError(f"linux.sysctl{member(name)}", problem)


def sysctl_path(name: str) -> str:
    """Give the file of a sysctl below /proc/sys; raises SpecError for a name that could lead elsewhere."""
    dot, slash = name.find("."), name.find("/")
    if slash >= 0 and (dot < 0 or slash < dot):
        parts = name.split("/")
    else:
        parts = [part.replace("/", ".") for part in name.split(".")]
    if not all(_CHARACTERS.issuperset(part) and part.strip(".") for part in parts):
        raise SpecError(f"linux.sysctl{member(name)}", "is not the name of a sysctl")
    return "/".join(parts)


def _problem(name: str, owned: Collection[str]) -> str:
    path = sysctl_path(name)
    top, _, rest = path.partition("/")
    if path.startswith("fs/mqueue/") or (top == "kernel" and rest in _OF_IPC):
        return "" if "ipc" in owned else "is not allowed in the host's ipc namespace"
    if top == "net" and rest:
        return "" if "network" in owned else "is not allowed in the host's network namespace"
    if path == "kernel/hostname" and "uts" in owned:
        return 'is not allowed as it conflicts with the OCI "hostname" field'
    if path == "kernel/domainname" and "uts" in owned:
        return ""
    return "is not in a separate kernel namespace"
