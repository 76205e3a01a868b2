"""Which QEMU, and what it runs on: found once, used for every guest of a command.

QEMU 10 starts a guest's programs four times faster than 7.2 when it emulates, so where the distribution's is
older, Debian 13's is unpacked into the cache; 7.2 is good enough where that does not work.

See minicontainer/vm/qemu_newer.py and minicontainer/vm/backend.py; qemu(1).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minicontainer.errors import Error, Unsupported
from minicontainer.linux import programs
from minicontainer.vm import qemu, qemu_newer
from minicontainer.vm.backend import FAST_QEMU, Backend, choose
from minicontainer.vm.image import Image, cache

TRIAL_SECONDS = 5.0
TRIAL_MEMORY = 512
GLANCE = 0.02


@dataclass(frozen=True, slots=True)
class Emulator:
    """A QEMU: the words that start it, its version, and who executes the guest."""

    command: list[str]
    version: tuple[int, int]
    backend: Backend

    def describe(self) -> str:
        """Say in one line what guests run on, and why."""
        number = ".".join(map(str, self.version))
        how = "with KVM" if self.backend.name == "kvm" else "in software (no KVM)"
        return f"QEMU {number} {how}: {self.backend.why}"


def find(image: Image, tell: Callable[[str], None]) -> Emulator:
    """Find the best QEMU and choose its backend. Raises Unsupported when there is none at all."""
    command, version = find_qemu(tell)
    memory = cache() / "kvm"

    def says_first_line(backend: Backend) -> bool:
        return boots(image, command, backend)

    return Emulator(command, version, choose(version, says_first_line, memory))


def find_qemu(tell: Callable[[str], None]) -> tuple[list[str], tuple[int, int]]:
    """Take the distribution's QEMU if it is fast, else an unpacked newer one, else what there is."""
    name = qemu.architecture().program
    try:
        own: tuple[list[str], tuple[int, int]] | None = ([name], qemu.version([name]))
    except Unsupported:
        own = None
    if own is not None and own[1] >= FAST_QEMU:
        return own
    try:
        newer = qemu_newer.command(name, tell)
        return newer, qemu.version(newer)
    except Error as problem:
        if own is None:
            raise Unsupported(
                f"there is no {name}, and none could be unpacked: {problem}",
                "apt-get install --no-install-recommends qemu-system-x86 (qemu-system-arm on arm64)",
            ) from problem
        tell(f"using QEMU {'.'.join(map(str, own[1]))}: no newer one could be unpacked ({problem})")
        return own


def boots(image: Image, command: list[str], backend: Backend) -> bool:
    """Tell whether a kernel says its first line within five seconds on this backend."""
    with tempfile.TemporaryDirectory(prefix="minicontainer-kvm-") as place:
        plan = qemu.Plan(
            image, Path(place), "trial", qemu.Hardware(TRIAL_MEMORY), words=("earlyprintk=ttyS0",)
        )
        line = qemu.command_line(plan, command, backend)
        line[line.index("-append") + 1] = qemu.kernel_words(plan).replace("quiet ", "")
        with Path(place, "output").open("wb") as output:
            process = programs.start(line, outputs=output.fileno())
        try:
            return says_something(plan.path("console"), process.poll)
        finally:
            process.kill()
            process.wait()


def says_something(console: Path, ended: Callable[[], int | None]) -> bool:
    """Wait for the first line of a kernel, but not long."""
    end = time.monotonic() + TRIAL_SECONDS
    while time.monotonic() < end and ended() is None:
        if console.exists() and b"Linux version" in console.read_bytes():
            return True
        time.sleep(GLANCE)
    return False
