"""What `minicontainer-runtime --help` and `--version` print.

See runc(8).
"""

from __future__ import annotations

import posix

from minicontainer import __version__
from minicontainer.runtime.options import COMMANDS, GLOBAL, SHORT, CommandLine

PURPOSES = {
    "create": "make a container; its program waits for `start`",
    "run": "create and start a container, wait for its end and delete it",
    "start": "start the program of a created container",
    "state": "print the state of a container as JSON",
    "kill": "send a signal (default: TERM) to a container",
    "delete": "remove everything that belongs to a container",
    "exec": "start one more process in a running container",
    "list": "list the containers under the state root",
    "ps": "show the processes of a container",
    "pause": "freeze the processes of a container",
    "resume": "let a paused container go on",
    "events": "print statistics and OOM events as JSON lines",
    "update": "change the limits of a container",
    "spec": "write a config.json to start from",
    "features": "print what this runtime can do as JSON",
}
WITHOUT_ID = ("list", "spec", "features")


def show(line: CommandLine) -> int:
    """Print version or help; without any command that is a mistake, and the exit code says so."""
    if line.settings["version"]:
        text = f"minicontainer-runtime version {__version__}\nspec: 1.2.1\n"
    elif line.command and line.command in COMMANDS:
        text = command_help(line.command)
    else:
        text = general_help()
    posix.write(1, text.encode())
    return 0 if line.settings["version"] or line.settings["help"] else 1


def general_help() -> str:
    """List the commands and the global options."""
    width = max(map(len, PURPOSES))
    commands = "".join([f"  {name.ljust(width)}  {purpose}\n" for name, purpose in PURPOSES.items()])
    return (
        "minicontainer-runtime: an OCI runtime\n\n"
        "Usage: minicontainer-runtime [OPTIONS] COMMAND [ARGUMENTS]\n\n"
        f"Commands:\n{commands}\nOptions:\n{options_help('', GLOBAL)}"
    )


def command_help(command: str) -> str:
    """Describe one command."""
    words = "[OPTIONS]" if command in WITHOUT_ID else "[OPTIONS] ID"
    usage = f"Usage: minicontainer-runtime {command} {words}"
    options = options_help(command, COMMANDS[command])
    return f"{PURPOSES[command]}\n\n{usage}\n" + (f"\nOptions:\n{options}" if options else "")


def options_help(command: str, options: dict[str, object]) -> str:
    """List options, with their short forms."""
    short = {name: letter for letter, name in SHORT.get(command, {}).items()}
    lines = []
    for name, default in options.items():
        letter = f"-{short[name]}, " if name in short else "    "
        lines.append(f"  {letter}--{name}{'' if isinstance(default, bool) else ' VALUE'}\n")
    return "".join(lines)
