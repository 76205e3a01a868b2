"""Docker's default seccomp profile, narrowed to one container."""

from __future__ import annotations

import json

import pytest

from minicontainer.linux.syscalls import table
from minicontainer.oci.docker_profile import PROFILE, default_seccomp, for_container

DOCKERS = ["CAP_CHOWN", "CAP_SYS_CHROOT", "CAP_MKNOD"]


def names(seccomp: dict[str, object], action: str = "SCMP_ACT_ALLOW") -> set[str]:
    groups: list[dict[str, object]] = seccomp["syscalls"]  # type: ignore[assignment]
    return {name for group in groups if group["action"] == action for name in group["names"]}  # type: ignore[attr-defined]


def test_the_profile_has_the_size_of_dockers_and_two_groups_more() -> None:
    groups = json.loads(PROFILE.read_text())["syscalls"]
    free = [group for group in groups if not group.keys() & {"args", "includes", "excludes"}]
    assert len(groups) == 33
    assert len({name for group in groups for name in group["names"]}) == 426
    assert len({name for group in free for name in group["names"]}) == 361
    assert (
        len(next(group["names"] for group in groups if group.get("includes") == {"caps": ["CAP_SYS_ADMIN"]}))
        == 26
    )


def test_every_name_exists_on_some_architecture() -> None:
    known = set().union(
        *(table(each) for each in ("x86_64", "x86", "arm", "aarch64", "s390x", "ppc64le", "riscv64"))
    )
    profile = json.loads(PROFILE.read_text())
    assert {name for group in profile["syscalls"] for name in group["names"]} <= known


def test_capabilities_open_their_calls_and_close_the_substitutes() -> None:
    plain, admin = (default_seccomp(caps, "x86_64", (6, 1)) for caps in (DOCKERS, ["CAP_SYS_ADMIN"]))
    assert "mount" not in names(plain)
    assert {"mount", "clone3"} <= names(admin)
    assert names(plain, "SCMP_ACT_ERRNO") == {"clone3"}
    assert names(admin, "SCMP_ACT_ERRNO") == set()
    assert "chroot" in names(plain)
    assert "chroot" not in names(admin)


def test_the_machine_decides_on_architectures_and_groups() -> None:
    x86, arm, power = (
        default_seccomp(DOCKERS, machine, (6, 1)) for machine in ("x86_64", "aarch64", "ppc64le")
    )
    assert x86["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert power["architectures"] == []
    assert "arch_prctl" in names(x86) - names(arm)
    assert "set_tls" in names(arm) - names(x86)
    assert "swapcontext" in names(power) - names(x86)


@pytest.mark.parametrize(("kernel", "allowed"), [((4, 7), False), ((4, 8), True), ((5, 0), True)])
def test_the_kernel_decides_on_ptrace(kernel: tuple[int, int], allowed: bool) -> None:
    assert ("ptrace" in names(default_seccomp([], "x86_64", kernel))) == allowed


def test_s390x_has_the_flags_of_clone_in_the_second_argument() -> None:
    for machine, index in (("x86_64", 0), ("s390x", 1)):
        groups = default_seccomp(DOCKERS, machine, (6, 1))["syscalls"]
        assert [each["args"][0]["index"] for each in groups if each["names"] == ["clone"]] == [index]


def test_only_what_the_runtime_spec_knows_is_left() -> None:
    seccomp = default_seccomp(DOCKERS, "x86_64", (6, 1))
    assert set(seccomp) == {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}
    assert {member for group in seccomp["syscalls"] for member in group} <= {
        "names",
        "action",
        "errnoRet",
        "args",
    }


def test_a_rule_that_excludes_by_kernel_is_dropped_from_that_kernel_on() -> None:
    group = {"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "excludes": {"minKernel": "4.8"}}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ARM"], "syscalls": [group]}
    assert for_container(profile, [], "x86_64", (4, 7))["syscalls"] != []
    assert for_container(profile, [], "x86_64", (4, 8)) == {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ARM"], "syscalls": [],
    }  # fmt: skip
