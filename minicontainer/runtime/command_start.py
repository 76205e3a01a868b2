"""The command that starts the program of a created container.

See runc(8) "start"; runtime-spec, runtime.md "Start".
"""

from __future__ import annotations

from minicontainer.runtime.waking import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.runtime.options import CommandLine


def start_command(line: CommandLine) -> int:
    """Start the program of a created container."""
    start(line.settings["root"], line.operands[0])
    return 0
