"""Which package brings a program: the name differs from one distribution to the next.

Unknown distributions are told the program's name only; a wrong package name is worse than none.

See os-release(5); https://packages.debian.org, https://packages.fedoraproject.org.
"""

from __future__ import annotations

from minicontainer.doctor.machine import Machine

# program: (Debian and its children, Fedora and its children)
PACKAGES = {
    "busybox": ("busybox-static", "busybox"),
    "fuse-overlayfs": ("fuse-overlayfs", "fuse-overlayfs"),
    "ip": ("iproute2", "iproute"),
    "mke2fs": ("e2fsprogs", "e2fsprogs"),
    "mmdebstrap": ("mmdebstrap", "mmdebstrap"),
    "newgidmap": ("uidmap", "shadow-utils"),
    "newuidmap": ("uidmap", "shadow-utils"),
    "nft": ("nftables", "nftables"),
    "qemu-system-aarch64": ("qemu-system-arm", "qemu-system-aarch64-core"),
    "qemu-system-x86_64": ("qemu-system-x86", "qemu-system-x86-core"),
    "sqfstar": ("squashfs-tools", "squashfs-tools"),
    "ssh": ("openssh-client", "openssh-clients"),
}
INSTALLERS = {"debian": (0, "apt-get install"), "fedora": (1, "dnf install")}


def installing(machine: Machine, *programs: str) -> str:
    """Say how to install programs on this machine's distribution."""
    for family in families(machine):
        if family in INSTALLERS:
            column, command = INSTALLERS[family]
            packages = sorted({PACKAGES[program][column] for program in programs})
            return f"{command} {' '.join(packages)}"
    return f"install {', '.join(programs)}"


def families(machine: Machine) -> list[str]:
    """Name the distribution and those that it descends from."""
    lines = sorted(machine.lines("/etc/os-release", r"^(ID|ID_LIKE)="))
    return [name for line in lines for name in line.partition("=")[2].strip('"').split()]
