"""The command line of runc, which podman, containerd and cri-o speak: commands, options, and their parser.

The parser is ours because argparse costs more than a tenth of a container's start. An option takes a value
(its default here is a string, or a list when it may be repeated) or is a switch (False).

See runc(8); docs/runtime.md for what each option does.
"""

from __future__ import annotations

from minicontainer.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GLOBAL: dict[str, Any] = {
    "root": "",
    "log": "",
    "log-format": "text",
    "debug": False,
    "systemd-cgroup": False,
    "rootless": "auto",
    "cgroup-manager": "",
    "criu": "",
    "trace-fd": "",
    "version": False,
    "help": False,
}
CREATE: dict[str, Any] = {
    "bundle": "",
    "console-socket": "",
    "pidfd-socket": "",
    "pid-file": "",
    "preserve-fds": "0",
    "no-pivot": False,
    "no-new-keyring": False,
}
COMMANDS: dict[str, dict[str, Any]] = {
    "create": CREATE,
    "run": {**CREATE, "detach": False, "keep": False, "no-subreaper": False},
    "start": {},
    "state": {},
    "kill": {"all": False},
    "delete": {"force": False},
    "exec": {
        "additional-gids": [],
        "apparmor": "",
        "cap": [],
        "cgroup": "",
        "console-socket": "",
        "cwd": "",
        "detach": False,
        "env": [],
        "ignore-paused": False,
        "no-new-privs": False,
        "pid-file": "",
        "pidfd-socket": "",
        "preserve-fds": "0",
        "process": "",
        "process-label": "",
        "tty": False,
        "user": "",
    },
    "list": {"format": "table", "quiet": False},
    "ps": {"format": "table"},
    "pause": {},
    "resume": {},
    "events": {"interval": "5s", "stats": False},
    "update": {
        "resources": "",
        "blkio-weight": "",
        "cpu-burst": "",
        "cpu-idle": "",
        "cpu-period": "",
        "cpu-quota": "",
        "cpu-rt-period": "",
        "cpu-rt-runtime": "",
        "cpu-share": "",
        "cpuset-cpus": "",
        "cpuset-mems": "",
        "kernel-memory": "",
        "kernel-memory-tcp": "",
        "l3-cache-schema": "",
        "mem-bw-schema": "",
        "memory": "",
        "memory-reservation": "",
        "memory-swap": "",
        "pids-limit": "",
    },
    "spec": {"bundle": "", "rootless": False},
    "features": {},
}
SHORT: dict[str, dict[str, str]] = {
    "": {"v": "version", "h": "help"},
    "create": {"b": "bundle"},
    "run": {"b": "bundle", "d": "detach"},
    "kill": {"a": "all"},
    "delete": {"f": "force"},
    "exec": {
        "a": "apparmor",
        "c": "cap",
        "d": "detach",
        "e": "env",
        "g": "additional-gids",
        "p": "process",
        "t": "tty",
        "u": "user",
    },
    "list": {"f": "format", "q": "quiet"},
    "ps": {"f": "format"},
    "update": {"r": "resources"},
    "spec": {"b": "bundle"},
}
# How many words may follow the options: (least, most); None for any number.
OPERANDS: dict[str, tuple[int, int | None]] = {
    "create": (1, 1),
    "run": (1, 1),
    "start": (1, 1),
    "state": (1, 1),
    "kill": (1, 2),
    "delete": (1, 1),
    "exec": (1, None),
    "list": (0, 0),
    "ps": (1, None),
    "pause": (1, 1),
    "resume": (1, 1),
    "events": (1, 1),
    "update": (1, 1),
    "spec": (0, 0),
    "features": (0, 0),
}


# Commands whose first word ends the options: what follows is another program's command line.
OPTIONS_FIRST = ("", "exec", "ps")


class CommandLine:
    """A command line, understood."""

    __slots__ = ("command", "operands", "options", "settings")

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.command = ""
        self.options: dict[str, Any] = {}
        self.operands: list[str] = []


def parse(words: list[str]) -> CommandLine:
    """Understand a command line. Error for an unknown command or option, or a wrong number of words."""
    line = CommandLine()
    line.settings, rest = parse_options("", words, GLOBAL)
    if not rest or line.settings["version"] or line.settings["help"]:
        return line
    line.command = rest[0]
    if line.command == "help":
        line.settings["help"] = True
        return line
    if line.command not in COMMANDS:
        raise Error(f'unknown command "{line.command}"', "minicontainer-runtime --help lists the commands")
    line.options, line.operands = parse_options(line.command, rest[1:], COMMANDS[line.command])
    if line.options.get("help"):
        line.settings["help"] = True
        return line
    check_operands(line)
    return line


def check_operands(line: CommandLine) -> None:
    """Refuse too few or too many words."""
    least, most = OPERANDS[line.command]
    count = len(line.operands)
    if count < least or (most is not None and count > most):
        wanted = (
            f"exactly {least}"
            if least == most
            else f"at least {least}"
            if most is None
            else f"{least} to {most}"
        )
        raise Error(f'"{line.command}" requires {wanted} argument(s), {count} given')


def parse_options(command: str, words: list[str], known: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Take the options out of a command line; returns them, with the defaults, and the other words.

    As with runc they may also follow the other words (`delete ID --force`); one that is not known there is an
    ordinary word (`kill ID -1`).
    """
    options = {name: list(value) if isinstance(value, list) else value for name, value in known.items()}
    operands: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            break
        if word[:1] != "-" or word == "-" or (operands and option_name(command, word) not in options):
            operands.append(word)
            if command in OPTIONS_FIRST:
                break
        else:
            at += take_option(command, word, words[at : at + 1], options)
    return options, operands + words[at:]


def option_name(command: str, word: str) -> str:
    """Give the long name of the option that a word names. Go takes one dash for two."""
    name = word.lstrip("-").partition("=")[0]
    name = SHORT.get(command, {}).get(name, name)
    return "help" if name == "h" else name


def take_option(command: str, word: str, following: list[str], options: dict[str, Any]) -> int:
    """Note one option; returns how many of the following words it has used up."""
    name = option_name(command, word)
    _, equals, value = word.partition("=")
    if name == "help":
        options["help"] = True
        return 0
    if name not in options:
        raise Error(f"unknown option {word.partition('=')[0]}{' of ' + command if command else ''}")
    if isinstance(options[name], bool):
        options[name] = value.lower() not in ("false", "0", "f") if equals else True
        return 0
    if not equals and not following:
        raise Error(f"option --{name} needs a value")
    value = value if equals else following[0]
    if isinstance(options[name], list):
        options[name].append(value)
    else:
        options[name] = value
    return 0 if equals else 1
