"""`minicontainer`: from a command line to an exit code.

A correct line is read by the quick parser and costs no import; help, completion and mistakes go to click.
Expected failures end here, in the only place that prints them: one line, and a hint where there is one.
Anything else is a bug and keeps its traceback.

See docker-run(1), "Exit Status": 125, 126 and 127 for `run`; 1 otherwise.
"""

from __future__ import annotations

import posix

from minicontainer.cli import options
from minicontainer.errors import Error

INTERRUPTED = 130
COMPLETING = b"_MINICONTAINER_COMPLETE"  # click's own switch for shell completion


def main(arguments: list[str]) -> int:
    """Do what the command line says; returns the exit code."""
    name = ""
    try:
        if COMPLETING in posix.environ:
            raise options.NotUnderstood
        name, rest = options.find(arguments)
        command = options.COMMANDS[name]
        return options.load(command)(options.parse(command, rest))
    except options.NotUnderstood:
        from minicontainer.launch import reach_libraries

        reach_libraries()
        from minicontainer.cli.help import answer

        return answer(arguments)
    except Error as problem:
        from minicontainer.launch import reach_libraries

        reach_libraries()
        from minicontainer.cli.failure import report

        return report(problem, name)
    except KeyboardInterrupt:
        return INTERRUPTED
