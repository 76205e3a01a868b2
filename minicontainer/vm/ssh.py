"""ssh into a node, with nothing to confirm and nothing taken on trust.

The host makes a key for the fleet and a host key for each node, and hands both in through the agent. So it
knows each node's host key before the first connection, and checking stays strict. One connection is shared by
all commands that follow within a minute, because under emulation a handshake costs more than a second.

See ssh(1), ssh_config(5) on HostKeyAlias and ControlMaster; ssh-keygen(1).
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from minicontainer.errors import Error, Unsupported
from minicontainer.linux import programs
from minicontainer.vm.nodes import Fleet, NodeRecord

USER = "root"
INSTALL = "apt-get install openssh-client"


def make_keys(fleet: Fleet, nodes: list[str]) -> None:
    """Make the fleet's key, a host key for each node, and known_hosts. Raises Unsupported, Error."""
    if not shutil.which("ssh-keygen"):
        raise Unsupported("there is no ssh-keygen, which makes the keys for `vm ssh`", INSTALL)
    make_key(fleet.state / "key")
    known = []
    for node in nodes:
        fleet.folder(node).mkdir(mode=0o700, exist_ok=True)
        make_key(host_key(fleet, node))
        known.append(f"{node} {public(host_key(fleet, node))}\n")
    known_hosts(fleet).write_text("".join(known))


def make_key(path: Path) -> None:
    """Make a pair of keys without a passphrase; the directory is this user's alone."""
    path.unlink(missing_ok=True)  # ssh-keygen would ask
    programs.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "minicontainer", "-f", str(path)])


def host_key(fleet: Fleet, node: str) -> Path:
    """Say where a node's host key lies."""
    return fleet.folder(node) / "host_key"


def known_hosts(fleet: Fleet) -> Path:
    """Say where the nodes' public host keys lie."""
    return fleet.state / "known_hosts"


def public(key: Path) -> str:
    """Read the public half of a key, one line."""
    return key.with_name(key.name + ".pub").read_text().strip()


def command_line(fleet: Fleet, node: NodeRecord, command: list[str]) -> list[str]:
    """Write ssh's command line; without a command it gives a shell. Raises Unsupported."""
    program = shutil.which("ssh")
    if program is None:
        raise Unsupported("there is no ssh", INSTALL)
    options = {
        "IdentityFile": fleet.state / "key",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known_hosts(fleet),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": node.name,
        "ControlMaster": "auto",
        "ControlPath": master(fleet, node.name),
        "ControlPersist": "60",
        "LogLevel": "ERROR",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={quoted(str(value))}")]
    return [program, "-F", "none", *words, "-p", str(node.ssh_port), f"{USER}@127.0.0.1", *command]


def master(fleet: Fleet, node: str) -> Path:
    """Say where the shared connection listens; ssh puts 17 characters more behind it for a moment."""
    return fleet.runtime / f"{node}.ssh"


def quoted(value: str) -> str:
    """Quote a value as ssh_config(5) reads it: in quotes, and a percent sign doubled."""
    return '"' + value.replace("%", "%%") + '"'


def hang_up(fleet: Fleet, node: str) -> None:
    """End the shared connection if there is one; its process would otherwise stay for a minute."""
    if master(fleet, node).exists() and shutil.which("ssh"):
        with contextlib.suppress(Error):  # it has ended by itself
            programs.run(
                ["ssh", "-F", "none", "-o", f"ControlPath={master(fleet, node)}", "-O", "exit", node]
            )
