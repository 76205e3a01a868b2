"""The words of `minicontainer vm`: virtual machines that outlive the command, and what can be done with them.

See minicontainer/cli/options.py for what an entry means; docs/vm.md for the whole story.
"""

from __future__ import annotations

from minicontainer.cli.options import FLAG, LIST, WORD, Command, Option

NODE_WORDS = "node1, or 1"
MEMORY = Option("memory", ("-m", "--memory"), WORD, "BYTES", "The memory of each node (else 1G).")
CPUS = Option("cpus", ("--cpus",), WORD, "NUMBER", "The processors of each node (else 1).")
SHARE = Option(
    "share", ("--share",), WORD, "DIR[:ro]", "A directory of this machine that the nodes see as /share."
)

COMMANDS = {
    "vm up": Command(
        "minicontainer.cli.vm:up",
        (
            Option("nodes", ("--nodes",), WORD, "NUMBER", "How many nodes (else 1)."),
            MEMORY,
            CPUS,
            Option("disk", ("--disk",), WORD, "BYTES", "How much each node may change (else 8G)."),
            SHARE,
            Option(
                "publish",
                ("-p", "--publish"),
                LIST,
                "[NODE:]PORT:PORT",
                "A port of 127.0.0.1 here that leads to a port of a node (else node1).",
            ),
            Option("online", ("--online",), FLAG, "", "Let the nodes reach what this machine reaches."),
            Option(
                "no_snapshot", ("--no-snapshot",), FLAG, "", "Boot each node instead of thawing a frozen one."
            ),
            Option("init", ("--init",), WORD, "plain|systemd", "The nodes' process 1 (else plain: faster)."),
        ),
        (),
        "Make virtual machines and start them. They run until `vm stop` or `vm down`.",
    ),
    "vm start": Command(
        "minicontainer.cli.vm:start",
        (),
        ("[NODE]...",),
        "Start nodes that do not run (else all of them). Their disks are as they were.",
    ),
    "vm stop": Command(
        "minicontainer.cli.vm:stop",
        (),
        ("[NODE]...",),
        "Power nodes off (else all of them). Their disks are kept.",
    ),
    "vm down": Command(
        "minicontainer.cli.vm:down",
        (Option("yes", ("-y", "--yes"), FLAG, "", "Do not ask, whatever would be lost."),),
        (),
        "Stop all nodes and delete them. Asks first if something was written to a disk.",
    ),
    "vm list": Command(
        "minicontainer.cli.vm_show:show",
        (Option("format", ("--format",), WORD, "table|json", "How to show it (else a table)."),),
        (),
        "Show the nodes and how they are: running, stopped, or dead.",
    ),
    "vm console": Command(
        "minicontainer.cli.vm_show:console",
        (Option("follow", ("-f", "--follow"), FLAG, "", "Go on with what comes, until the node ends."),),
        ("[NODE]",),
        "Print what a node's kernel and first programs have said (else node1's).",
    ),
    "vm ssh": Command(
        "minicontainer.cli.vm_use:ssh",
        (),
        ("[NODE]", "[COMMAND]..."),
        "Open a shell in a node (else node1), or run a command there, by ssh.",
    ),
    "vm run": Command(
        "minicontainer.cli.vm_use:run",
        (
            Option("node", ("-n", "--node"), WORD, "NODE", f"Where to run it: {NODE_WORDS}."),
            MEMORY,
            CPUS,
            SHARE,
        ),
        ("COMMAND...",),
        "Run a command in a node, as root. If no node is up, in a new one that is deleted afterwards. "
        "The exit code is the command's.",
    ),
    "vm cp": Command(
        "minicontainer.cli.vm_copy:copy",
        (),
        ("SOURCE", "TARGET"),
        "Copy a file or a directory into a node or out of it. One of both is NODE:PATH.",
    ),
    "vm cable cut": Command(
        "minicontainer.cli.vm_show:cut", (), ("NODE",), "Let nothing pass between a node and the others."
    ),
    "vm cable lossy": Command(
        "minicontainer.cli.vm_show:lossy",
        (Option("loss", ("--loss",), WORD, "PERCENT", "How much is lost, each way (else 20)."),),
        ("NODE",),
        "Lose some of what passes between a node and the others.",
    ),
    "vm cable slow": Command(
        "minicontainer.cli.vm_show:slow",
        (Option("delay", ("--delay",), WORD, "MILLISECONDS", "How late it comes, each way (else 200)."),),
        ("NODE",),
        "Delay what passes between a node and the others.",
    ),
    "vm cable mend": Command(
        "minicontainer.cli.vm_show:mend", (), ("NODE",), "Make a node's cable as good as new."
    ),
    "vm keeper": Command(
        "minicontainer.cli.vm:keep", (), ("LEASH", "LOCK"), "Keep a fleet. Started by `vm up` alone."
    ),
}

HIDDEN = {"vm keeper"}

GROUPS = {
    "vm": "Linux virtual machines: where limits bite, and several of them on one network.",
    "cable": "The cable between a node and the others: cut it, mend it, make it bad.",
}
