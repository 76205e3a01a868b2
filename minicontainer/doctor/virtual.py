"""What `minicontainer vm` needs: a processor that runs guests, or patience; QEMU; what an image is made with.

/dev/kvm is no proof: in a rented virtual machine it may open and still run no kernel. So the trial decides.

See minicontainer/linux/kvm.py; qemu(1), mmdebstrap(1), squashfs-tools.
"""

from __future__ import annotations

import re

from minicontainer.doctor.finding import Finding, limited, missing, ok
from minicontainer.doctor.machine import Machine
from minicontainer.doctor.packages import installing
from minicontainer.doctor.system import GIGABYTE, available_memory, container, hypervisor, room_at, size

DEVICE = "/dev/kvm"
QEMU = {"x86_64": "qemu-system-x86_64", "aarch64": "qemu-system-aarch64"}
FAST_QEMU = 10
BUILDERS = {
    "mmdebstrap": "collects the packages",
    "sqfstar": "packs the disk",
    "mke2fs": "makes disks to write on",
}
SPACE = 2 * GIGABYTE  # an image, its parts while it is built, and a guest's disk
MEMORY = GIGABYTE


def kvm(machine: Machine) -> list[Finding]:
    """Say whether guests run at the processor's speed."""
    slow = "guests are emulated, six to ten times slower"
    tried = machine.answers.trials.get("kvm")
    if tried == "":
        return ok("kvm", "tried: guests run as fast as this machine does")
    if DEVICE not in machine.answers.devices:
        return limited("kvm", f"there is no {DEVICE}: {slow}", how_to_get_kvm(machine))
    if not machine.answers.devices[DEVICE]:
        return limited(
            "kvm",
            f"{DEVICE} is not for {machine.answers.user}: {slow}",
            f"as root: usermod -aG kvm {machine.answers.user}; log in anew",
        )
    if tried:
        says = f"{DEVICE} opens, but {tried}: {slow}"
        return limited("kvm", says, "another machine; here emulation is the way that works")
    return limited(
        "kvm", f"{DEVICE} is there, which proves nothing (not tried)", "run minicontainer doctor here"
    )


def how_to_get_kvm(machine: Machine) -> str:
    """Say where KVM would come from."""
    around = hypervisor(machine)
    if around == "WSL":
        return (
            "in Windows 11, write `[wsl2]` and `nestedVirtualization = true` into %UserProfile%\\.wslconfig"
        )
    if container(machine):
        return "start the container around us with --device /dev/kvm"
    if around:
        return f"ask for nested virtualization where this virtual machine ({around}) is configured"
    if machine.answers.architecture != "x86_64":
        return "modprobe kvm, or a kernel with CONFIG_KVM"
    return "switch on virtualization (VT-x, AMD-V) in the firmware; then modprobe kvm_intel or kvm_amd"


def qemu(machine: Machine) -> list[Finding]:
    """Look for QEMU, and whether it is one of the fast ones."""
    name = QEMU.get(machine.answers.architecture)
    if name is None:
        says = f"no guests are made for {machine.answers.architecture}"
        return missing("qemu", says, "use a machine with x86-64 or 64-bit ARM")
    program = machine.answers.programs.get(name)
    if program is None and "mmdebstrap" in machine.answers.programs:
        says = f"{name} is not installed; minicontainer vm unpacks one from Debian's packages"
        return limited(
            "qemu", says, f"{installing(machine, name)} (smaller, if it is QEMU {FAST_QEMU} or newer)"
        )
    if program is None:
        return missing("qemu", f"{name} is not installed", installing(machine, name))
    found = re.search(r"version (\d+)\.(\d+)", program.version)
    if found and int(found[1]) >= FAST_QEMU:
        return ok("qemu", f"QEMU {found[1]}.{found[2]}")
    number = f"{found[1]}.{found[2]}" if found else "of unknown version"
    says = f"QEMU {number}: good enough, but from 10 on emulated programs start four times faster"
    return limited(
        "qemu", says, "nothing need be done: minicontainer vm gets itself a newer one where it can"
    )


def builders(machine: Machine) -> list[Finding]:
    """Look for the programs that make a guest's disk."""
    absent = [name for name in BUILDERS if name not in machine.answers.programs]
    if absent:
        what = "; ".join(f"{name}, which {BUILDERS[name]}" for name in absent)
        return missing("image tools", f"not installed: {what}", installing(machine, *absent))
    return ok("image tools", ", ".join(BUILDERS))


def ssh(machine: Machine) -> list[Finding]:
    """Look for ssh, which is for people; commands go another way."""
    if "ssh" in machine.answers.programs:
        return ok("ssh", "installed")
    return limited("ssh", "not installed: no minicontainer vm ssh", installing(machine, "ssh"))


def memory(machine: Machine) -> list[Finding]:
    """Look whether a guest fits into memory."""
    available = available_memory(machine)
    says = f"{size(available)} available"
    if available < MEMORY:
        return limited(
            "memory for guests", f"{says}; a guest wants {size(MEMORY)}", "minicontainer vm up --memory 512M"
        )
    return ok("memory for guests", f"{says}, for about {available // MEMORY} guests")


def room(machine: Machine) -> list[Finding]:
    """Look at the disk where guests lie."""
    return room_at(machine, "virtual machines", SPACE)
