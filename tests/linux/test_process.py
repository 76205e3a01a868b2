"""Processes: birth into namespaces and cgroups, handles, execve; against /proc and python's own os."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from minicontainer.errors import KernelError
from minicontainer.linux.descriptors import close_on_exec_from
from minicontainer.linux.namespaces import CLONE_NEWPID, CLONE_NEWUTS
from minicontainer.linux.process import (
    SIGCHLD,
    clone3,
    execve,
    kill,
    pidfd_getfd,
    pidfd_open,
    pidfd_send_signal,
    start_time,
)
from minicontainer.trace.events import witnesses
from tests.linux.children import in_child, sleeping_child
from tests.linux.test_kernel import Recorder
from tests.needs import cgroup2_tree


def born(flags: int, cgroup: int) -> tuple[int, int, list[str]]:
    """Make a child that tells its pid, its uts namespace and its cgroup; give its pid, and what it told."""
    reading, writing = os.pipe()
    pid, pidfd = clone3(flags, SIGCHLD, cgroup)
    if pid == 0:
        told = [str(os.getpid()), str(Path("/proc/thread-self/ns/uts").readlink())]
        os.write(writing, "\n".join([*told, Path("/proc/thread-self/cgroup").read_text()]).encode())
        os._exit(7)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = pipe.read().split("\n")
    _, status = os.waitpid(pid, 0)
    return pidfd, os.waitstatus_to_exitcode(status), lines


@pytest.mark.requires("root")
def test_a_child_is_born_in_its_namespaces() -> None:
    pidfd, code, told = born(CLONE_NEWPID | CLONE_NEWUTS, -1)
    assert code == 7
    assert told[0] == "1"
    assert told[1] != str(Path("/proc/self/ns/uts").readlink())
    with pytest.raises(KernelError) as caught:
        pidfd_send_signal(pidfd, 0)
    assert caught.value.errno == errno.ESRCH
    os.close(pidfd)


@pytest.fixture
def group() -> Iterator[Path]:
    tree = cgroup2_tree()
    assert tree is not None
    place = tree / f"minicontainer-birth-{os.getpid()}"
    place.mkdir()
    yield place
    place.rmdir()


@pytest.mark.requires("root", "cgroup2", "kernel:5.7")
def test_a_child_is_born_in_its_cgroup(group: Path) -> None:
    directory = os.open(group, os.O_PATH)
    pidfd, _, told = born(0, directory)
    for descriptor in (directory, pidfd):
        os.close(descriptor)
    assert f"0::/{group.name}" in [line.replace("//", "/") for line in told]


@pytest.mark.requires("root")
def test_a_birth_is_told_by_the_parent_only() -> None:
    recorder = Recorder()
    witnesses.append(recorder)
    try:
        pid, pidfd = clone3(0, SIGCHLD, -1)
        if pid == 0:
            os._exit(len(recorder.told))
    finally:
        witnesses.remove(recorder)
    assert os.waitpid(pid, 0)[1] == 0
    assert recorder.told == [("clone3", (0, SIGCHLD, -1), (pid, pidfd), 0)]
    os.close(pidfd)


def test_a_handle_signals_one_process() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    pidfd = pidfd_open(pid, 0)
    pidfd_send_signal(pidfd, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    for descriptor in (pidfd, writing):
        os.close(descriptor)


def test_a_descriptor_is_copied_out_of_another_process(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("shared")
    number = os.open(file, os.O_RDONLY)
    with sleeping_child() as pid:
        pidfd = pidfd_open(pid, 0)
        copy = pidfd_getfd(pidfd, number)
        assert os.path.sameopenfile(copy, number)
        assert os.read(copy, 10) == b"shared"
        for descriptor in (copy, pidfd, number):
            os.close(descriptor)


def test_kill_signals_by_number() -> None:
    with sleeping_child(lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN)) as pid:
        kill(pid, signal.SIGUSR1)
    with pytest.raises(KernelError):
        kill(2**22 + 1, 0)


def test_the_start_time_is_the_one_that_psutil_reads() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    booted = psutil.boot_time()
    assert start_time(os.getpid()) / ticks == pytest.approx(psutil.Process().create_time() - booted, abs=1)


def test_a_name_with_brackets_does_not_hide_the_start_time() -> None:
    odd = ") 1 2 (x"
    before = start_time(os.getpid())

    def scene() -> tuple[int, int]:
        mine = start_time(os.getpid())
        Path("/proc/self/comm").write_text(odd)
        return mine, start_time(os.getpid())

    first, second = in_child(scene)
    assert first == second >= before


def test_execve_becomes_the_program() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writing, 1)
        execve("/bin/sh", ["sh", "-c", 'echo "$0 $A"; exit 3', "name"], {"A": "b c"})
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "name b c\n"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def test_execve_is_told_before_it_is_made() -> None:
    recorder = Recorder()
    witnesses.append(recorder)
    try:
        with pytest.raises(KernelError) as caught:
            execve("/no/such/program", ["program"], {"A": "b"}, lambda: recorder.entered("caught up"))
    finally:
        witnesses.remove(recorder)
    told = ("/no/such/program", ["program"], ["A=b"])
    assert recorder.told == [
        ("calling", "execve", told),
        ("entered", "caught up"),
        ("execve", told, None, errno.ENOENT),
    ]
    assert 'execve("/no/such/program", ["program"], [/* 1 vars */]): ENOENT' in str(caught.value)


# --- descriptors -------------------------------------------------------------------------------

SHOW = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])"


def test_marked_descriptors_do_not_survive_execve() -> None:
    def scene() -> str:
        reading, writing = os.pipe()
        for number in (3, 4, 5, 9):
            os.dup2(0, number, inheritable=True)
        os.dup2(writing, 1)
        if os.fork() == 0:
            close_on_exec_from(5)
            execve(sys.executable, [sys.executable, "-I", "-S", "-c", SHOW], {})
        os.wait()
        return os.read(reading, 1000).decode()

    assert in_child(scene) == "[0, 1, 2, 3, 4]\n"


CLOSING = """
import os
from minicontainer.linux.descriptors import keep_only
for number in (3, 4, 5, 6, 7, 20):
    os.dup2(0, number)
keep_only(1, [6, -1, 20])
print([n for n in range(50) if os.path.exists(f"/proc/self/fd/{n}")])
"""


def test_only_preserved_and_needed_descriptors_are_kept_open() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", CLOSING],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert answer.stdout == "[0, 1, 2, 3, 6, 20]\n"
