"""Help, completion, mistakes and the cold commands: the tables of options as click commands.

Loaded only when the quick parser gave up. click reads the line again, and either prints help, completes a
word, says what is wrong, or (should the two parsers ever differ) does what was asked.

See https://click.palletsprojects.com, "Shell Completion"; docker-run(1), "Exit Status".
"""

from __future__ import annotations

import sys
from typing import Any

import click

from minicontainer.cli import cold_commands, options
from minicontainer.errors import Error

PROGRAM = "minicontainer"
WRONG_USE, WRONG_USE_OF_RUN, INTERRUPTED = 1, 125, 130
WIDTH = 100
EPILOG = """\b
A first look:  minicontainer run --explain --prove busybox echo hello
In bash, let the Tab key complete words:
               eval "$(_MINICONTAINER_COMPLETE=bash_source minicontainer)\""""


def answer(arguments: list[str]) -> int:
    """Let click deal with the line; returns the exit code."""
    try:
        code = build().main(arguments, PROGRAM, "_MINICONTAINER_COMPLETE", standalone_mode=False)
    except click.ClickException as problem:
        problem.show(sys.stderr)
        return WRONG_USE_OF_RUN if arguments[:1] == ["run"] else WRONG_USE
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.Abort:  # Ctrl-C
        return INTERRUPTED
    except Error as problem:
        from minicontainer.cli.failure import report

        return report(problem, arguments[0])
    return code if isinstance(code, int) else 0


def build() -> click.Group:
    """Build the tree of commands from the table."""
    top = click.Group(
        PROGRAM,
        help="Containers from the ground up: see what Docker and Kubernetes do underneath.",
        no_args_is_help=True,
        context_settings={"max_content_width": WIDTH, "help_option_names": ["--help"]},
        epilog=EPILOG,
    )
    top.params.append(version_option())
    for name, command in {**options.COMMANDS, **cold_commands.COMMANDS}.items():
        groups = name.split()[:-1]
        parent = top
        for word in groups:
            below = parent.commands.get(word)
            if not isinstance(below, click.Group):
                below = click.Group(word, help=GROUPS[word], no_args_is_help=True)
                parent.add_command(below)
            parent = below
        parent.add_command(_command(name, command))
    return top


def version_option() -> click.Option:
    """Let `--version` print what the command `version` prints, as docker does."""

    def show(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
        if wanted:
            options.load(options.COMMANDS["version"])({})
            context.exit()

    return click.Option(
        ["-v", "--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Print the version.",
    )


GROUPS = {"system": "Look after what minicontainer keeps on this machine.", **cold_commands.GROUPS}


def _command(name: str, command: options.Command) -> click.Command:
    def call(**values: Any) -> int:
        lists = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        return options.load(command)(lists)

    return click.Command(
        name.rsplit(maxsplit=1)[-1],
        callback=call,
        help=command.about,
        params=[*map(_argument, command.arguments), *map(_option, command.options)],
        # Mostly the first argument ends the options, as with `docker run`: what follows belongs to the
        # program in the container.
        context_settings={"allow_interspersed_args": name in cold_commands.OPTIONS_ANYWHERE},
        hidden=name in cold_commands.HIDDEN,
    )


def _option(option: options.Option) -> click.Option:
    return click.Option(
        [option.name, *option.words],
        is_flag=True if option.kind == options.FLAG else None,
        multiple=option.kind == options.LIST,
        metavar=option.metavar or None,
        help=option.about,
    )


def _argument(argument: str) -> click.Argument:
    return click.Argument(
        [options.field(argument)],
        nargs=-1 if argument.endswith("...") else 1,
        required=not argument.startswith("["),
        metavar=argument,
        type=click.UNPROCESSED,
    )
