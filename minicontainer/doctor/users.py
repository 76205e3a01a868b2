"""Containers without root: user namespaces for ordinary users, and ids to fill them with.

Distributions forbid user namespaces in four ways: a number that is 0, Debian's old switch, Ubuntu's AppArmor
rule, a seccomp filter of the container around us. A trial tells more than all switches, where there was one.

See user_namespaces(7), subuid(5), newuidmap(1), capabilities(7) "File capabilities".
"""

from __future__ import annotations

import re

from minicontainer.doctor.finding import Finding, limited, ok
from minicontainer.doctor.machine import Machine, Program
from minicontainer.doctor.packages import installing

RANGE = 65536  # as many ids as an image may use
SETUID = 0o4000
RIGHT = {"newuidmap": "CAP_SETUID", "newgidmap": "CAP_SETGID"}
APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
# Of each switch: the value that forbids, and how to allow.
SWITCHES = {
    "/proc/sys/user/max_user_namespaces": ("0", "sysctl user.max_user_namespaces=15000"),
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl kernel.unprivileged_userns_clone=1"),
    APPARMOR: (
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with the rule "
        "`userns,` for the interpreter that runs minicontainer (apparmor.d(5))",
    ),
}
FOR_GOOD = "; for good, write it into a file below /etc/sysctl.d"


def user_namespaces(machine: Machine) -> list[Finding]:
    """Say whether an ordinary user may make user namespaces."""
    name = "user namespaces"
    if not machine.has("/proc/self/ns/user"):
        return limited(name, "the kernel has none: containers for root only", "a kernel with CONFIG_USER_NS")
    tried = machine.answers.trials.get("user namespace")
    if tried == "":
        return ok(name, "tried as an ordinary user: they work")
    closed = [path for path, (value, _) in SWITCHES.items() if machine.read(path) == value]
    if closed:
        mends = "; ".join(SWITCHES[path][1] for path in closed)
        seen = ", ".join(f"{path} is {machine.read(path)}" for path in closed)
        return limited(name, f"not for ordinary users: {seen}", f"{mends}{FOR_GOOD}")
    if tried:
        mend = "a container around us or a security module forbids it: see container, security modules"
        return limited(name, f"tried as an ordinary user: {tried}", mend)
    return ok(name, "nothing forbids them (not tried)")


def subordinate_ids(machine: Machine) -> list[Finding]:
    """Look for the ids that an ordinary user may give to the users of his containers."""
    user, uid = machine.answers.user, str(machine.answers.uid)
    if machine.is_root:
        return []
    name = "subordinate ids"
    sources = [line.split()[1:] for line in machine.lines("/etc/nsswitch.conf", r"^subid:")]
    if sources and sources[0] != ["files"]:
        return ok(name, f"asked of {' '.join(sources[0])} (nsswitch.conf)")
    mend = f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    for file in ("/etc/subuid", "/etc/subgid"):
        count = ids_in(machine.lines(file, f"^({re.escape(user)}|{uid}):"))
        if not count:
            return limited(name, f"{user} has no line in {file}: one user per container", mend)
        if count < RANGE:
            return limited(name, f"{user} has {count} ids in {file}; images may use {RANGE}", mend)
    return ok(name, f"{user} has at least {RANGE}")


def ids_in(lines: list[str]) -> int:
    """Count the ids that lines of /etc/subuid (owner:first:count) give."""
    counts = [line.rpartition(":")[2] for line in lines]
    return sum(int(count) for count in counts if count.isdigit())


def id_mappers(machine: Machine) -> list[Finding]:
    """Look at newuidmap and newgidmap, which must have a right that the user has not."""
    name = "newuidmap"
    programs = machine.answers.programs
    absent = [program for program in RIGHT if program not in programs]
    if absent:
        says = f"{' and '.join(absent)}: not installed, so an ordinary user's container has one user"
        return limited(name, says, installing(machine, *absent))
    weak = [program for program in RIGHT if not may_map(programs[program], RIGHT[program])]
    if weak:
        says = f"{' and '.join(weak)}: neither set-uid root nor with the file capability that maps ids"
        return limited(
            name, says, "as root: " + "; ".join(strengthen(programs[each], RIGHT[each]) for each in weak)
        )
    return ok(name, "newuidmap and newgidmap may map ids")


def may_map(program: Program, capability: str) -> bool:
    """Say whether a program gets the right to map ids when an ordinary user starts it."""
    return bool(program.mode & SETUID) or capability in program.capabilities


def strengthen(program: Program, capability: str) -> str:
    """Write the command that gives a program its right."""
    return f"setcap {capability.lower()}=ep {program.path}"
