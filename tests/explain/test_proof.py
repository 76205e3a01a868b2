"""The proof: facts from /proc, and that they are facts about the right process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minicontainer.explain.proof import facts

COMMAND = Path(sys.executable).parent / "minicontainer"
TIMEOUT = 60
INSIDE = (
    "for kind in net uts ipc pid; do readlink /proc/self/ns/$kind; done; "
    'grep -E "CapBnd|Seccomp:" /proc/self/status'
)


def test_against_ourselves_nothing_differs_but_nothing_is_missing() -> None:
    found = {fact.file: fact for fact in facts(os.getpid())}
    assert not [fact.what for fact in found.values() if fact.differs and fact.file != "status: NSpid"]
    assert found["ns/net"].inside == str(Path("/proc/self/ns/net").readlink()).strip("net:[]")


@pytest.mark.requires("root", "cgroup2")
def test_the_proof_shows_what_the_container_sees_of_itself() -> None:
    command = [COMMAND, "run", "--prove", "--name", "prove-it", "busybox", "sh", "-c", INSIDE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    *namespaces, bounding, seccomp = done.stdout.splitlines()
    for line in namespaces:
        kind, number = re.fullmatch(r"(\w+):\[(\d+)\]", line).groups()  # type: ignore[union-attr]
        assert re.search(rf"ns/{kind} +(\d+) +{number}\b", done.stderr), (line, done.stderr)
        assert str(number) not in str(Path(f"/proc/self/ns/{kind}").readlink())
    assert f"({bounding.split()[1].lstrip('0')})" in done.stderr
    assert seccomp.split()[1] == "2"
    assert "a filter (mode 2)" in done.stderr
    assert "/minicontainer-prove-it" in done.stderr


@pytest.mark.requires("root", "cgroup2")
def test_the_proof_shows_that_nothing_is_left() -> None:
    command = [COMMAND, "run", "--prove", "--name", "prove-gone", "busybox", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    after = done.stderr.partition("And afterwards")[2]
    assert len(re.findall(r"^/.*: gone$", after, re.MULTILINE)) >= 2
    assert "still there" not in after
