"""Namespaces, against /proc/PID/ns and the unshare(1), nsenter(1) and lsns(8) of util-linux."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from minicontainer.linux.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    KINDS,
    setdomainname,
    sethostname,
    setns,
    unshare,
    write_id_map,
)
from minicontainer.linux.process import pidfd_open
from tests.linux.children import in_child, sleeping_child

pytestmark = pytest.mark.requires("root")
FOR_THE_NEXT_CHILD = {"pid": "pid_for_children", "time": "time_for_children"}


def inode(kind: str) -> str:
    return str(Path(f"/proc/self/ns/{kind}").readlink())


def in_effect(kind: str) -> str:
    """Name the link that shows what unshare did: for two kinds, where the next child will be."""
    return FOR_THE_NEXT_CHILD.get(kind, kind)


@pytest.mark.requires("timens")
@pytest.mark.parametrize("name", KINDS)
def test_unshare_makes_one_new_namespace_and_no_other(name: str) -> None:
    flag, own = KINDS[name]
    links = [*{kind for _, kind in KINDS.values()} - set(FOR_THE_NEXT_CHILD), *FOR_THE_NEXT_CHILD.values()]

    def scene() -> set[str]:
        before = {kind: inode(kind) for kind in links}
        unshare(flag)
        # A namespace for children has no inode before the first child is there.
        return {
            kind
            for kind in links
            if not Path(f"/proc/self/ns/{kind}").exists() or inode(kind) != before[kind]
        }

    assert in_child(scene) == {in_effect(own)}


@pytest.mark.requires("tool:unshare")
@pytest.mark.parametrize("name", ["mount", "network", "ipc", "uts", "cgroup", "user"])
def test_setns_joins_what_unshare_of_util_linux_has_made(name: str) -> None:
    flag, own = KINDS[name]
    option = {"network": "net"}.get(name, name)
    sleeper = subprocess.Popen(
        ["unshare", f"--{option}", "sh", "-c", "echo ready; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert sleeper.stdin and sleeper.stdout
    sleeper.stdout.readline()

    def scene() -> str:
        setns(os.open(f"/proc/{sleeper.pid}/ns/{own}", os.O_RDONLY), flag)
        return inode(own)

    try:
        wanted = str(Path(f"/proc/{sleeper.pid}/ns/{own}").readlink())
        assert wanted != inode(own)
        assert in_child(scene) == wanted
    finally:
        sleeper.stdin.close()
        sleeper.stdout.close()
        sleeper.wait()


def test_a_pidfd_joins_several_at_once() -> None:
    kinds = CLONE_NEWNS | CLONE_NEWUTS
    with sleeping_child(lambda: unshare(kinds)) as pid:
        wanted = [str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in ("mnt", "uts")]

        def scene() -> list[str]:
            setns(pidfd_open(pid, 0), kinds)
            return [inode("mnt"), inode("uts")]

        assert in_child(scene) == wanted


def test_the_first_child_is_process_1() -> None:
    def scene() -> int:
        unshare(CLONE_NEWPID)
        return in_child(os.getpid)

    assert in_child(scene) == 1


@pytest.mark.requires("tool:hostname")
def test_names_are_those_of_the_own_namespace() -> None:
    before = socket.gethostname()

    def scene() -> tuple[str, str, str]:
        unshare(CLONE_NEWUTS)
        sethostname("mini-host")
        setdomainname("example.org")
        told = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()
        return told, os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text().strip()

    assert in_child(scene) == ("mini-host", "mini-host", "example.org")
    assert socket.gethostname() == before


@pytest.mark.requires("userns")
def test_a_map_gives_ids_inside_and_outside(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    folder = os.open(tmp_path, os.O_PATH)  # the folders above are closed to other users

    def scene() -> tuple[int, int]:
        with sleeping_child(lambda: unshare(CLONE_NEWUSER)) as pid:
            write_id_map(pid, "uid_map", "0 100000 10\n10 0 1")
            write_id_map(pid, "gid_map", "0 200000 10")

            def inside() -> tuple[int, int]:
                setns(os.open(f"/proc/{pid}/ns/user", os.O_RDONLY), CLONE_NEWUSER)
                os.setresgid(3, 3, 3)
                os.setresuid(5, 5, 5)
                os.open("made", os.O_CREAT | os.O_WRONLY, dir_fd=folder)
                return os.getuid(), os.getgid()

            return in_child(inside)

    assert in_child(scene) == (5, 3)
    os.close(folder)
    made = (tmp_path / "made").stat()
    assert (made.st_uid, made.st_gid) == (100005, 200003)


@pytest.mark.requires("timens")
def test_a_time_namespace_has_its_own_uptime() -> None:
    def scene() -> float:
        unshare(CLONE_NEWTIME)
        write_id_map(0, "timens_offsets", "monotonic 0 0\nboottime 86400 0")
        return in_child(lambda: time.clock_gettime(time.CLOCK_BOOTTIME))

    assert in_child(scene) - time.clock_gettime(time.CLOCK_BOOTTIME) > 86000
