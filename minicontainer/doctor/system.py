"""The machine as a whole: kernel, architecture, what it runs in, who asks, Python, memory, room on the disk.

See uname(2), capabilities(7), proc_meminfo(5), systemd-detect-virt(1) for how virtual machines are known,
container_interface (systemd) for how containers are.
"""

from __future__ import annotations

from minicontainer.doctor.finding import Finding, limited, missing, ok
from minicontainer.doctor.machine import Machine
from minicontainer.linux.capabilities import CAP_SYS_ADMIN, CAP_SYS_RESOURCE

LEAST_KERNEL = (5, 12)
# What came later, and what happens without it. What came earlier is needed: pidfd_open and clone3 (5.3),
# openat2 (5.6), CLONE_INTO_CGROUP (5.7), close_range (5.9), mount_setattr (5.12).
LATER = {
    (5, 14): "cgroup.kill: the processes of a container are killed one by one",
    (5, 19): "id-mapped overlays: id-mapped volumes work on fewer file systems",
    (6, 3): "id-mapped tmpfs: a tmpfs cannot have owners of its own",
}
VERIFIED, UNTRIED = ("x86_64",), ("aarch64", "riscv64", "loongarch64")
LEAST_PYTHON = (3, 11)
MEGABYTE, GIGABYTE = 1 << 20, 1 << 30
LITTLE_MEMORY, LITTLE_SPACE, LITTLE_INODES = 256 * MEGABYTE, 200 * MEGABYTE, 10_000
WHOLE_ID_SPACE = ["0", "0", "4294967295"]
# What the firmware says it is: what that means. In this order, as systemd-detect-virt asks.
VENDORS = {
    "KVM": "KVM", "OpenStack": "KVM", "KubeVirt": "KVM", "Amazon EC2": "Amazon EC2", "QEMU": "QEMU",
    "VMware": "VMware", "VMW": "VMware", "innotek GmbH": "VirtualBox", "VirtualBox": "VirtualBox",
    "Xen": "Xen", "Bochs": "Bochs", "Parallels": "Parallels", "BHYVE": "bhyve", "Virtual Machine": "Hyper-V",
    "Apple Virtualization": "Apple's Virtualization", "Google Compute Engine": "Google Compute Engine",
}  # fmt: skip


def kernel(machine: Machine) -> list[Finding]:
    """Compare the kernel's version with what the runtime asks for."""
    release = machine.answers.release
    if machine.kernel < LEAST_KERNEL:
        return missing(
            "kernel",
            f"Linux {release}: the runtime needs mount_setattr, openat2 and clone3, so Linux 5.12",
            newer_kernel(machine),
            needed=True,
        )
    without = [what for version, what in LATER.items() if machine.kernel < version]
    if without:
        return limited("kernel", f"Linux {release} lacks {'; '.join(without)}", newer_kernel(machine))
    return ok("kernel", f"Linux {release}")


def newer_kernel(machine: Machine) -> str:
    """Say how this machine comes to a newer kernel."""
    if is_windows(machine):
        return "in PowerShell: wsl --update"
    return "a newer kernel or distribution, or a virtual machine: minicontainer vm up"


def is_windows(machine: Machine) -> bool:
    """Say whether this is the Windows Subsystem for Linux, by the name that its kernels have."""
    return "microsoft" in machine.answers.release.lower()


def architecture(machine: Machine) -> list[Finding]:
    """Say whether anybody has tried this kind of processor."""
    name = machine.answers.architecture
    if name in VERIFIED:
        return ok("architecture", name)
    if name in UNTRIED:
        return limited("architecture", f"{name}: the same code should work, but is not verified here")
    return missing("architecture", f"{name} is not known to the runtime", "use another machine", needed=True)


def windows(machine: Machine) -> list[Finding]:
    """Tell the Windows Subsystem for Linux, whose first version has no Linux kernel at all."""
    release = machine.answers.release
    if release.endswith("-Microsoft"):
        return missing(
            "wsl",
            f"WSL 1 ({release}): Windows plays Linux here, without namespaces and control groups",
            "in PowerShell: wsl --set-version DISTRIBUTION 2",
            needed=True,
        )
    if not is_windows(machine):
        return []
    if machine.has("/run/systemd/system"):
        return ok("wsl", "WSL 2, with systemd")
    says = "WSL 2 without systemd: no control groups of a user's own, no --systemd-cgroup"
    if machine.lines("/etc/wsl.conf", r"^\s*systemd\s*=\s*true"):
        return limited("wsl", f"{says}, although /etc/wsl.conf asks for it", "in PowerShell: wsl --shutdown")
    mend = "write `[boot]` and `systemd=true` into /etc/wsl.conf, then in PowerShell: wsl --shutdown"
    return limited("wsl", says, mend)


def inside_container(machine: Machine) -> list[Finding]:
    """Tell a container around us, which may withhold what the kernel could give."""
    name = container(machine)
    if not name:
        return []
    if has_capability(machine, CAP_SYS_ADMIN, "CapBnd"):
        return ok("container", f"this is inside a container ({name}), which leaves us our rights")
    return limited(
        "container",
        f"this is inside a container ({name}), which withholds rights",
        "start the outer container with --privileged, or go to the machine outside",
    )


def container(machine: Machine) -> str:
    """Name the software that made the container around us; "" outside of any."""
    told = machine.read("/run/systemd/container").strip()
    if told:
        return told
    for path, name in (("/run/.containerenv", "podman"), ("/.dockerenv", "docker")):
        if machine.has(path):
            return name
    for line in machine.lines("/proc/1/environ", r"^container="):
        return line.partition("=")[2]
    return "kubernetes" if machine.lines("/proc/1/cgroup", "kubepods") else ""


def inside_machine(machine: Machine) -> list[Finding]:
    """Tell a virtual machine around us: it matters for KVM and for measurements."""
    name = hypervisor(machine)
    return ok(
        "hypervisor", f"this is a virtual machine ({name})" if name else "none: this looks like bare hardware"
    )


def hypervisor(machine: Machine) -> str:
    """Name the hypervisor under us; "" on bare hardware, as far as one can see."""
    if is_windows(machine):
        return "WSL"
    for file in ("product_name", "sys_vendor", "board_vendor", "bios_vendor"):
        text = machine.read(f"/sys/class/dmi/id/{file}")
        for begin, name in VENDORS.items():
            if text.startswith(begin):
                return name
    compatible = machine.read("/proc/device-tree/hypervisor/compatible")
    if compatible:
        return "KVM" if "linux,kvm" in compatible else compatible.split("\0")[0]
    return "of an unnamed kind" if machine.lines("/proc/cpuinfo", r"^flags\s.*\bhypervisor\b") else ""


def rights(machine: Machine) -> list[Finding]:
    """Say what the one who asks may do."""
    if not machine.is_root:
        says = "`minicontainer run` needs root so far; without, minicontainer-runtime can run a bundle"
        return limited("rights", says, "use sudo")
    if not has_capability(machine, CAP_SYS_ADMIN):
        says = "root, but without CAP_SYS_ADMIN: no namespaces, no mounts"
        return missing("rights", says, "start the container around us with --privileged", needed=True)
    if machine.read("/proc/self/uid_map").split() not in ([], WHOLE_ID_SPACE):
        return limited(
            "rights", "root of a user namespace only: no devices, no control groups of the machine"
        )
    if not has_capability(machine, CAP_SYS_RESOURCE):
        says = "root, but without CAP_SYS_RESOURCE: limits (ulimit) cannot be raised above our own"
        return limited("rights", says)
    return ok("rights", "root, with every right that the runtime uses")


def has_capability(machine: Machine, number: int, among: str = "CapEff") -> bool:
    """Say whether a capability is effective, or (`CapBnd`) can be had at all."""
    found = machine.lines("/proc/self/status", f"^{among}:")
    return bool(found) and bool(int(found[0].split()[1], 16) >> number & 1)


def python(machine: Machine) -> list[Finding]:
    """Look at the interpreter and the libraries."""
    version = machine.answers.python
    if tuple(map(int, version.split(".")[:2])) < LEAST_PYTHON:
        says = f"Python {version}: minicontainer needs 3.11"
        return missing("python", says, "install a newer python3", needed=True)
    without = [name for name, found in machine.answers.libraries.items() if not found]
    if without:
        says = f"Python {version}, without {', '.join(without)}"
        return missing("python", says, "install minicontainer again: make, or pip install", needed=True)
    return ok("python", f"Python {version} and {len(machine.answers.libraries)} libraries")


def memory(machine: Machine) -> list[Finding]:
    """Look at what is free: a container's changes lie in memory."""
    available = available_memory(machine)
    says = f"{size(available)} available"
    if available < LITTLE_MEMORY:
        return limited(
            "memory", f"{says}: what a container writes lies in memory", "end other programs, add swap"
        )
    return ok("memory", says)


def available_memory(machine: Machine) -> int:
    """Say how many bytes can be had without swapping."""
    found = machine.lines("/proc/meminfo", "^MemAvailable:")
    return int(found[0].split()[1]) * 1024 if found else 0


def room(machine: Machine) -> list[Finding]:
    """Look at the disk where images lie."""
    return room_at(machine, "images", LITTLE_SPACE)


def room_at(machine: Machine, what: str, wanted: int) -> list[Finding]:
    """Look at the disk where something is kept that takes `wanted` bytes."""
    place = machine.answers.places.get(what)
    if place is None:
        return []
    name = f"room for {what}"
    says = f"{size(place.free)} free at {place.path}"
    if place.free < wanted:
        return limited(
            name, f"{says}, {size(wanted)} are wanted", "remove what is not needed, or use a larger disk"
        )
    if place.inodes is not None and place.inodes < LITTLE_INODES:
        says = f"{says}, but only {place.inodes} files more (inodes)"
        return limited(name, says, "remove small files, or make the file system again with more inodes")
    return ok(name, says)


def size(number: int) -> str:
    """Write a number of bytes for people."""
    if number >= GIGABYTE:
        return f"{number / GIGABYTE:.1f} GB"
    return f"{number // MEGABYTE} MB"
