"""Users, groups, capabilities, prctl and seccomp, against /proc/PID/status, setpriv(1) and python-prctl.

The hot form (bit masks) and the readable one (python-prctl) must leave the same process behind.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import prctl as library
import pytest

from minicontainer.errors import KernelError
from minicontainer.linux import readable_prctl as readable
from minicontainer.linux.capabilities import NAMES, NUMBERS, capget, capset, last_capability, mask
from minicontainer.linux.credentials import setgroups, setresgid, setresuid, setsid, umask
from minicontainer.linux.flags import Securebits
from minicontainer.linux.prctl import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_LOWER,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
    PR_GET_DUMPABLE,
    PR_GET_NO_NEW_PRIVS,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_KEEPCAPS,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    prctl,
)
from minicontainer.linux.seccomp import SECCOMP_FILTER_FLAG_LOG, SECCOMP_SET_MODE_FILTER, seccomp
from tests.linux.calls_under_strace import ALLOW_ALL
from tests.linux.children import in_child, status

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
KEPT = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETPCAP"]


def test_the_names_are_those_of_libcap() -> None:
    for name, number in NUMBERS.items():
        assert getattr(library, name, number) == number
    assert len(NAMES) > library.CAP_LAST_CAP


def test_the_kernel_tells_its_last_capability() -> None:
    assert last_capability() == int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def test_a_mask_has_one_bit_for_each_name() -> None:
    assert mask(["CAP_CHOWN", "CAP_BPF", "CAP_UNHEARD_OF"]) == 1 | 1 << NUMBERS["CAP_BPF"]


def test_capget_reads_what_proc_shows() -> None:
    effective, permitted, inheritable = capget()
    told = status("CapEff", "CapPrm", "CapInh")
    assert [f"{n:016x}" for n in (effective, permitted, inheritable)] == list(told.values())


# --- hot and readable --------------------------------------------------------------------------


def same(hot: Callable[[], object], cold: Callable[[], object], *fields: str) -> dict[str, str]:
    """Run both forms, each in its child; their status must be equal, and differ from ours."""

    def scene(form: Callable[[], object]) -> dict[str, str]:
        form()
        return status(*fields)

    first, second = in_child(scene, hot), in_child(scene, cold)
    assert first == second
    assert first != status(*fields)
    return first


@pytest.mark.requires("root")
def test_three_sets_are_set_to_the_same() -> None:
    wanted, usable = mask(KEPT), mask(KEPT[:2])
    told = same(
        lambda: capset(usable, wanted, wanted), lambda: readable.set_caps(KEPT[:2], KEPT, KEPT), *SETS
    )
    assert told["CapEff"] == f"{usable:016x}"
    assert told["CapPrm"] == told["CapInh"] == f"{wanted:016x}"


@pytest.mark.requires("root")
def test_the_bounding_set_is_limited_to_the_same() -> None:
    def hot() -> None:
        for number in range(last_capability() + 1):
            if number not in {NUMBERS[name] for name in KEPT} and prctl(PR_CAPBSET_READ, number):
                prctl(PR_CAPBSET_DROP, number)

    assert same(hot, lambda: readable.limit_bounding(KEPT), *SETS)["CapBnd"] == f"{mask(KEPT):016x}"


@pytest.mark.requires("root")
def test_the_ambient_set_is_raised_to_the_same() -> None:
    def hot() -> None:
        capset(mask(KEPT), mask(KEPT), mask(KEPT))
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, NUMBERS["CAP_SETPCAP"])
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
        for name in KEPT:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, NUMBERS[name])
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, NUMBERS["CAP_SETPCAP"])

    def cold() -> None:
        readable.set_caps(KEPT, KEPT, KEPT)
        readable.set_ambient(KEPT[:3])

    assert same(hot, cold, *SETS)["CapAmb"] == f"{mask(KEPT[:3]):016x}"


@pytest.mark.requires("root")
def test_what_is_not_inheritable_does_not_become_ambient() -> None:
    with pytest.raises(KernelError) as caught:
        in_child(lambda: readable.set_ambient(["CAP_KILL"]))
    assert caught.value.errno == errno.EPERM
    with pytest.raises(KernelError) as caught:
        in_child(lambda: prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, NUMBERS["CAP_KILL"]))
    assert "PR_CAP_AMBIENT_RAISE, CAP_KILL" in str(caught.value)


@pytest.mark.requires("root")
def test_the_readable_form_reads_all_five_sets() -> None:
    def scene() -> tuple[readable.CapabilitySets, dict[str, str]]:
        readable.set_caps(KEPT[:2], KEPT, KEPT[:3])
        readable.set_ambient(KEPT[:1])
        return readable.held(), status(*SETS)

    sets, told = in_child(scene)
    names = [sets.inheritable, sets.permitted, sets.effective, sets.bounding, sets.ambient]
    assert [f"{mask(sorted(each)):016x}" for each in names] == list(told.values())


@pytest.mark.requires("root", "tool:setpriv")
def test_ambient_capabilities_reach_a_program_that_is_not_root() -> None:
    def scene() -> str:
        prctl(PR_SET_KEEPCAPS, 1)
        setresuid(1000, 1000, 1000)
        capset(mask(["CAP_KILL"]), mask(["CAP_KILL"]), mask(["CAP_KILL"]))
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, NUMBERS["CAP_KILL"])
        command = ["sh", "-c", "setpriv --dump; cat /proc/self/status"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    told = in_child(scene)
    assert "Ambient capabilities: kill\n" in told
    assert f"CapEff:\t{mask(['CAP_KILL']):016x}\n" in told


def test_no_new_privileges() -> None:
    assert same(lambda: prctl(PR_SET_NO_NEW_PRIVS, 1), readable.set_no_new_privs, "NoNewPrivs") == {
        "NoNewPrivs": "1"
    }

    def asked() -> tuple[int, bool]:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        return prctl(PR_GET_NO_NEW_PRIVS), library.get_no_new_privs()

    assert in_child(asked) == (1, True)


@pytest.mark.parametrize("form", ["hot", "cold"])
def test_attributes_that_status_does_not_show(form: str) -> None:
    def scene() -> dict[str, object]:
        if form == "hot":
            for option, value in ((PR_SET_DUMPABLE, 0), (PR_SET_PDEATHSIG, signal.SIGTERM)):
                prctl(option, value)
            for option in (PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER):
                prctl(option, 1)
        else:
            readable.set_dumpable(False)
            readable.set_pdeathsig(signal.SIGTERM)
            readable.set_keepcaps(True)
            readable.set_child_subreaper(True)
        return {
            "dumpable": (library.get_dumpable(), prctl(PR_GET_DUMPABLE)),
            "signal": library.get_pdeathsig(),
            "keepcaps": library.get_keepcaps(),
            "subreaper": library.get_child_subreaper(),
        }

    told = in_child(scene)
    assert told == {"dumpable": (False, 0), "signal": signal.SIGTERM, "keepcaps": True, "subreaper": 1}


@pytest.mark.requires("root")
def test_securebits_in_the_readable_form() -> None:
    def scene() -> tuple[int, bool]:
        readable.set_securebits(Securebits.SECBIT_NOROOT | Securebits.SECBIT_KEEP_CAPS)
        return library.get_securebits(), library.securebits.noroot

    assert in_child(scene) == (Securebits.SECBIT_NOROOT | Securebits.SECBIT_KEEP_CAPS, True)


# --- credentials -------------------------------------------------------------------------------


@pytest.mark.requires("root")
def test_all_ids_change_and_stay_changed() -> None:
    def scene() -> tuple[dict[str, str], str]:
        setgroups([7, 5, 5])
        setresgid(20, 21, 22)
        setresuid(10, 11, 12)
        told = status("Uid", "Gid", "Groups")
        try:
            setresuid(0, 0, 0)
        except KernelError as problem:
            return told, str(problem)
        return told, ""

    told, refused = in_child(scene)
    assert told == {"Uid": "10 11 12 11", "Gid": "20 21 22 21", "Groups": "5 5 7"}
    assert refused == "setresuid(0, 0, 0): EPERM (Operation not permitted)"


def test_umask_returns_the_former_one() -> None:
    def scene() -> tuple[int, int, str]:
        os.umask(0o022)
        return umask(0o027), os.umask(0), status("Umask")["Umask"]

    assert in_child(scene) == (0o022, 0o027, "0000")


def test_setsid_makes_a_leader() -> None:
    def scene() -> bool:
        setsid()
        return os.getsid(0) == os.getpid() == os.getpgrp()

    assert in_child(scene)


# --- seccomp -----------------------------------------------------------------------------------


def instruction(code: int, true: int, false: int, value: int) -> bytes:
    """Write a struct sock_filter."""
    return code.to_bytes(2, "little") + bytes([true, false]) + value.to_bytes(4, "little")


LOAD_NUMBER = instruction(0x20, 0, 0, 0)
REFUSE_WITH_EXDEV, ALLOW = (
    instruction(0x06, 0, 0, 0x00050000 | errno.EXDEV),
    instruction(0x06, 0, 0, 0x7FFF0000),
)


def test_a_filter_counts_from_the_next_call_on() -> None:
    getpgid = 121 if os.uname().machine == "x86_64" else 155
    program = LOAD_NUMBER + instruction(0x15, 0, 1, getpgid) + REFUSE_WITH_EXDEV + ALLOW

    def scene() -> tuple[int, dict[str, str]]:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        seccomp(SECCOMP_SET_MODE_FILTER, 0, program)
        seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, ALLOW_ALL)
        try:
            os.getpgid(0)
        except OSError as problem:
            return problem.errno or 0, status("Seccomp", "Seccomp_filters")
        return 0, {}

    assert in_child(scene) == (errno.EXDEV, {"Seccomp": "2", "Seccomp_filters": "2"})


def test_a_broken_filter_is_refused() -> None:
    with pytest.raises(KernelError) as caught:
        in_child(lambda: (prctl(PR_SET_NO_NEW_PRIVS, 1), seccomp(SECCOMP_SET_MODE_FILTER, 0, LOAD_NUMBER)))
    assert str(caught.value) == "seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=1}): EINVAL (Invalid argument)"
