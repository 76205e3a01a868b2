"""The script that makes a node of a machine, run for real in a guest of ours: it must find that it is one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent.parent
COMMANDS = [Path("/usr/local/bin", name) for name in ("mini", "minicontainer", "minicontainer-runtime")]
ELSEWHERE = "192.0.2.1=node1"  # an address for documentation: no guest has it


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Path]:
    """Note what is asked of the doctor, who has tests of his own, and takes his time."""
    stand_in = Path("/usr/local/sbin/minicontainer")
    stand_in.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\n')
    stand_in.chmod(0o755)
    yield tmp_path / "asked"
    stand_in.unlink()


@pytest.mark.vm
@pytest.mark.requires("root", "guest")
def test_a_guest_is_a_node_already_and_needs_no_network(asked: Path) -> None:
    before = [path.read_text() for path in COMMANDS], Path("/etc/hosts").read_text()
    done = subprocess.run(
        ["sh", CHECKOUT / "minicontainer" / "vm" / "guest" / "provision.sh", ELSEWHERE],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout == (
        f"provision: this machine has none of the addresses of {ELSEWHERE}: the nodes get no names\n"
        "provision: ready; what this machine can do:\n"
    )
    assert asked.read_text() == "doctor\n"
    assert ([path.read_text() for path in COMMANDS], Path("/etc/hosts").read_text()) == before
