"""The commands and their options: one table, read by two parsers.

The quick parser below understands every correct command line and imports nothing. As soon as a line is not
correct, or asks for help, `parse` gives up with `NotUnderstood`, and click (cli.help), built from this same
table, answers. A test feeds both parsers the same lines.

See docker-run(1) for the words; POSIX, "Utility Syntax Guidelines", for how options are written.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Value = str | bool | list[str] | None

# An option that takes nothing, one word, or one word each time it is given.
FLAG, WORD, LIST = "flag", "word", "list"


class NotUnderstood(Exception):
    """The quick parser leaves this line to click."""


class Option:
    """One option: where its value goes, how it is written, and what it means."""

    __slots__ = ("about", "kind", "metavar", "name", "words")

    def __init__(self, name: str, words: tuple[str, ...], kind: str, metavar: str, about: str) -> None:
        self.name = name
        self.words = words
        self.kind = kind
        self.metavar = metavar
        self.about = about


class Command:
    """One command: its options, its arguments (the last may take all that follows), and the function to call.

    `function` is `module:function`, so that a command's module is imported only when the command is given.
    """

    __slots__ = ("about", "arguments", "function", "options")

    def __init__(
        self, function: str, options: tuple[Option, ...], arguments: tuple[str, ...], about: str
    ) -> None:
        self.function = function
        self.options = options
        self.arguments = arguments
        self.about = about

    def nothing_given(self) -> dict[str, Value]:
        """Give every option and argument the value that it has when the line does not name it."""
        empty: dict[str, Value] = {option.name: _empty(option.kind) for option in self.options}
        for argument in self.arguments:
            empty[field(argument)] = [] if argument.endswith("...") else None
        return empty


RUN_OPTIONS = (
    Option("explain", ("--explain",), FLAG, "", "Tell each step and each kernel call as it happens."),
    Option("prove", ("--prove",), FLAG, "", "Show in /proc, from outside, that the container is real."),
    Option("rootfs", ("--rootfs",), WORD, "DIRECTORY", "Run in this directory itself instead of an image."),
    Option("read_only", ("--read-only",), FLAG, "", "Mount the root file system read-only."),
    Option(
        "id", ("--name", "--id"), WORD, "NAME", "The container's name (else 12 random hexadecimal digits)."
    ),
    Option(
        "hostname", ("-h", "--hostname"), WORD, "NAME", "The host name inside (else the container's name)."
    ),
    Option("env", ("-e", "--env"), LIST, "NAME[=VALUE]", "Set an environment variable, or pass ours on."),
    Option("workdir", ("-w", "--workdir"), WORD, "DIRECTORY", "The directory in which the program starts."),
    Option("user", ("-u", "--user"), WORD, "UID[:GID]", "The numeric user, and group, of the program."),
    Option("tty", ("-t", "--tty"), FLAG, "", "Give the program a terminal of its own."),
    Option("interactive", ("-i", "--interactive"), FLAG, "", "Let the program read our standard input."),
    Option(
        "memory", ("-m", "--memory"), WORD, "BYTES", "The most memory it may use: 64m, 1.5g (6m at least)."
    ),
    Option(
        "memory_swap",
        ("--memory-swap",),
        WORD,
        "BYTES",
        "Memory and swap together, -1 for no limit (else twice -m).",
    ),
    Option("cpus", ("--cpus",), WORD, "NUMBER", "How many CPUs' time it may use: 1.5."),
    Option("cpu_shares", ("-c", "--cpu-shares"), WORD, "NUMBER", "Its part when CPUs are short (else 1024)."),
    Option("cpuset_cpus", ("--cpuset-cpus",), WORD, "LIST", "The CPUs on which it may run: 0-2,4."),
    Option(
        "pids_limit", ("--pids-limit",), WORD, "NUMBER", "How many processes and threads, -1 for no limit."
    ),
    Option("rm", ("--rm",), FLAG, "", "Accepted for docker's sake: nothing is ever kept."),
)

COMMANDS = {
    "run": Command(
        "minicontainer.cli.run:run",
        RUN_OPTIONS,
        ("[IMAGE]", "[COMMAND]..."),
        "Run a program in a new container. The container is removed when the program ends. Without a "
        "command, a shell is run.",
    ),
    "explain": Command(
        "minicontainer.cli.explain:explain",
        (),
        ("FILE",),
        "Tell a story that was recorded before. `minicontainer-runtime --trace-fd N` records one, in the "
        "file behind its descriptor N, also when podman or containerd has called it.",
    ),
    "system reset": Command(
        "minicontainer.cli.system:reset",
        (Option("force", ("-f", "--force"), FLAG, "", "Do not ask before images are removed."),),
        (),
        "Remove what is kept between commands. That is: all images, caches, and the read-only view of the "
        "interpreter. It asks first if there are images that cannot be made here again.",
    ),
    "version": Command("minicontainer.cli.system:version", (), (), "Print the version."),
}


def field(argument: str) -> str:
    """Say under which name an argument's value is passed on: `command` for `[COMMAND]...`."""
    return argument.strip("[].").lower()


def find(line: list[str]) -> tuple[str, list[str]]:
    """Split a command line into the command's name and the rest. Raises NotUnderstood."""
    for length in (1, 2):
        name = " ".join(line[:length])
        if len(line) >= length and name in COMMANDS:
            return name, line[length:]
    raise NotUnderstood


def parse(command: Command, line: list[str]) -> dict[str, Value]:
    """Read options up to the first argument, which ends them, as docker does. Raises NotUnderstood."""
    values = command.nothing_given()
    known = {word: option for option in command.options for word in option.words}
    rest = line[:]
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            _long(known, word, rest, values)
        else:
            _short(known, word, rest, values)
    _arguments(command, rest, values)
    return values


def _long(known: dict[str, Option], word: str, rest: list[str], values: dict[str, Value]) -> None:
    name, equals, value = word.partition("=")
    option = known.get(name)
    if option is None or (option.kind == FLAG and equals):
        raise NotUnderstood
    _set(option, value if equals else None, rest, values)


def _short(known: dict[str, Option], word: str, rest: list[str], values: dict[str, Value]) -> None:
    """Read `-i`, `-it`, `-eA=1` and `-itu 5`: flags may be joined, a value ends the word."""
    for at in range(1, len(word)):
        option = known.get("-" + word[at])
        if option is None:
            raise NotUnderstood
        if option.kind != FLAG:
            _set(option, word[at + 1 :] or None, rest, values)
            return
        values[option.name] = True


def _set(option: Option, value: str | None, rest: list[str], values: dict[str, Value]) -> None:
    if option.kind == FLAG:
        values[option.name] = True
        return
    if value is None:
        if not rest:
            raise NotUnderstood
        value = rest.pop(0)
    if option.kind == LIST:
        several = values[option.name]
        values[option.name] = [*several, value] if isinstance(several, list) else [value]
    else:
        values[option.name] = value


def _arguments(command: Command, rest: list[str], values: dict[str, Value]) -> None:
    for argument in command.arguments:
        if argument.endswith("..."):
            values[field(argument)] = rest
            return
        if rest:
            values[field(argument)] = rest.pop(0)
        elif not argument.startswith("["):
            raise NotUnderstood
    if rest:
        raise NotUnderstood


def _empty(kind: str) -> Value:
    if kind == FLAG:
        return False
    return [] if kind == LIST else None


def load(command: Command) -> Callable[[dict[str, Value]], int]:
    """Import the function of a command."""
    module, _, name = command.function.partition(":")
    found: Callable[[dict[str, Value]], int] = getattr(__import__(module, fromlist=[name]), name)
    return found
