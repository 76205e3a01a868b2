"""What a guest's first programs make of it: as a plain guest, again with its old disk, and with systemd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minicontainer.vm import scratch, toolkit
from minicontainer.vm.conversation import GuestError
from minicontainer.vm.machine import Machine
from minicontainer.vm.qemu import Disk
from tests.vm import guests

pytestmark = [pytest.mark.requires("vm"), pytest.mark.timeout(600)]

UNIT = "/sys/fs/cgroup/system.slice/minicontainer-agent.service"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with guests.short_place() as place:
        yield place


@pytest.fixture(scope="module")
def disks(place: Path) -> tuple[Disk, ...]:
    """An empty disk, and a toolkit whose commands do nothing, which is unpacked and compiled in no time."""
    disk = guests.scratch_disk(place, 256)
    scratch.make(disk.path, disk.size)
    package = place / "minicontainer"
    package.mkdir()
    (package / "launcher.sh").write_text("#!/bin/sh\necho @COMMAND@ @PROGRAM@ @HOT@ @PACKAGE@\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toolkit, "PACKAGE", package)
        toolkit.pack(place / "toolkit", tests=False)
    return (Disk(place / "toolkit", "toolkit", read_only=True), disk)


@pytest.fixture(scope="module")
def plain(place: Path, disks: tuple[Disk, ...]) -> Iterator[Machine]:
    """A guest with a disk of its own, stopped and started again; the first time it left a few files."""
    planned = guests.plan(place, "plain", disks=disks)
    with guests.machine(planned).running() as first:
        first.sh("echo kept >/root/file; echo kept >/var/lib/containers/file; echo lost >/run/file")
        first.sh("echo kept >/opt/minicontainer/file")  # gone if the toolkit were unpacked again
    with guests.machine(planned).running() as second:
        yield second


def lines(machine: Machine, script: str) -> list[str]:
    done = machine.sh(script)
    assert done.exit == 0, done.text
    return done.text.splitlines()


def test_what_is_on_the_disk_is_there_after_a_restart(plain: Machine) -> None:
    assert lines(plain, "cat /root/file /var/lib/containers/file; ls /run/file 2>&1 || :") == [
        "kept",
        "kept",
        "ls: cannot access '/run/file': No such file or directory",
    ]


def test_the_toolkit_is_unpacked_once_and_its_commands_are_on_the_path(plain: Machine) -> None:
    assert lines(plain, "cat /opt/minicontainer/file; mini; minicontainer-runtime") == [
        "kept",
        "mini minicontainer hot-lane.cpython-313.pyc /opt/minicontainer/minicontainer",
        "minicontainer-runtime minicontainer-runtime hot-lane.cpython-313.pyc /opt/minicontainer/minicontainer",
    ]


def test_another_toolkit_replaces_the_old_one(place: Path, plain: Machine, disks: tuple[Disk, ...]) -> None:
    script = "echo 0 >/opt/minicontainer/.toolkit; /bin/sh /usr/lib/minicontainer-guest/install-toolkit.sh"
    assert lines(plain, f"{script}; ls /opt/minicontainer") == ["images", "minicontainer"]


def test_containers_are_kept_where_an_overlay_can_be_made(plain: Machine) -> None:
    for directory in ("/var/lib/containers", "/var/lib/minicontainer", "/var/tmp", "/tmp", "/run"):
        script = (
            f"cd $(mktemp -d -p {directory}) && mkdir lower upper work merged && touch lower/file && "
            "mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged && "
            "ls merged && rm merged/file && umount merged && rm -r $PWD"
        )
        assert lines(plain, script) == ["file"], directory


def test_all_controllers_are_handed_on(plain: Machine) -> None:
    offered, handed_on = lines(plain, "cd /sys/fs/cgroup; cat cgroup.controllers cgroup.subtree_control")
    assert offered.split() == handed_on.split()
    assert {"cpuset", "cpu", "io", "memory", "hugetlb", "pids"} <= set(offered.split())
    assert lines(plain, "cat /proc/1/cgroup /proc/self/cgroup") == ["0::/init", "0::/init"]


def test_no_two_guests_have_the_same_secrets(plain: Machine) -> None:
    assert lines(plain, "cat /etc/machine-id; ls /etc/ssh | grep key || :") == []


def test_python_finds_its_modules_compiled(plain: Machine) -> None:
    """A stale one would be compiled anew each time, which takes an emulated processor minutes."""
    said = lines(plain, "python3 -v -c 'import pytest, pyroute2, msgspec, json' 2>&1")
    assert len([line for line in said if "matches /usr" in line]) > 100
    assert [line for line in said if "bytecode is stale" in line or line.startswith("# wrote ")] == []


def test_an_ordinary_user_can_map_its_subordinate_ids(plain: Machine) -> None:
    learner = "setpriv --reuid learner --regid learner --init-groups"
    mapped = lines(plain, f"{learner} unshare --user --map-auto cat /proc/self/uid_map")
    assert [line.split() for line in mapped] == [["0", "100000", "65536"]]


def test_device_nodes_are_there_before_their_first_use(plain: Machine) -> None:
    nodes = "/dev/net/tun /dev/fuse /dev/loop-control /dev/fd/0 /dev/stdout /dev/shm /dev/ptmx"
    assert lines(plain, f"ls -d {nodes}") == sorted(nodes.split())


def test_a_guest_whose_root_disk_is_broken_says_so(place: Path) -> None:
    empty = place / "empty"
    empty.write_bytes(bytes(4096))
    broken = guests.machine(guests.plan(place, "broken", image=replace(guests.the_image(), root=empty)))
    with pytest.raises(GuestError, match="no root file system on /dev/vda"):
        broken.start()


@pytest.fixture(scope="module")
def systemd(place: Path) -> Iterator[Machine]:
    words = ("minicontainer.init=systemd",)
    with guests.machine(guests.plan(place, "systemd", words=words)).running() as running:
        yield running


def test_systemd_is_up_and_nothing_has_failed(systemd: Machine) -> None:
    assert lines(systemd, "systemctl is-system-running --wait; systemctl --failed --plain --no-legend") == [
        "running"
    ]


def test_systemd_gives_the_agent_a_tree_of_its_own(systemd: Machine) -> None:
    assert lines(systemd, "cat /proc/self/cgroup") == [f"0::{UNIT.removeprefix('/sys/fs/cgroup')}/agent"]
    script = (
        f"cd {UNIT}; echo +memory +pids >cgroup.subtree_control; mkdir x; ls x/memory.max x/pids.max; rmdir x"
    )
    assert lines(systemd, script) == ["x/memory.max", "x/pids.max"]


def test_systemd_survives_what_its_agent_s_programs_do_to_their_memory(systemd: Machine) -> None:
    script = f"mkdir {UNIT}/oom && echo 8M >{UNIT}/oom/memory.max && echo 0 >{UNIT}/oom/memory.swap.max"
    eat = f"sh -c 'echo $$ >{UNIT}/oom/cgroup.procs; exec tail /dev/zero'"
    prepared = f"echo +memory >{UNIT}/cgroup.subtree_control; {script}"
    assert lines(systemd, f"{prepared}; {{ {eat}; }} 2>/dev/null; echo $?") == ["137"]
    assert lines(systemd, f"grep ^oom_kill {UNIT}/oom/memory.events; rmdir {UNIT}/oom") == ["oom_kill 1"]


def test_systemd_starts_units_by_name_and_over_the_bus(systemd: Machine) -> None:
    assert lines(systemd, "systemd-run --quiet --wait --pipe -p MemoryMax=64M echo from a unit") == [
        "from a unit"
    ]
    assert lines(systemd, "busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1 "
                          "org.freedesktop.systemd1.Manager Virtualization") != []  # fmt: skip


def test_a_guest_with_systemd_powers_off(place: Path, systemd: Machine) -> None:
    assert systemd.stop()
