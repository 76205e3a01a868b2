"""The commands for which start-up time does not matter: one more table, read by click alone.

What is run many times a minute stands in `options.COMMANDS`, which every command line pays for.

See minicontainer/cli/options.py for what an entry means.
"""

from __future__ import annotations

from minicontainer.cli import image_commands, vm_commands
from minicontainer.cli.options import FLAG, WORD, Command, Option

COMMANDS: dict[str, Command] = {
    **image_commands.COMMANDS,
    "doctor": Command(
        "minicontainer.cli.doctor:doctor",
        (
            Option("format", ("--format",), WORD, "text|json", "How to tell it (else text)."),
            Option("no_trials", ("--no-trials",), FLAG, "", "Only look; try nothing."),
            Option(
                "record",
                ("--record",),
                WORD,
                "DIRECTORY",
                "Also write down what was looked at, so that it can be examined elsewhere.",
            ),
        ),
        (),
        "Say what this machine can and cannot do for containers and virtual machines, and how to mend it. "
        "The exit code is 0 where containers can run.",
    ),
    "vm image": Command(
        "minicontainer.cli.vm_image:image",
        (
            Option("suite", ("--suite",), WORD, "NAME", "Debian's release in the machines (else trixie)."),
            Option("prune", ("--prune",), FLAG, "", "Remove the images that no recipe and no node needs."),
        ),
        (),
        "Build the image of the virtual machines, unless it is there already. The other commands do it by "
        "themselves. Prints where it is.",
    ),
    **vm_commands.COMMANDS,
    "vm test": Command(
        "minicontainer.cli.vm_test:test",
        (
            Option("parts", ("--parts",), WORD, "NUMBER", "In how many parts to run them (else 2)."),
            Option("results", ("--results",), WORD, "DIR", "Where what comes out goes (else vm-results)."),
        ),
        ("[WORD]...",),
        "Run the tests that are marked for virtual machines, in machines of their own. Words after -- are "
        "pytest's. The exit code is 0 only if every one of these tests has been run and has passed.",
    ),
}

# What the help says of the words that several commands begin with.
GROUPS: dict[str, str] = {**image_commands.GROUPS, **vm_commands.GROUPS}

# What people do not give, and the help does not show.
HIDDEN = {*image_commands.HIDDEN, *vm_commands.HIDDEN}

# Commands that read options behind their arguments, too, as docker's do; with all others the first argument
# ends the options.
OPTIONS_ANYWHERE = {*image_commands.COMMANDS}
