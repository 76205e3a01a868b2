"""The kernel takes a compiled filter, and does what the tests' own machine for BPF foretells."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from minicontainer.linux.prctl import PR_SET_NO_NEW_PRIVS, prctl
from minicontainer.linux.seccomp import SECCOMP_SET_MODE_FILTER, seccomp
from minicontainer.linux.seccomp_compiler import compile_filter
from tests.linux.classic_bpf import decode, run, seccomp_data
from tests.linux.libseccomp import AUDIT
from tests.linux.naive_seccomp import ENOSYS, KILL
from tests.linux.seccomp_profiles import docker
from tests.linux.sysprobe import NOT_TRIED, build, letters

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requires("arch:x86_64", "tool:gcc")

EPERM = 0x00050001
LETTERS = {EPERM: "P", ENOSYS: "N", KILL: "S"}
EVERY_BIT = 2**64 - 1
PLACES = {
    "x86_64": ("SCMP_ARCH_X86_64", 0, EVERY_BIT),
    "x32": ("SCMP_ARCH_X32", 2**30, EVERY_BIT),
    "x86": ("SCMP_ARCH_X86", 0, 2**32 - 1),
}


def probed(program: Path, filtered: bytes = b"") -> dict[str, str]:
    """Run the probe, under a filter if one is given."""

    def load() -> None:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if filtered:
            seccomp(SECCOMP_SET_MODE_FILTER, 0, filtered)

    done = subprocess.run([program], preexec_fn=load, capture_output=True, text=True, check=True)
    return letters(done.stdout)


@pytest.mark.parametrize("architectures", [3, 2, 1])
def test_each_call_gets_from_the_kernel_what_the_program_says(tmp_path: Path, architectures: int) -> None:
    profile = docker()
    profile["architectures"] = profile["architectures"][:architectures]
    filtered = compile_filter(profile, "x86_64")
    program = build(tmp_path)
    free, found = probed(program), probed(program, filtered)
    decoded = decode(filtered)
    for place, (architecture, base, argument) in PLACES.items():
        for number, letter in enumerate(free[place]):
            data = seccomp_data(base + number, AUDIT[architecture], (argument,) * 6)
            expected = letter if letter == NOT_TRIED else LETTERS.get(run(decoded, data)[0], letter)
            assert found[place][number] == expected, (
                f"{place} {number}: {found[place][number]}, not {expected}"
            )


def test_sockets_of_the_crypto_api_and_of_the_hypervisor_are_refused(tmp_path: Path) -> None:
    found = probed(build(tmp_path), compile_filter(docker(), "x86_64"))["socket"]
    assert [family for family, letter in enumerate(found) if letter == "P"] == [38, 40]
