"""Which machine the figures come from, and whether its clock can be believed.

    bare hardware, a virtual machine with a hypervisor's help    milliseconds and ratios
    a machine whose processor is emulated                        counts: nothing there takes its real time

A processor that QEMU emulates says so in its name. One that was given a real processor's name does not; but
QEMU's own machine (DMI) to which no hypervisor offers its clock is emulated all the same.

See systemd-detect-virt(1), proc_cpuinfo(5); <Documentation/virt/kvm/x86/msr.rst> "kvm-clock".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CPUINFO = "proc/cpuinfo"
CLOCKS = "sys/devices/system/clocksource/clocksource0/available_clocksource"
DMI = "sys/class/dmi/id"
DEVICE_TREE = "proc/device-tree/hypervisor/compatible"
EMULATED = re.compile(r"QEMU TCG CPU|User Mode Linux")
QEMU_CPU = re.compile(r"QEMU Virtual CPU")
ARM_OF_QEMU = re.compile(
    r"^CPU implementer\s*:\s*0x00$", re.MULTILINE
)  # its `-cpu max`; no maker has number 0
MAKERS = (
    ("QEMU", "QEMU"), ("VirtualBox", "VirtualBox"), ("VMware", "VMware"), ("Parallels", "Parallels"),
    ("Microsoft", "Hyper-V"), ("Amazon EC2", "Amazon EC2"), ("Google", "Google"), ("Xen", "Xen"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures were taken on."""

    name: str
    emulated: bool


def examine(root: Path = Path("/")) -> Machine:
    """Look at this machine, or at one whose /proc and /sys were recorded below `root`."""
    processor, clocks = text(root / CPUINFO), text(root / CLOCKS).split()
    made_by = maker(root)
    virtual = bool(re.search(r"^flags\s.*\bhypervisor\b", processor, re.MULTILINE))
    helped = "kvm-clock" in clocks
    if EMULATED.search(processor) or ARM_OF_QEMU.search(processor):
        what = "user-mode Linux" if "User Mode Linux" in processor else "QEMU's software emulation (TCG)"
        return Machine(f"a virtual machine: {what}", True)
    if virtual and not helped and (made_by == "QEMU" or QEMU_CPU.search(processor)):
        return Machine("a virtual machine: QEMU's software emulation (TCG), no hypervisor's clock", True)
    kinds = [name for name, found in (("KVM", helped), (made_by, bool(made_by))) if found]
    if not virtual and not helped and not made_by and not text(root / DEVICE_TREE):
        return Machine("bare hardware, as far as it shows", False)
    return Machine(f"a virtual machine: {', '.join(kinds) or 'of an unnamed kind'}", False)


def maker(root: Path) -> str:
    """Name the maker of a virtual machine by its DMI strings; "" for others, and where there are none."""
    strings = " ".join(text(root / DMI / name) for name in ("sys_vendor", "product_name"))
    if "Microsoft" in strings and "Virtual Machine" not in strings:
        return ""  # they make real machines, too
    if "Google" in strings and "Compute Engine" not in strings:
        return ""
    return next((name for word, name in MAKERS if word in strings), "")


def text(path: Path) -> str:
    """Read a file; "" where it is not there."""
    try:
        return path.read_text(errors="replace").strip("\0\n")
    except OSError:
        return ""
