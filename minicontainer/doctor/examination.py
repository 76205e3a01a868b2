"""All checks, in the order of the report, and what follows from them.

See docs/doctor.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from minicontainer.doctor import cgroups, parts, system, users, virtual
from minicontainer.doctor.finding import Check, Finding, Mark
from minicontainer.doctor.machine import Machine

VIRTUAL = "virtual machines"
GROUPS: dict[str, tuple[Check, ...]] = {
    "this machine": (
        *(system.kernel, system.architecture, system.windows, system.inside_container, system.inside_machine),
        *(system.rights, system.python, system.memory, system.room),
    ),
    "control groups": (cgroups.mode, cgroups.controllers, cgroups.delegation, cgroups.pressure),
    "ordinary users": (
        *(users.user_namespaces, users.subordinate_ids, users.id_mappers, parts.overlay_for_users),
    ),
    "parts of containers": (
        *(parts.overlay, parts.links, parts.nftables, parts.seccomp, parts.security_modules, parts.busybox),
    ),
    VIRTUAL: (virtual.kvm, virtual.qemu, virtual.builders, virtual.ssh, virtual.memory, virtual.room),
}


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, by group."""

    groups: dict[str, list[Finding]]

    @property
    def containers(self) -> list[Finding]:
        """What stands in the way of `minicontainer run`: nothing, if it can run."""
        everything = [finding for group in self.groups.values() for finding in group]
        return [finding for finding in everything if finding.needed and finding.mark == Mark.MISSING]

    @property
    def guests(self) -> list[Finding]:
        """What stands in the way of `minicontainer vm`."""
        return [finding for finding in self.groups[VIRTUAL] if finding.mark == Mark.MISSING]

    def __getitem__(self, name: str) -> Finding:
        """Give the finding of a name. KeyError where the question did not arise."""
        named = {finding.name: finding for group in self.groups.values() for finding in group}
        return named[name]


def examine(machine: Machine) -> Examination:
    """Ask all checks."""
    return Examination(
        {
            group: [finding for check in checks for finding in check(machine)]
            for group, checks in GROUPS.items()
        }
    )
