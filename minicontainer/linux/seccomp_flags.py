"""The flags with which a seccomp filter is loaded.

A profile that says nothing about flags gets SPEC_ALLOW, as with runc: the filter then does not switch off
speculative execution for the process. An empty list asks for no flag.

See seccomp(2), "SECCOMP_SET_MODE_FILTER"; runtime-spec config-linux.md, "Seccomp", `flags`.
"""

from __future__ import annotations

from minicontainer.errors import SpecError
from minicontainer.linux.seccomp import (
    SECCOMP_FILTER_FLAG_LOG,
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_TSYNC,
    SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": SECCOMP_FILTER_FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}


def filter_flags(seccomp: dict[str, Any]) -> int:
    """Give the flags for seccomp(2): those of the profile, and NEW_LISTENER where a rule asks a listener.

    WAIT_KILLABLE_RECV says how a listener is waited for. Without one the kernel refuses it: it is left out.
    """
    flags = 0
    for index, name in enumerate(_asked_for(seccomp)):
        if name not in FLAGS:
            raise SpecError(f"linux.seccomp.flags[{index}]", f"{name} is not a flag of seccomp(2)")
        flags |= FLAGS[name]
    if not has_listener(seccomp):
        return flags & ~SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    if flags & SECCOMP_FILTER_FLAG_TSYNC:  # both answer through the result; TSYNC_ESRCH keeps them apart
        flags |= SECCOMP_FILTER_FLAG_TSYNC_ESRCH
    return flags | SECCOMP_FILTER_FLAG_NEW_LISTENER


def has_listener(seccomp: dict[str, Any]) -> bool:
    """Say whether a rule sends the call to a listener, so that loading the filter gives a descriptor."""
    return any(group["action"] == "SCMP_ACT_NOTIFY" for group in seccomp.get("syscalls") or [])


def _asked_for(seccomp: dict[str, Any]) -> list[str]:
    flags = seccomp.get("flags")
    return ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"] if flags is None else flags
