"""The command update: change the limits of a container that exists.

See runc(8) "update"; cgroups(7).
"""

from __future__ import annotations

import posix

from minicontainer.errors import Conflict, SpecError, Unsupported
from minicontainer.oci.check import check_resources
from minicontainer.oci.json_text import loads
from minicontainer.runtime.cgroup import open_existing
from minicontainer.runtime.cgroup_limits import apply_resources
from minicontainer.runtime.container import STOPPED, open_container, read_file
from minicontainer.runtime.log import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.runtime.options import CommandLine

# option -> (part of `resources`, its member, how the text is read)
MEMBERS = {
    "blkio-weight": ("blockIO", "weight", "number"),
    "cpu-burst": ("cpu", "burst", "number"),
    "cpu-idle": ("cpu", "idle", "number"),
    "cpu-period": ("cpu", "period", "number"),
    "cpu-quota": ("cpu", "quota", "number"),
    "cpu-rt-period": ("cpu", "realtimePeriod", "number"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", "number"),
    "cpu-share": ("cpu", "shares", "number"),
    "cpuset-cpus": ("cpu", "cpus", "text"),
    "cpuset-mems": ("cpu", "mems", "text"),
    "memory": ("memory", "limit", "bytes"),
    "memory-reservation": ("memory", "reservation", "bytes"),
    "memory-swap": ("memory", "swap", "bytes"),
    "pids-limit": ("pids", "limit", "number"),
}
SCHEMAS = ("l3-cache-schema", "mem-bw-schema")
OBSOLETE = ("kernel-memory", "kernel-memory-tcp")
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def update_command(line: CommandLine) -> int:
    """Write new limits; what is not said stays as it is."""
    container = open_container(line.settings["root"], line.operands[0], lock=True)
    if container.status() == STOPPED:
        raise Conflict("container not running")
    resources = resources_of(line.options)
    check_resources(resources)
    path = container.record.get("cgroup")
    if not path:
        raise Conflict(f"container {container.identifier} has no cgroup: its limits cannot be changed")
    group = open_existing(path)
    try:
        if container.record.get("scope"):
            from minicontainer.runtime.scope import update_scope

            update_scope(container, group, resources)
        apply_resources(group, resources, update=True)
    finally:
        group.close()
    return 0


def resources_of(options: dict[str, Any]) -> dict[str, Any]:
    """Read the resources from the file of --resources (- is standard input), or from the single options."""
    if options["resources"]:
        raw = read_input() if options["resources"] == "-" else read_file(options["resources"])
        return loads(raw)  # type: ignore[return-value]
    for option in SCHEMAS:
        if options[option]:
            raise Unsupported(f"--{option}: this runtime does not support Intel RDT")
    for option in OBSOLETE:
        if options[option]:
            warn(f"--{option} is ignored: cgroup v2 has no such limit")
    resources: dict[str, Any] = {}
    for option, (part, member, form) in MEMBERS.items():
        if options[option]:
            resources.setdefault(part, {})[member] = read_value(option, options[option], form)
    return resources


def read_input() -> bytes:
    """Read all of standard input."""
    parts = []
    while part := posix.read(0, 65536):
        parts.append(part)
    return b"".join(parts)


def read_value(option: str, text: str, form: str) -> int | str:
    """Read an option's value: text, a number, or bytes with a unit (64m, 1.5GiB). Raises SpecError."""
    if form == "text":
        return text
    if text.removeprefix("-").isdecimal():
        return int(text)
    if form == "bytes":
        number = text.lower().removesuffix("b").removesuffix("i")
        unit = number[-1:] if number[-1:] in UNITS else ""
        digits = number.removesuffix(unit).rstrip(" ")
        if digits.replace(".", "", 1).isdecimal() and digits[0] != ".":
            return int(float(digits) * UNITS[unit])
    raise SpecError(f"--{option}", f'"{text}" is not a number')
