"""Virtual machines need no root: an ordinary user starts one, and nothing of it stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainer.vm.image import cache
from tests.runtime.waiting import eventually
from tests.vm import guests

pytestmark = [pytest.mark.requires("root", "vm"), pytest.mark.timeout(600)]

COMMAND = Path(sys.executable).parent / "minicontainer"
NOBODY = 65534


@pytest.fixture
def home() -> Iterator[Path]:
    """A home directory of its own, with a copy of the image and of QEMU in its cache."""
    guests.the_emulator()
    target = Path(tempfile.mkdtemp(prefix="mcvm-", dir="/tmp"))
    try:
        for made in (guests.the_image().place, *cache().glob("qemu-*")):
            shutil.copytree(made, target / "cache/minicontainer/vm" / made.name, symlinks=True)
        for name in ("run", "state"):
            (target / name).mkdir(mode=0o700)
        for path in (target, *target.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        yield target
    finally:
        shutil.rmtree(target)


def vm(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    variables = {"XDG_CACHE_HOME": "cache", "XDG_RUNTIME_DIR": "run", "XDG_STATE_HOME": "state"}
    return subprocess.run(
        [COMMAND, "vm", *words],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env={"HOME": str(home), "PATH": os.environ["PATH"]}
        | {name: str(home / place) for name, place in variables.items()},
        text=True,
        capture_output=True,
        timeout=500,
        check=False,
    )


def processes_of_nobody() -> list[str]:
    """List what runs as this user, if it has to do with guests."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == NOBODY:
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return [line for line in found if "qemu" in line or "minicontainer" in line]


def test_an_ordinary_user_starts_machines_and_ends_them(home: Path) -> None:
    done = vm(home, "run", "--", "sh", "-c", "id -u; exit 5")
    assert (done.returncode, done.stdout) == (5, "0\n"), done.stderr
    up = vm(home, "up", "-m", "512M", "--disk", "256M")
    assert up.returncode == 0, up.stderr
    assert vm(home, "ssh", "node1", "hostname").stdout == "node1\n"
    down = vm(home, "down", "-y")
    assert down.returncode == 0, down.stderr
    eventually(lambda: not processes_of_nobody(), "something of the machines still runs")
    assert [path for path in home.rglob("*") if path.is_socket()] == []
