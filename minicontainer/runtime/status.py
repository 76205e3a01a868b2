"""The state of a container as `state`, `list` and hooks are told it.

Implements runtime-spec, runtime.md "State".
"""

from __future__ import annotations

import time

from minicontainer.runtime.container import SPEC_VERSION, STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.runtime.container import Container


def oci_state(container: Container, status: str) -> dict[str, Any]:
    """Build the state as the specification has it."""
    record = container.record
    return {
        "ociVersion": SPEC_VERSION,
        "id": record["id"],
        "pid": 0 if status == STOPPED else container.pid,
        "status": status,
        "bundle": record["bundle"],
        "rootfs": record.get("rootfs", ""),
        "created": record.get("created", ""),
        "owner": owner_name(record.get("owner", 0)),
        "annotations": record.get("annotations") or {},
    }


def owner_name(uid: int) -> str:
    """Name the user that made the container."""
    if uid == 0:
        return "root"
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def timestamp() -> str:
    """Write the present time as RFC 3339 has it, to the nanosecond, in UTC."""
    now = time.time_ns()
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000)) + f".{now % 1_000_000_000:09d}Z"
    )
