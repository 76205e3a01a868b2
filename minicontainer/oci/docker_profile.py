"""Docker's default seccomp profile, for one container.

Docker writes its profile for all machines and capabilities at once. A group may say for which it is meant:

    {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}}

What is left for this machine, kernel and capabilities is a `linux.seccomp` object of the runtime-spec.

Implements: github.com/moby/profiles, seccomp, "LoadProfile". The profile's origin: docker_seccomp.txt.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PROFILE = Path(__file__).with_name("docker_seccomp.json")

MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "loongarch64": ("loongarch64", "SCMP_ARCH_LOONGARCH64"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
}
"""uname(2)'s machine -> the name in `arches` of a group, and in `archMap`."""

KEPT = ("names", "action", "errnoRet", "args")
"""The members of a group that the runtime-spec knows too."""


def default_seccomp(capabilities: list[str], machine: str, kernel: tuple[int, int]) -> dict[str, Any]:
    """Give the `linux.seccomp` object for a container with these bounding capabilities on this machine."""
    return for_container(json.loads(PROFILE.read_text()), capabilities, machine, kernel)


def for_container(
    profile: dict[str, Any], capabilities: list[str], machine: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """Turn a profile in Docker's format into a `linux.seccomp` object."""
    here = (set(capabilities), MACHINES.get(machine, (machine, ""))[0], kernel)
    return {
        "defaultAction": profile["defaultAction"],
        **({"defaultErrnoRet": profile["defaultErrnoRet"]} if "defaultErrnoRet" in profile else {}),
        "architectures": _architectures(profile, machine),
        "syscalls": [
            {member: group[member] for member in KEPT if member in group}
            for group in profile["syscalls"]
            if _applies(group, *here)
        ],
    }


def _architectures(profile: dict[str, Any], machine: str) -> list[str]:
    native = MACHINES.get(machine, ("", ""))[1]
    for entry in profile.get("archMap") or []:
        if entry["architecture"] == native:
            return [native, *(entry["subArchitectures"] or [])]
    return list(profile.get("architectures") or [])


def _applies(
    group: dict[str, Any], capabilities: set[str], architecture: str, kernel: tuple[int, int]
) -> bool:
    """Say whether a group is meant: excluded by any one condition, included only by all of them."""
    excluded, included = group.get("excludes") or {}, group.get("includes") or {}
    if architecture in (excluded.get("arches") or []) or capabilities & set(excluded.get("caps") or []):
        return False
    if "minKernel" in excluded and kernel >= _version(excluded["minKernel"]):
        return False
    if included.get("arches") and architecture not in included["arches"]:
        return False
    return capabilities >= set(included.get("caps") or []) and kernel >= _version(
        included.get("minKernel", "0.0")
    )


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
