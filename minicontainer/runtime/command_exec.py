"""The command exec: one more process in a container that runs.

See runc(8) "exec".
"""

from __future__ import annotations

from minicontainer.errors import SpecError
from minicontainer.runtime.caller import absolute_path, preserved
from minicontainer.runtime.execute import ExecRequest, execute, process_file
from minicontainer.runtime.foreground import Terminal, forward_signals, wait_for_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.runtime.options import CommandLine

MAX_ID = 4294967294
# What is asked for by these is checked; the container's own process was, when it was created.
CHANGING = (
    "tty", "cwd", "env", "cap", "no-new-privs", "apparmor", "process-label", "user", "additional-gids",
)  # fmt: skip


def exec_command(line: CommandLine) -> int:
    """Start a process in a running container and, unless detached, stay until it ends."""
    options = line.options
    request = ExecRequest(line.settings["root"], line.operands[0])
    request.process = lambda config: process_of(line, config)
    request.detach = options["detach"]
    request.ignore_paused = options["ignore-paused"]
    request.console_socket = options["console-socket"]
    request.pid_file = absolute_path(options["pid-file"])
    request.pidfd_socket = options["pidfd-socket"]
    request.preserve_fds = preserved(options["preserve-fds"])
    request.cgroup = options["cgroup"]
    terminal = None if request.detach or request.console_socket else Terminal()
    first = execute(request, terminal)
    if request.detach:
        return 0
    if not terminal:
        forward_signals(first)
    return terminal.relay_until_end(first) if terminal and terminal.master >= 0 else wait_for_end(first)


def process_of(line: CommandLine, config: dict[str, Any]) -> dict[str, Any]:
    """Build the process from `--process`, or from the container's own process and the other options."""
    options = line.options
    if options["process"]:
        process = process_file(options["process"])
    else:
        process = dict(config.get("process") or {})
        process["terminal"] = False
        process["args"] = line.operands[1:]
        if not process["args"]:
            raise SpecError("process.args", "a program is needed: exec ID PROGRAM [ARGUMENT...]")
    process = adjusted(process, options)
    if options.get("user"):
        process["user"] = user_of(options["user"])
    if options["additional-gids"]:
        groups = [number(text, "--additional-gids") for text in options["additional-gids"]]
        process["user"] = {**(process.get("user") or {}), "additionalGids": groups}
    if any(options[name] for name in CHANGING):
        from minicontainer.oci.check import check_process

        check_process(process)
    return process


def adjusted(process: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Apply the options that change one member each."""
    if options["tty"]:
        process["terminal"] = True
    if options["cwd"]:
        process["cwd"] = options["cwd"]
    if options["env"]:
        process["env"] = [*(process.get("env") or []), *options["env"]]
    if options["cap"]:
        process["capabilities"] = with_capabilities(process.get("capabilities") or {}, options["cap"])
    if options["no-new-privs"]:
        process["noNewPrivileges"] = True
    if options["apparmor"]:
        process["apparmorProfile"] = options["apparmor"]
    if options["process-label"]:
        process["selinuxLabel"] = options["process-label"]
    return process


def with_capabilities(sets: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Add capabilities to the sets that a program here gets; ambient only where inheritable holds them."""
    added = {
        kind: sorted({*(sets.get(kind) or []), *names}) for kind in ("bounding", "effective", "permitted")
    }
    inheritable = sets.get("inheritable") or []
    return {**sets, **added, "ambient": sorted({*(sets.get("ambient") or []), *names}) if inheritable else []}


def user_of(text: str) -> dict[str, Any]:
    """Read `--user UID[:GID]`; groups of the container's own user do not come along."""
    uid, colon, gid = text.partition(":")
    return {"uid": number(uid, "--user"), "gid": number(gid, "--user") if colon else 0}


def number(text: str, option: str) -> int:
    """Read an id. Raises SpecError: names are the engine's to look up."""
    if not text.isascii() or not text.isdigit() or int(text) > MAX_ID:
        raise SpecError(option, f'"{text}" is not a numeric id')
    return int(text)
