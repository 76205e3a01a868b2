"""The real runtimes and engines that behaviour tests are proved on, and the view of cgroups that they need.

`make peers` unpacks them into `.peers/` of the checkout (tests/peers/get.py). On a host whose controllers are
still bound to cgroup v1 ("hybrid"), real tools would make groups in the v1 hierarchies; there they run only
in a mount namespace of their own where a cgroup2 mount covers /sys/fs/cgroup. Nothing of the host is
unmounted.

    v2 host: CMD            hybrid host: unshare -m ... sh -c 'mount ... && exec "$@"' sh CMD
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CGROUP2_SUPER_MAGIC = 0x63677270
FOLDERS = ("usr/bin", "usr/sbin", "usr/lib/podman", "usr/libexec/podman")
COVER = 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'


def peers_directory() -> Path:
    """Name the folder that the peers are unpacked in, there or not: $MINICONTAINER_PEERS, else .peers/."""
    return Path(os.environ.get("MINICONTAINER_PEERS") or CHECKOUT / ".peers")


def peer(name: str) -> Path | None:
    """Find a peer's executable (`crun`, `podman`, `conmon`, ...); None where `make peers` was not run."""
    for folder in FOLDERS:
        program = peers_directory() / folder / name
        if program.is_file() and os.access(program, os.X_OK):
            return program
    return None


def peer_program(name: str) -> Path:
    """Find a peer that a test has demanded; a missing one is an error, never a skip."""
    program = peer(name)
    assert program, f"no {name}: make peers, and mark the test requires('peer:{name}')"
    return program


def kind_of(binary: Path) -> str:
    """Give "runc", "crun" or "ours"."""
    return next((kind for kind in ("runc", "crun") if kind in binary.name), "ours")


def is_unified() -> bool:
    """Say whether /sys/fs/cgroup is the one cgroup v2 tree, as a v2-only caller expects (statfs(2))."""
    answer = subprocess.run(
        ["stat", "--file-system", "--format=%t", "/sys/fs/cgroup"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.returncode == 0 and int(answer.stdout, 16) == CGROUP2_SUPER_MAGIC


def in_v2_view(argv: Sequence[str | Path]) -> list[str]:
    """Wrap a command so that it sees cgroup v2 alone at /sys/fs/cgroup; where it does, leave it as it is.

    The wrapper needs root (CAP_SYS_ADMIN in the mount namespace) and makes a private mount namespace that
    ends with the last process in it.
    """
    command = [str(word) for word in argv]
    if is_unified():
        return command
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", COVER, "sh", *command]
