"""The commands for which start-up time does not matter: one more table, read by click alone.

What is run many times a minute stands in `options.COMMANDS`, which every command line pays for.

See minicontainer/cli/options.py for what an entry means.
"""

from __future__ import annotations

from minicontainer.cli.options import Command

COMMANDS: dict[str, Command] = {}

# What the help says of the words that several commands begin with.
GROUPS: dict[str, str] = {}
