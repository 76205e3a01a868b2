"""The initramfs: busybox, the drivers of the guest's disks, and the guest's own programs.

    /init           guest/early-init.sh
    /modules/       the drivers, in the order of /modules/order
    /guest/         the guest's own programs: copied into its root, so that a changed one needs no new image
    /systemd/       for /etc/systemd: the units to start, and links to /dev/null for those to pass over
    /bin/busybox    static

Debian's own initrd works too, but costs seconds under emulation, and its making needs root. The format is
cpio "newc": a header of 110 ASCII characters, the name, the data, each padded to 4 bytes.

See <kernel>/driver-api/early-userspace/buffer-format.rst; modules.dep(5).
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

GUEST = Path(__file__).with_name("guest")
FIRST = "early-init.sh"
PROGRAMS = ("agent.py", "guest-init.sh", "install-toolkit.sh", "launchers.sh", "load-drivers.sh")
UNITS = ("minicontainer-agent.service", "minicontainer-toolkit.service")
MASKED = "masked-units.txt"
# What would look for disks, terminals and sockets that no guest has, each a program to start.
GENERATORS = (
    "systemd-cryptsetup-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-ssh-generator",
)
# What stands between the kernel and its root file system; the rest is in the image, and loads by itself.
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_console", "squashfs", "overlay", "ext4")
DIRECTORIES = (
    "bin",
    "dev",
    "proc",
    "sys",
    "modules",
    "guest",
    "systemd",
    "systemd/system",
    "lower",
    "upper",
    "root",
)
WANTS = "systemd/system/multi-user.target.wants"
CONSOLE = (5, 1)  # the device numbers of /dev/console


class Cpio:
    """An archive, entry by entry; `bytes()` gives it whole."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._inode = 0

    def directory(self, name: str) -> None:
        """Add an empty directory."""
        self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o755) -> None:
        """Add a file."""
        self._entry(name, stat.S_IFREG | mode, data)

    def char_device(self, name: str, device: tuple[int, int]) -> None:
        """Add a device node, its numbers given as (major, minor)."""
        self._entry(name, stat.S_IFCHR | 0o600, device=device)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def __bytes__(self) -> bytes:
        end = Cpio()
        end._entry("TRAILER!!!", 0)
        return b"".join(self._parts + end._parts)

    def _entry(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self._parts += [padded(header + encoded), padded(data)]


def padded(data: bytes) -> bytes:
    """Fill up with zeros to a multiple of four."""
    return data + b"\0" * (-len(data) % 4)


def loading_order(modules_dep: str, modules_builtin: str, wanted: Iterable[str] = DRIVERS) -> list[str]:
    """List the files of modules to load, dependencies first; what is built into the kernel needs none.

    Raises KeyError for a module that the kernel does not have.
    """
    needs = dict(line.split(":", 1) for line in modules_dep.splitlines() if ":" in line)
    path_of = {module_name(path): path for path in needs}
    builtin = {module_name(path) for path in modules_builtin.split()}
    order: list[str] = []
    for name in wanted:
        if name not in builtin:
            path = path_of[name]
            order += [each for each in (*reversed(needs[path].split()), path) if each not in order]
    return order


def module_name(path: str) -> str:
    """Give the name under which the kernel knows the module in a file: - and _ are the same to it."""
    return PurePosixPath(path).name.split(".ko")[0].replace("-", "_")


def guest_files() -> dict[str, bytes]:
    """Read what the guest brings of ours, by name."""
    return {name: (GUEST / name).read_bytes() for name in (FIRST, *PROGRAMS, *UNITS, MASKED)}


def pack(
    busybox: bytes, modules: Mapping[str, bytes], order: Sequence[str], guest: Mapping[str, bytes]
) -> bytes:
    """Return the archive; `order` names the `modules`, and `guest` is what `guest_files` gives."""
    cpio = Cpio()
    for name in DIRECTORIES:
        cpio.directory(name)
    cpio.char_device("dev/console", CONSOLE)
    cpio.file("bin/busybox", busybox)
    cpio.file("init", guest[FIRST])
    cpio.file("modules/order", "".join(f"{name}\n" for name in order).encode(), 0o644)
    for name in order:
        cpio.file(f"modules/{name}", modules[name], 0o644)
    for name in PROGRAMS:
        cpio.file(f"guest/{name}", guest[name])
    add_units(cpio, guest)
    return bytes(cpio)


def add_units(cpio: Cpio, guest: Mapping[str, bytes]) -> None:
    """Add the units to start, each wanted by the boot, and links for those to pass over."""
    cpio.directory(WANTS)
    for name in UNITS:
        cpio.file(f"systemd/system/{name}", guest[name], 0o644)
        cpio.link(f"{WANTS}/{name}", f"../{name}")
    for line in guest[MASKED].decode().splitlines():
        if line and not line.startswith("#"):
            cpio.link(f"systemd/system/{line}", "/dev/null")
    cpio.directory("systemd/system-generators")
    for name in GENERATORS:
        cpio.link(f"systemd/system-generators/{name}", "/dev/null")
