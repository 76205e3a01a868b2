"""Control groups: which version rules here, which controllers it has, and who may hand them on.

    unified    cgroup v2 alone, at /sys/fs/cgroup: everything works
    hybrid     v1 beside v2: a controller belongs to one of the two, and usually to v1
    legacy     v1 alone
    none       nothing is mounted

See cgroups(7), <Documentation/admin-guide/cgroup-v2.rst>, systemd.resource-control(5) "Delegate=".
"""

from __future__ import annotations

from minicontainer.doctor.finding import Finding, limited, ok
from minicontainer.doctor.machine import Machine
from minicontainer.doctor.packages import families
from minicontainer.doctor.system import is_windows

HOME = "/sys/fs/cgroup"
OPTION_OF = {"memory": "--memory", "cpu": "--cpus", "pids": "--pids-limit"}
OF_V1 = (
    "cpuset cpu cpuacct blkio memory devices freezer net_cls perf_event net_prio hugetlb pids rdma misc"
).split()
IN_A_MACHINE = "or use a virtual machine: minicontainer vm up"


def mode(machine: Machine) -> list[Finding]:
    """Say which version of control groups rules."""
    found = mode_of(machine)
    if found == "unified" and held_by_v1(machine):
        held = " ".join(sorted(held_by_v1(machine)))
        return limited(
            "cgroups", f"cgroup v2 rules, but v1 is mounted too and holds {held}", how_to_unify(machine, "")
        )
    if found == "unified":
        return ok("cgroups", "cgroup v2 alone (unified)")
    says = {
        "hybrid": "cgroup v1 beside v2 (hybrid): a limit whose controller v1 holds cannot be set",
        "legacy": "cgroup v1 alone (legacy): containers run, but without limits",
        "none": "no control groups are mounted: containers run, but without limits",
    }[found]
    return limited("cgroups", says, how_to_unify(machine, found))


def mode_of(machine: Machine) -> str:
    """Name the mode; a tree that another mount covers does not count."""
    at_home = [mount.kind for mount in machine.mounts("cgroup2", "cgroup", "tmpfs") if mount.place == HOME]
    if at_home[-1:] == ["cgroup2"]:
        return "unified"
    if tree(machine):
        return "hybrid"
    return "legacy" if machine.mounts("cgroup") else "none"


def how_to_unify(machine: Machine, found: str) -> str:
    """Say how this machine comes to cgroup v2."""
    if is_windows(machine):
        return f"in PowerShell: wsl --update; {boot_with(machine, 'cgroup_no_v1=all')}"
    if machine.has("/run/systemd/system"):
        return f"{boot_with(machine, 'systemd.unified_cgroup_hierarchy=1')}; {IN_A_MACHINE}"
    if found == "none":
        return f"mount -t cgroup2 none {HOME}"
    return f"{boot_with(machine, 'cgroup_no_v1=all')}, and mount cgroup2 at {HOME}; {IN_A_MACHINE}"


def boot_with(machine: Machine, word: str) -> str:
    """Say how a word comes onto the kernel's command line."""
    if is_windows(machine):
        return (
            f"in Windows, write `[wsl2]` and `kernelCommandLine = {word}` into %UserProfile%\\.wslconfig, "
            "then wsl --shutdown"
        )
    if "Raspberry Pi" in machine.read("/proc/device-tree/model"):
        return f"add {word} to the line in /boot/firmware/cmdline.txt, and reboot"
    if "fedora" in families(machine):
        return f"grubby --update-kernel=ALL --args={word}, and reboot"
    if machine.has("/etc/default/grub"):
        return f"add {word} to GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub and reboot"
    return f"boot with {word} on the kernel's command line"


def controllers(machine: Machine) -> list[Finding]:
    """Say which limits can be set."""
    present = available(machine)
    absent = [name for name in OPTION_OF if name not in present]
    if not absent:
        return ok("controllers", " ".join(present))
    options = ", ".join(OPTION_OF[name] for name in absent)
    held = [name for name in absent if name in held_by_v1(machine)]
    says = f"cgroup v2 has no {', '.join(absent)}: {options} will be refused"
    if held:
        return limited("controllers", f"{says} ({', '.join(held)}: held by cgroup v1)", "see cgroups above")
    if "memory" in absent and is_switched_off(machine, "memory"):
        return limited(
            "controllers",
            f"{says} (memory is switched off at boot)",
            boot_with(machine, "cgroup_enable=memory"),
        )
    return limited("controllers", says, "a kernel with these controllers, or: minicontainer vm up")


def tree(machine: Machine) -> str:
    """Say where cgroup v2 lies, "" if nowhere."""
    found = machine.mounts("cgroup2")
    return found[-1].place if found else ""


def available(machine: Machine) -> list[str]:
    """List the controllers of cgroup v2."""
    return machine.read(f"{tree(machine)}/cgroup.controllers").split() if tree(machine) else []


def held_by_v1(machine: Machine) -> set[str]:
    """List the controllers of which a v1 hierarchy is mounted."""
    return {word for mount in machine.mounts("cgroup") for word in mount.options if word in OF_V1}


def is_switched_off(machine: Machine, name: str) -> bool:
    """Say whether the kernel was told at boot to do without a controller."""
    if machine.lines("/proc/cgroups", rf"^{name}\s+\d+\s+\d+\s+0$"):
        return True
    return bool(machine.lines("/proc/cmdline", rf"\bcgroup_disable={name}\b"))


def delegation(machine: Machine) -> list[Finding]:
    """Say which controllers an ordinary user was given."""
    uid = machine.answers.uid
    if uid == 0 or mode_of(machine) != "unified":
        return []
    place = f"{tree(machine)}/user.slice/user-{uid}.slice/user@{uid}.service"
    given = machine.read(f"{place}/cgroup.controllers").split()
    absent = [name for name in OPTION_OF if name not in given]
    if not absent:
        return ok("delegation", f"{machine.answers.user} may use {' '.join(given)}")
    if not given:
        says = f"{machine.answers.user} has no control group (no systemd user manager): no limits"
        return limited("delegation", says, "loginctl enable-linger, and log in anew; not by su or sudo")
    return limited(
        "delegation",
        f"{machine.answers.user} was given {' '.join(given)}, but not {', '.join(absent)}",
        "as root: systemctl edit user@.service, write `[Service]` and `Delegate=cpu cpuset io memory pids`; "
        "then log in anew",
    )


def pressure(machine: Machine) -> list[Finding]:
    """Look for pressure stall information, by which a node notices that it is short of something."""
    if machine.read("/proc/pressure/memory"):
        return ok("pressure", "the kernel tells pressure (PSI)")
    return limited("pressure", "the kernel tells no pressure (PSI)", boot_with(machine, "psi=1"))
