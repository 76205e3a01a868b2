"""The commands that only look: state, list, ps, events, features, spec.

Their output is read by programs: what podman, containerd and cri-o parse is in docs/runtime.md.

See runc(8); runtime-spec, runtime.md "State", features.md.
"""

from __future__ import annotations

import posix

from minicontainer.errors import Conflict, Error
from minicontainer.runtime.cgroup_processes import processes
from minicontainer.runtime.container import RESERVED, STOPPED, Container, open_container
from minicontainer.runtime.status import oci_state
from minicontainer.trace.json_lines import dump_indented, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.runtime.options import CommandLine

INDENT = "  "


def say(text: str) -> None:
    """Write to standard output, all of it."""
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[posix.write(1, data) :]


def state_command(line: CommandLine) -> int:
    """Print the state of a container as JSON."""
    container = open_container(line.settings["root"], line.operands[0])
    say(dump_indented(oci_state(container, container.status()), INDENT) + "\n")
    return 0


def list_command(line: CommandLine) -> int:
    """List all containers; a broken one is named, and hides no other."""
    states = [state_of(line.settings["root"], name) for name in identifiers(line.settings["root"])]
    if line.options["quiet"]:
        say("".join([f"{state['id']}\n" for state in states]))
    elif line.options["format"] == "json":
        say(dumps(states) + "\n" if states else "null\n")
    elif line.options["format"] == "table":
        say(table_of(states))
    else:
        raise Error(f"invalid format option {line.options['format']}", "table and json are known")
    return 0


def identifiers(root: str) -> list[str]:
    """List the ids under a state root."""
    try:
        names = posix.listdir(root)
    except FileNotFoundError:
        return []
    return sorted([name for name in names if name not in RESERVED])


def state_of(root: str, identifier: str) -> dict[str, Any]:
    """Give a container's state; of a broken one what is known."""
    try:
        container = open_container(root, identifier)
        return oci_state(container, container.status())
    except (Error, KeyError, TypeError, ValueError):
        return {"id": identifier, "pid": 0, "status": "broken", "bundle": "", "created": "", "owner": ""}


def table_of(states: list[dict[str, Any]]) -> str:
    """Write states in columns."""
    rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
    rows += [(s["id"], str(s["pid"]), s["status"], s["bundle"], s["created"], s["owner"]) for s in states]
    widths = [max(len(row[column]) for row in rows) + 3 for column in range(6)]
    return "".join(
        [
            "".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]).rstrip() + "\n"
            for row in rows
        ]
    )


def processes_of(container: Container) -> list[int]:
    """List the processes of a container, as the host numbers them."""
    if container.record.get("cgroup"):
        return sorted(processes(container.record["cgroup"]))
    return [container.pid] if container.is_alive() else []


def ps_command(line: CommandLine) -> int:
    """Show the processes of a container: pids as JSON, or what ps(1) says of them."""
    container = open_container(line.settings["root"], line.operands[0])
    pids = processes_of(container)
    if line.options["format"] == "json":
        say("[" + ",".join(map(str, pids)) + "]\n")
        return 0
    if line.options["format"] != "table":
        raise Error(f"invalid format option {line.options['format']}", "table and json are known")
    show_ps(pids, line.operands[1:] or ["-ef"])
    return 0


def show_ps(pids: list[int], arguments: list[str]) -> None:
    """Print the lines of ps(1) that are about these processes."""
    from minicontainer.linux.programs import run

    title, *lines = run(["ps", *arguments]).splitlines()
    words = title.split()
    if "PID" not in words:
        raise Error("couldn't find PID field in ps output", "let ps print a column PID")
    column = words.index("PID")
    shown = [text for text in lines if len(text.split()) > column and text.split()[column] in map(str, pids)]
    say("\n".join([title, *shown]) + "\n")


def events_command(line: CommandLine) -> int:
    """Print statistics as JSON lines: once with --stats, else at every interval until the container ends."""
    from minicontainer.runtime.events import follow_events

    container = open_container(line.settings["root"], line.operands[0])
    if container.status() == STOPPED:
        raise Conflict("container not running")
    return follow_events(container, line.options["stats"], line.options["interval"])


def features_command(_line: CommandLine) -> int:
    """Print what this runtime can do, as features.md has it."""
    from minicontainer.runtime.features import features

    say(dump_indented(features(), INDENT) + "\n")
    return 0


def spec_command(line: CommandLine) -> int:
    """Write a config.json to start from."""
    from minicontainer.oci.example import example_text

    path = f"{line.options['bundle'] or '.'}/config.json"
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Conflict(f"file {path} exists", "remove it first") from None
    posix.write(fd, example_text(line.options["rootless"]).encode())
    posix.close(fd)
    return 0
