"""`minicontainer vm cp`: files into a node and out of it, in the words of scp and docker cp.

See scp(1), docker-cp(1).
"""

from __future__ import annotations

import re
from pathlib import Path

from minicontainer.cli.vm_words import end_in_order, node_name, text
from minicontainer.errors import Error
from minicontainer.vm import copying, nodes, protocol
from minicontainer.vm.conversation import Conversation, Lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.options import Value

REMOTE = re.compile(r"(node\d+|\d+):(.*)", re.DOTALL)  # a path that looks like it is written ./node1:file


def copy(values: dict[str, Value]) -> int:
    """Copy in the direction that the colon shows."""
    source, target = text(values, "source"), text(values, "target")
    from_node, to_node = REMOTE.fullmatch(source), REMOTE.fullmatch(target)
    if (from_node is None) == (to_node is None):
        raise Error("one of both must be in a node, as node1:/etc/hosts, and the other one here")
    end_in_order()
    found = from_node or to_node
    fleet = nodes.find()
    with protocol.connect(fleet) as channel:
        name = node_name(found.group(1) if found else "", fleet.record().nodes)
        protocol.converse(channel, protocol.Agent(node=name))
        agent = Conversation(Lines(channel))
        try:
            if from_node:
                copying.copy_out(agent, from_node.group(2), Path(target))
            elif to_node:
                copying.copy_in(agent, Path(source), to_node.group(2))
        except (ConnectionError, TimeoutError):
            raise Error(f"{name} has gone", "`minicontainer vm list` tells more") from None
    return 0
