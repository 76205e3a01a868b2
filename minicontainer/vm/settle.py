"""What a guest is told after it has come up, so that it becomes this node of this fleet.

The scripts are sent by the host each time, so that a frozen guest or an old disk never has an old one.

See minicontainer/vm/guest/settle.sh and minicontainer/vm/guest/changed.sh.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from minicontainer.vm.conversation import Ended, GuestError
from minicontainer.vm.machine import Machine
from minicontainer.vm.nodes import NETWORK
from minicontainer.vm.qemu import mac_address

SCRIPTS = Path(__file__).parent / "guest"
SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a node itself."""

    number: int
    nodes: int = 1  # in its fleet: it knows them by name
    online: bool = False
    share: str = ""  # mount options, "" where nothing is shared
    authorized_key: str = ""
    host_key: str = ""
    host_key_public: str = ""

    def variables(self) -> dict[str, str]:
        """Give the environment of settle.sh."""
        own = "127.0.0.1 localhost\n::1 localhost"
        return {
            "NAME": f"node{self.number}",
            "NUMBER": str(self.number),
            "MAC": mac_address(self.number),
            "HOSTS": "\n".join([own, *(f"{NETWORK}.{n} node{n}" for n in range(1, self.nodes + 1))]),
            "ONLINE": "yes" if self.online else "",
            "SHARE": self.share,
            "AUTHORIZED_KEY": self.authorized_key,
            "HOST_KEY": self.host_key,
            "HOST_KEY_PUBLIC": self.host_key_public,
        }


def script(name: str) -> list[str]:
    """Give the words that run one of the guest's scripts."""
    return ["/bin/sh", "-c", (SCRIPTS / name).read_text()]


def settle(machine: Machine, identity: Identity) -> None:
    """Make the guest the node. Raises GuestError with the script's last words."""
    ended: Ended = machine.run(script("settle.sh"), env=identity.variables(), wait=SECONDS)
    if ended.exit:
        said = ended.text.strip().splitlines() or [f"exit {ended.exit}"]
        raise GuestError(f"the machine {machine.plan.name} could not be set up: {said[-1]}")
