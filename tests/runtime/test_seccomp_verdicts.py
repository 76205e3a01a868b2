"""Every system call is tried in a container with Docker's profile: ours and runc give the same answers.

The probe (tests/linux/sysprobe.c) makes each call with invalid arguments: natively, as x32 and by int 0x80.
Both containers have Docker's capabilities, so that a refusal by the kernel itself is the same in both.

Covers R19 and R22 of the list of attacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.linux.seccomp_profiles import DOCKER_CAPABILITIES, docker
from tests.linux.sysprobe import build, letters
from tests.peers import peer
from tests.runtime.runtimes import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runtime.bundles import Bundle

pytestmark = pytest.mark.requires("root", "arch:x86_64", "tool:gcc")
ESCAPES = {
    **{
        "mount": 165,
        "umount2": 166,
        "pivot_root": 155,
        "unshare": 272,
        "setns": 308,
        "keyctl": 250,
        "bpf": 321,
    },
    **{
        "perf_event_open": 298,
        "kexec_load": 246,
        "open_by_handle_at": 304,
        "init_module": 175,
        "swapon": 167,
    },
}
"""Names and numbers on x86-64."""


def probe(runtime: Runtime, made: Bundle) -> dict[str, str]:
    """Run the probe in a container with Docker's capabilities and profile."""
    build(made.rootfs / "bin")
    made.capabilities(*(name.removeprefix("CAP_") for name in DOCKER_CAPABILITIES))
    made.linux["seccomp"] = docker()
    return letters(runtime.output(made.args("sysprobe")))


@pytest.mark.requires("peer:runc")
def test_each_call_gets_the_answer_that_it_gets_under_runc(
    runtime: Runtime, bundle: Callable[[], Bundle], workspace: Path
) -> None:
    binary = peer("runc")
    assert binary is not None
    folder = workspace / "reference"
    folder.mkdir()
    reference = Runtime(binary, folder)
    try:
        expected = probe(reference, bundle())
    finally:
        reference.clean()
    found = probe(runtime, bundle())
    if runtime.deviates("no-enosys-for-new-calls"):
        expected, found = (
            {place: text.replace("N", "P") for place, text in each.items()} for each in (expected, found)
        )
    different = {
        f"{place} {number}": (ours, theirs)
        for place in expected
        for number, (ours, theirs) in enumerate(zip(found[place], expected[place], strict=True))
        if ours != theirs
    }
    assert not different
    assert found["x86_64"].count(".") > 250


def test_calls_that_lead_out_of_a_container_are_refused(
    runtime: Runtime, bundle: Callable[[], Bundle]
) -> None:
    found = probe(runtime, bundle())
    assert {name for name, number in ESCAPES.items() if found["x86_64"][number] != "P"} == set()
    assert [family for family, letter in enumerate(found["socket"]) if letter == "P"] == [38, 40]
