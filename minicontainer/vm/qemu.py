"""QEMU's command line: a guest as a list of devices, always the same ones, as a frozen guest needs them.

    root      virtio disk, read-only: the image         serial     the console, kept in a file
    toolkit   virtio disk, read-only: this checkout     agent      virtio-serial port: the host's requests
    scratch   virtio disk: what the guest changes       out, lan   network cards: to the host, to others

Disks are found by their serial, so an absent one moves nobody.

See qemu(1); testing with KVM and without: minicontainer/vm/backend.py.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minicontainer.errors import Error, Unsupported
from minicontainer.linux import programs

if TYPE_CHECKING:
    from minicontainer.vm.backend import Backend
    from minicontainer.vm.image import Image

LONGEST_SOCKET_PATH = 107  # bytes: unix(7), sun_path
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Architecture:
    """What differs between processors."""

    program: str
    machine: str
    console: str


# arm64 is the same code, and not verified: no such machine was at hand.
ARCHITECTURES = {
    "x86_64": Architecture("qemu-system-x86_64", "q35", "ttyS0"),
    "aarch64": Architecture("qemu-system-aarch64", "virt,gic-version=max", "ttyAMA0"),
}


@dataclass(frozen=True, slots=True)
class Hardware:
    """What may be chosen: MiB of memory (what a guest never touched costs nothing), and processors."""

    memory: int = 1024
    cpus: int = 1


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk and the serial by which the guest finds it."""

    path: Path
    serial: str
    read_only: bool = False
    size: int = 0  # MiB, of a scratch disk that is to be made


@dataclass(frozen=True, slots=True)
class Forward:
    """A TCP port of the host's loopback that leads to one of the guest's."""

    host_port: int
    guest_port: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One guest as it is to be. `place` holds its sockets and its console, and must be a short path."""

    image: Image
    place: Path
    name: str
    hardware: Hardware = Hardware()
    disks: tuple[Disk, ...] = ()
    number: int = 0  # 1 for node1: the last byte of its MAC address
    lan: Path | None = None  # the switch's socket; None: the card's cable is not plugged in
    forwards: tuple[Forward, ...] = ()
    online: bool = False  # may reach what the host reaches; else only the host reaches it
    words: tuple[str, ...] = ()  # for the kernel's command line
    ram: Path | None = None  # the file that is its memory, for freezing
    state: Path | None = None  # a frozen guest's devices: `ram` is then mapped copy-on-write
    share: Path | None = None  # virtiofsd's socket

    def path(self, kind: str) -> Path:
        """Give the path of its agent, qmp or console."""
        return self.place / f"{self.name}.{kind}"


def architecture() -> Architecture:
    """Describe this machine's. Raises Unsupported."""
    try:
        return ARCHITECTURES[platform.machine()]
    except KeyError:
        raise Unsupported(f"no virtual machines on {platform.machine()}: only x86_64 and aarch64") from None


def mac_address(number: int) -> str:
    """Give the address of a node's card `lan`: locally administered, QEMU's own prefix."""
    return f"52:54:00:77:{number >> 8:02x}:{number & 255:02x}"


def version(command: list[str]) -> tuple[int, int]:
    """Ask a QEMU for its version."""
    words = programs.run([*command, "--version"]).split()
    try:
        major, minor = words[words.index("version") + 1].split(".")[:2]
        return int(major), int(minor)
    except (ValueError, IndexError):
        raise Error(f"{command[0]} does not say its version") from None


def command_line(plan: Plan, qemu: list[str], backend: Backend) -> list[str]:
    """Write the whole command line. Raises Error for a path that is too long for a socket."""
    for kind in ("agent", "qmp"):
        if len(bytes(plan.path(kind))) > LONGEST_SOCKET_PATH:
            raise Error(
                f"the path {plan.path(kind)} is too long for a socket", "set XDG_RUNTIME_DIR to a shorter one"
            )
    return [
        *qemu,
        *("-name", plan.name, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *machine(plan, backend),
        *("-kernel", str(plan.image.kernel), "-initrd", str(plan.image.initramfs)),
        *("-append", kernel_words(plan)),
        *("-device", "virtio-rng-pci", "-serial", f"file:{option(plan.path('console'))}"),
        *wires(plan),
        *disks(plan),
        *cards(plan),
        *shared_directory(plan),
        *(("-incoming", "defer") if plan.state else ()),
    ]


def option(path: Path) -> str:
    """Write a path inside one of QEMU's options, where a comma is doubled."""
    return str(path).replace(",", ",,")


def machine(plan: Plan, backend: Backend) -> Iterator[str]:
    """Choose processors and memory."""
    shared = plan.ram or plan.share
    yield from ("-machine", architecture().machine + (",memory-backend=ram" if shared else ""))
    yield from ("-accel", backend.accelerator, "-cpu", backend.cpu, "-smp", str(plan.hardware.cpus))
    yield from ("-m", f"{plan.hardware.memory}M")
    size = f"id=ram,size={plan.hardware.memory}M"
    if plan.ram:
        share = "off" if plan.state else "on"
        yield from ("-object", f"memory-backend-file,{size},mem-path={option(plan.ram)},share={share}")
    elif plan.share:
        yield from ("-object", f"memory-backend-memfd,{size},share=on")


def kernel_words(plan: Plan) -> str:
    """Say what the kernel and the first program are told: <kernel>/admin-guide/kernel-parameters.txt."""
    usual = (f"console={architecture().console}", "quiet", "panic=-1", "psi=1", "net.ifnames=0")
    return " ".join((*usual, "apparmor=1", "security=apparmor", *plan.words))


def wires(plan: Plan) -> Iterator[str]:
    """Lay the agent's port and QEMU's own control socket."""
    yield from ("-device", "virtio-serial-pci")
    yield from ("-chardev", f"socket,id=agent,path={option(plan.path('agent'))},server=on,wait=off")
    yield from ("-device", "virtserialport,chardev=agent,name=minicontainer.agent")
    yield from ("-qmp", f"unix:{option(plan.path('qmp'))},server=on,wait=off")


def disks(plan: Plan) -> Iterator[str]:
    """Put in the image first, then the others."""
    for disk in (Disk(plan.image.root, "root", read_only=True), *plan.disks):
        read_only = ",readonly=on" if disk.read_only else ""
        yield from ("-drive", f"id={disk.serial},if=none,file={option(disk.path)},format=raw{read_only}")
        yield from ("-device", f"virtio-blk-pci,drive={disk.serial},serial={disk.serial}")


def cards(plan: Plan) -> Iterator[str]:
    """Plug in `out`, eth0: a network of this guest and the host alone; and `lan`, eth1: the switch."""
    ports = "".join(f",hostfwd=tcp:{LOOPBACK}:{each.host_port}-:{each.guest_port}" for each in plan.forwards)
    yield from ("-netdev", f"user,id=out,restrict={'off' if plan.online else 'on'}{ports}")
    yield from ("-device", "virtio-net-pci,netdev=out,romfile=")
    if plan.lan:
        yield from ("-netdev", f"stream,id=lan,server=off,addr.type=unix,addr.path={option(plan.lan)}")
    else:
        yield from ("-netdev", "hubport,id=lan,hubid=0")
    yield from ("-device", f"virtio-net-pci,netdev=lan,romfile=,mac={mac_address(plan.number)}")


def shared_directory(plan: Plan) -> Iterator[str]:
    """Lend a directory of the host by virtio-fs, under the tag `share`."""
    if plan.share:
        yield from ("-chardev", f"socket,id=share,path={option(plan.share)}")
        yield from ("-device", "vhost-user-fs-pci,chardev=share,tag=share")
