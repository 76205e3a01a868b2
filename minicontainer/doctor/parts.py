"""The parts of the kernel that containers are made of: overlay, bridge, veth, nftables, seccomp and the rest.

A part may be there, come as a module when it is asked for, or not exist. Where a trial was made, it decides:
a container around us may forbid what the kernel has.

See overlayfs.rst, bridge(8), veth(4), nft(8), seccomp(2), apparmor(7), <Documentation/admin-guide/LSM>.
"""

from __future__ import annotations

from minicontainer.doctor.finding import Finding, limited, missing, ok
from minicontainer.doctor.machine import Machine
from minicontainer.doctor.packages import installing
from minicontainer.doctor.system import is_windows, newer_kernel

OVERLAY_FOR_USERS = (5, 11)
WANTED_ACTIONS = {"kill_process", "errno", "user_notif", "trap", "allow"}


def has_part(machine: Machine, module: str) -> bool | None:
    """Say whether the kernel has a part, or can load it; None where that cannot be seen."""
    state = machine.answers.modules.get(module)
    return None if state is None else bool(state)


def tried_in_network(machine: Machine, name: str) -> str | None:
    """Give the answer of a trial that needs a network namespace; None also where there was none to be had."""
    tried = machine.answers.trials.get(name)
    return None if tried and tried.startswith(("unshare:", "write_id_map:")) else tried


def overlay(machine: Machine) -> list[Finding]:
    """Look for overlayfs, which lays a container's changes over its image."""
    tried = machine.answers.trials.get("overlay")
    if tried:
        return missing("overlay", f"tried: {tried}", "see rights and container above", needed=True)
    known = "overlay" in machine.read("/proc/filesystems").split()
    if tried == "":
        return ok("overlay", "tried: it works")
    if known or has_part(machine, "overlay"):
        return ok("overlay", "the kernel has it" if known else "a module, loaded when it is needed")
    return missing(
        "overlay",
        "the kernel has no overlay file system: no writable layer over an image",
        "a kernel with CONFIG_OVERLAY_FS; until then run a directory: minicontainer run --rootfs DIRECTORY",
        needed=True,
    )


def overlay_for_users(machine: Machine) -> list[Finding]:
    """Say whether an ordinary user may lay an overlay in his user namespace, or has FUSE instead."""
    name = "overlay for users"
    tried = machine.answers.trials.get("overlay in a user namespace")
    fuse = "fuse-overlayfs" in machine.answers.programs and machine.answers.devices.get("/dev/fuse")
    if tried == "":
        return ok(name, "tried as an ordinary user: it works")
    instead = "; fuse-overlayfs is there instead" if fuse else ""
    mend = "" if fuse else f"{installing(machine, 'fuse-overlayfs')} (slower, and needs /dev/fuse)"
    if machine.kernel < OVERLAY_FOR_USERS:
        return limited(name, f"needs Linux 5.11{instead}", mend)
    if tried:
        return limited(name, f"tried as an ordinary user: {tried}{instead}", mend)
    return ok(name, f"Linux {machine.answers.release} allows it in user namespaces (not tried)")


def nftables(machine: Machine) -> list[Finding]:
    """Look for nftables: the program and the kernel's part."""
    tried = tried_in_network(machine, "nftables")
    if tried or (tried is None and has_part(machine, "nf_tables") is False):
        says = f"tried: {tried}" if tried else "the kernel has no nf_tables"
        return limited(
            "nftables", f"{says}: no published ports, no way out for containers", need_modules(machine)
        )
    if "nft" not in machine.answers.programs:
        says = "the program nft is not installed: rules cannot be looked at"
        return limited("nftables", says, installing(machine, "nft"))
    return ok("nftables", "nft, and the kernel's part" if tried == "" else "nft is installed (not tried)")


def links(machine: Machine) -> list[Finding]:
    """Look for the two kinds of link that container networks are made of."""
    found = []
    for kind, what in (("bridge", "switches"), ("veth", "cables")):
        tried = tried_in_network(machine, kind)
        if tried or (tried is None and has_part(machine, kind) is False):
            says = (
                f"{'tried: ' + tried if tried else 'the kernel has none'}: no {what} for container networks"
            )
            found += limited(kind, says, need_modules(machine))
        else:
            found += ok(kind, "tried: it works" if tried == "" else "nothing speaks against it (not tried)")
    return found


def need_modules(machine: Machine) -> str:
    """Say where a missing part of the kernel may come from."""
    if is_windows(machine):
        return newer_kernel(machine)
    return "load the module (modprobe), or install the distribution's full kernel; or use minicontainer vm up"


def seccomp(machine: Machine) -> list[Finding]:
    """Look for the filter of system calls, with the answers that it can give."""
    actions = set(machine.read("/proc/sys/kernel/seccomp/actions_avail").split())
    if not actions:
        says = "the kernel cannot filter system calls"
        return missing("seccomp", says, "a kernel with CONFIG_SECCOMP_FILTER", needed=True)
    absent = sorted(WANTED_ACTIONS - actions)
    if absent:
        return limited("seccomp", f"filters cannot answer {', '.join(absent)}", "a newer kernel")
    return ok("seccomp", "filters of system calls, with notification")


def security_modules(machine: Machine) -> list[Finding]:
    """Name the mandatory access control that holds containers beside all else."""
    name = "security modules"
    if machine.read("/sys/module/apparmor/parameters/enabled").startswith("Y"):
        return ok(name, "AppArmor")
    enforcing = machine.read("/sys/fs/selinux/enforce")
    if enforcing:
        return ok(name, f"SELinux, {'enforcing' if enforcing == '1' else 'permissive'}")
    says = "neither AppArmor nor SELinux: profiles and labels that a container asks for are refused"
    return limited(
        name, says, "only if you need them: a kernel that has one; minicontainer vm up has AppArmor"
    )


def busybox(machine: Machine) -> list[Finding]:
    """Look for the program that the image busybox is made of."""
    if "busybox" in machine.answers.programs:
        return ok("image busybox", "can be built from this machine's busybox")
    says = "busybox is not installed: the image of that name cannot be built"
    return limited("image busybox", says, installing(machine, "busybox"))
