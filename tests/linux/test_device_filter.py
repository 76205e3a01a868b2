"""The device filter: the program says what the rules say, and the kernel obeys it."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.errors import KernelError, Unsupported
from minicontainer.linux import bpf, device_filter
from minicontainer.linux.device_filter import (
    DEFAULT_DEVICE_RULES,
    DENY_ALL,
    attach_device_filter,
    container_rules,
    device_program,
    replace_device_filter,
)
from tests.linux.ebpf import decode, reachable, run
from tests.needs import cgroup2_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

BITS = {"m": 1, "r": 2, "w": 4}
KINDS = {"b": 1, "c": 2}
NUMBERS = [0, 1, 3, 7, 136]


def expected(rules: list[dict[str, Any]], kind: str, access: str, major: int, minor: int) -> bool:
    """Say what the rules mean: for each kind of access, the last rule that matches decides."""

    def allowed(bit: str) -> bool:
        for rule in reversed(rules):
            numbers = [(rule.get("major"), major), (rule.get("minor"), minor)]
            matches = (rule.get("type") or "a") in ("a", kind) and bit in (rule.get("access") or "rwm")
            if matches and all(wanted in (None, -1, own) for wanted, own in numbers):
                return bool(rule["allow"])
        return False

    return all(allowed(bit) for bit in access)


numbers = st.sampled_from([None, -1, *NUMBERS, 2**32 - 1])
rule_lists = st.lists(
    st.fixed_dictionaries(
        {"allow": st.booleans()},
        optional={
            "type": st.sampled_from(["a", "b", "c", "", None]),
            "major": numbers,
            "minor": numbers,
            "access": st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm", "mrw", "", None]),
        },
    ),
    max_size=8,
)


@given(rule_lists)
def test_the_program_says_what_the_rules_say(rules: list[dict[str, Any]]) -> None:
    program = decode(device_program(rules))
    for kind, number in KINDS.items():
        for access in ("r", "w", "m", "rw", "rwm"):
            for major in NUMBERS:
                for minor in NUMBERS:
                    found = run(program, number, sum(BITS[bit] for bit in access), major, minor)
                    assert found == expected(rules, kind, access, major, minor), (kind, access, major, minor)


@given(rule_lists)
def test_every_instruction_can_be_reached_and_none_is_missing(rules: list[dict[str, Any]]) -> None:
    program = decode(device_program(rules))
    assert reachable(program) == set(range(len(program)))


def test_without_rules_nothing_is_allowed() -> None:
    assert run(decode(device_program([])), KINDS["c"], BITS["r"], 1, 3) == 0


@pytest.mark.parametrize(
    "rules", [[], [DENY_ALL], [DENY_ALL, DENY_ALL], [{"allow": False, "access": "rwm", "type": "a"}]]
)
def test_the_default_devices_are_allowed_whatever_the_spec_says(rules: list[dict[str, Any]]) -> None:
    program = decode(device_program(container_rules(rules)))
    allowed = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (10, 200)}
    found = {
        (major, minor)
        for major in range(12)
        for minor in range(210)
        if run(program, KINDS["c"], 6, major, minor)
    }
    assert found == allowed
    assert all(run(program, KINDS["c"], 7, 136, minor) for minor in (0, 1, 255, 70000))


def test_nodes_may_be_made_but_not_opened() -> None:
    program = decode(device_program(container_rules([])))
    for number in KINDS.values():
        assert run(program, number, BITS["m"], 8, 0) == 1
        assert run(program, number, BITS["r"], 8, 0) == 0


def test_a_container_may_have_a_device_more() -> None:
    fuse = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
    program = decode(device_program(container_rules([DENY_ALL, fuse])))
    assert run(program, KINDS["c"], BITS["r"] | BITS["w"], 10, 229) == 1
    assert run(program, KINDS["c"], BITS["r"] | BITS["w"], 10, 230) == 0


def test_denied_writing_denies_reading_and_writing_at_once() -> None:
    rules = [{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 1, "access": "w"}]
    program = decode(device_program(rules))
    assert [run(program, KINDS["c"], access, 1, 3) for access in (2, 4, 6)] == [1, 0, 0]


def test_the_usual_program_is_short() -> None:
    assert len(decode(device_program(container_rules([DENY_ALL])))) <= 60


def test_an_old_kernel_with_little_locked_memory_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(program: bytes, name: str) -> int:
        raise KernelError(errno.EPERM, "bpf_prog_load", (len(program), name))

    release = os.uname_result(("Linux", "host", "5.10.0-8-amd64", "#1", "x86_64"))
    monkeypatch.setattr(device_filter, "bpf_prog_load", refuse)
    with pytest.raises(KernelError):
        attach_device_filter(0, [])
    monkeypatch.setattr(device_filter.posix, "uname", lambda: release)
    with pytest.raises(Unsupported, match="RLIMIT_MEMLOCK"):
        attach_device_filter(0, [])


# --- the kernel --------------------------------------------------------------------------------

needs_kernel = pytest.mark.requires("root", "cgroup2", "capability:bpf", "capability:syslog")


@pytest.fixture
def cgroup() -> Iterator[int]:
    """Give a new cgroup, as an open directory."""
    tree = cgroup2_tree()
    assert tree is not None
    path = Path(tempfile.mkdtemp(prefix="minicontainer-devices-", dir=tree))
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)
    path.rmdir()


def tried(cgroup: int, *nodes: tuple[str, int]) -> list[str]:
    """Open device nodes in a child that is in the cgroup; give the name of the errno of each."""
    with tempfile.TemporaryDirectory(dir="/dev") as folder:
        for at, (kind, device) in enumerate(nodes):
            os.mknod(Path(folder, str(at)), 0o600 | (stat.S_IFCHR if kind == "c" else stat.S_IFBLK), device)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            answers = [attempt(cgroup, str(Path(folder, str(at)))) for at in range(len(nodes))]
            os.write(writing, " ".join(answers).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            found = answer.read().split()
        assert os.waitpid(pid, 0)[1] == 0
    return found


def attempt(cgroup: int, path: str) -> str:
    """Join the cgroup and open a node for reading and writing."""
    procs = os.open("cgroup.procs", os.O_WRONLY, dir_fd=cgroup)
    os.write(procs, b"0")
    os.close(procs)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]
    return "open"


NULL, KMSG, FUSE, DISK = (
    ("c", os.makedev(1, 3)),
    ("c", os.makedev(1, 11)),
    ("c", os.makedev(10, 229)),
    ("b", os.makedev(8, 0)),
)


@needs_kernel
def test_a_container_can_open_null_but_not_kmsg_fuse_or_a_disk(cgroup: int) -> None:
    before = tried(cgroup, NULL, KMSG)
    attach_device_filter(cgroup, container_rules([DENY_ALL]))
    assert before == ["open", "open"]
    assert tried(cgroup, NULL, KMSG, FUSE, DISK) == ["open", "EPERM", "EPERM", "EPERM"]


@needs_kernel
def test_an_update_replaces_the_filter_in_one_step(cgroup: int) -> None:
    attach_device_filter(cgroup, container_rules([DENY_ALL]))
    (first,) = bpf.bpf_prog_query(cgroup)
    replace_device_filter(
        cgroup,
        container_rules([DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"}]),
    )
    (second,) = bpf.bpf_prog_query(cgroup)
    assert second != first
    assert tried(cgroup, NULL, KMSG, DISK) == ["open", "open", "EPERM"]
    replace_device_filter(cgroup, container_rules([DENY_ALL]))
    assert len(bpf.bpf_prog_query(cgroup)) == 1
    assert tried(cgroup, NULL, KMSG) == ["open", "EPERM"]


@needs_kernel
def test_an_update_leaves_the_filters_of_others(cgroup: int) -> None:
    foreign = bpf.bpf_prog_load(
        device_program(
            [{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 1, "minor": 3}]
        ),
        "systemd",
    )
    bpf.bpf_prog_attach(cgroup, foreign)
    os.close(foreign)
    replace_device_filter(cgroup, [{"allow": True, "access": "rwm"}])
    assert len(bpf.bpf_prog_query(cgroup)) == 2
    assert tried(cgroup, NULL, KMSG) == ["EPERM", "open"]


@needs_kernel
def test_an_update_clears_up_after_one_that_was_killed(cgroup: int) -> None:
    attach_device_filter(cgroup, container_rules([]))
    attach_device_filter(cgroup, container_rules([]))
    assert len(bpf.bpf_prog_query(cgroup)) == 2
    replace_device_filter(cgroup, container_rules([]))
    assert len(bpf.bpf_prog_query(cgroup)) == 1


@needs_kernel
def test_a_filter_can_be_taken_off(cgroup: int) -> None:
    program = bpf.bpf_prog_load(device_program([]), device_filter.NAME)
    bpf.bpf_prog_attach(cgroup, program)
    refused = tried(cgroup, NULL)
    bpf.bpf_prog_detach(cgroup, program)
    os.close(program)
    assert refused == ["EPERM"]
    assert tried(cgroup, NULL) == ["open"]


@needs_kernel
@given(rule_lists)
def test_the_verifier_takes_every_program(rules: list[dict[str, Any]]) -> None:
    os.close(bpf.bpf_prog_load(device_program(rules), device_filter.NAME))


@needs_kernel
def test_no_descriptor_is_left_open(cgroup: int) -> None:
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    attach_device_filter(cgroup, container_rules([]))
    replace_device_filter(cgroup, container_rules([]))
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before


def test_the_default_rules_are_those_of_runc() -> None:
    assert [
        (rule["type"], rule.get("major"), rule.get("minor"), rule["access"]) for rule in DEFAULT_DEVICE_RULES
    ] == [
        ("c", None, None, "m"),
        ("b", None, None, "m"),
        *(("c", 1, minor, "rwm") for minor in (3, 5, 7, 8, 9)),
        ("c", 5, 0, "rwm"),
        ("c", 5, 2, "rwm"),
        ("c", 136, None, "rwm"),
        ("c", 10, 200, "rwm"),
    ]
