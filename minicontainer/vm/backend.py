"""Who executes the guest's instructions: KVM where a trial shows that it can, else QEMU itself.

/dev/kvm proves nothing: in a rented virtual machine it may open, create processors and never get a kernel
booted. So `choose` lets a virtual processor count, then lets a real kernel say its first line, and remembers
the answer until the next boot of this machine.

See <kernel>/virt/kvm/api.rst; qemu(1), "-accel".
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minicontainer.errors import Error
from minicontainer.linux.kvm import kvm_works

KVM = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
VARIABLE = "MINICONTAINER_VM_BACKEND"
# QEMU before 8 emulates cmpxchg16b wrongly: now and then a guest's kernel dies of it.
LEAST_SOUND_QEMU = (8, 0)
FAST_QEMU = (10, 0)


@dataclass(frozen=True, slots=True)
class Backend:
    """What QEMU is told, and why."""

    name: str
    accelerator: str
    cpu: str
    why: str


Trial = Callable[[Backend], bool]


def kvm(why: str) -> Backend:
    """Let the processor itself do it."""
    return Backend("kvm", "kvm", "host", why)


def tcg(why: str, qemu_version: tuple[int, int]) -> Backend:
    """Emulate in software: six to ten times slower, and possible everywhere."""
    sound = qemu_version >= LEAST_SOUND_QEMU or platform.machine() != "x86_64"
    return Backend("tcg", "tcg,thread=multi", "max" if sound else "max,-cx16", why)


def choose(qemu_version: tuple[int, int], says_first_line: Trial, memory: Path) -> Backend:
    """Choose by $MINICONTAINER_VM_BACKEND, else by trial; the file `memory` keeps the answer of a boot.

    `says_first_line` boots a kernel and tells whether it said something within five seconds. Raises Error
    for a backend that there is not.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted == "kvm":
        return kvm(f"{VARIABLE} says so")
    if wanted == "tcg":
        return tcg(f"{VARIABLE} says so", qemu_version)
    if wanted:
        raise Error(f"{VARIABLE}={wanted}: no such backend", "kvm or tcg")
    why = recall(memory)
    if why is None:
        why = why_not_kvm(says_first_line)
        remember(memory, why)
    return tcg(why, qemu_version) if why else kvm("a trial kernel ran on it")


def why_not_kvm(says_first_line: Trial) -> str:
    """Try KVM; the reason against it, "" if there is none."""
    if not KVM.exists():
        return "there is no /dev/kvm"
    if not os.access(KVM, os.R_OK | os.W_OK):
        return "/dev/kvm may not be opened by this user (group kvm)"
    if platform.machine() == "x86_64" and not kvm_works():
        return "/dev/kvm is there, but a virtual processor does not run at the processor's speed"
    if not says_first_line(kvm("a trial")):
        return "/dev/kvm is there, but a trial kernel said nothing within five seconds"
    return ""


def recall(memory: Path) -> str | None:
    """Give the reason found earlier in this boot, None if nobody has tried."""
    try:
        boot, _, why = memory.read_text().partition("\n")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return why.strip() if boot == BOOT_ID.read_text().strip() else None


def remember(memory: Path, why: str) -> None:
    """Keep a reason for the rest of this boot."""
    beside = memory.with_suffix(f".{os.getpid()}")
    beside.write_text(f"{BOOT_ID.read_text().strip()}\n{why}\n")
    beside.rename(memory)
