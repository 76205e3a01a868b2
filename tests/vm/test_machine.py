"""A real guest: boots, obeys, freezes, thaws, dies; and each death says why."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minicontainer.vm import scratch, snapshot
from minicontainer.vm.conversation import GuestError, Input
from minicontainer.vm.machine import Machine
from tests.runtime.waiting import eventually
from tests.vm import guests

pytestmark = [pytest.mark.requires("vm"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def frozen() -> Iterator[snapshot.Frozen]:
    with guests.short_place() as place:
        made = snapshot.freeze(
            guests.plan(place, "template"),
            guests.the_emulator(),
            place / "frozen",
            lambda guest: guest.warm(["json"]),
        )
        yield made


@pytest.fixture
def place() -> Iterator[Path]:
    with guests.short_place() as place:
        yield place


@pytest.fixture(scope="module")
def guest(frozen: snapshot.Frozen) -> Iterator[Machine]:
    with guests.short_place() as place, guests.thawed(frozen, place).running() as running:
        yield running


def test_cgroup_v2_is_alone_and_has_every_controller(guest: Machine) -> None:
    controllers = guest.run(["cat", "/sys/fs/cgroup/cgroup.controllers"]).text.split()
    assert {"cpuset", "cpu", "io", "memory", "hugetlb", "pids"} <= set(controllers)
    assert guest.sh(
        "grep -c cgroup2 /proc/self/mountinfo; grep -c ' cgroup ' /proc/self/mountinfo"
    ).text.split() == ["1", "0"]


def test_pressure_and_apparmor_are_on(guest: Machine) -> None:
    assert "avg10=" in guest.run(["cat", "/proc/pressure/memory"]).text
    assert guest.run(["cat", "/sys/module/apparmor/parameters/enabled"]).text == "Y\n"


def test_programs_get_their_input_and_give_both_outputs(guest: Machine) -> None:
    done = guest.run(["sh", "-c", "cat; echo wrong >&2; exit 3"], stdin=Input(b"given"))
    assert (done.exit, done.out, done.err) == (3, b"given", b"wrong\n")


def test_a_long_output_comes_out_whole(guest: Machine) -> None:
    done = guest.sh("head -c 3000000 /dev/zero | tr '\\0' x")
    assert done.out == b"x" * 3_000_000


def test_a_guest_has_the_hosts_time(guest: Machine) -> None:
    assert abs(float(guest.run(["date", "+%s"]).text) - time.time()) < 60


def test_two_clones_draw_different_random_numbers(frozen: snapshot.Frozen) -> None:
    drawn = []
    for _ in range(2):
        with guests.short_place() as place, guests.thawed(frozen, place).running() as clone:
            drawn.append(clone.run(["head", "-c", "32", "/dev/urandom"]).out)
    assert len(drawn[0]) == 32
    assert drawn[0] != drawn[1]


def test_a_clone_changes_nothing_in_what_it_was_cloned_from(frozen: snapshot.Frozen) -> None:
    before = frozen.ram.stat().st_mtime_ns
    with guests.short_place() as place, guests.thawed(frozen, place).running() as clone:
        assert clone.sh("echo here > /root/file && cat /root/file").text == "here\n"
    with guests.short_place() as place, guests.thawed(frozen, place).running() as clone:
        assert clone.sh("test -e /root/file").exit == 1
    assert frozen.ram.stat().st_mtime_ns == before


def test_clones_start_one_after_the_other(frozen: snapshot.Frozen, rounds: Callable[[int, int], int]) -> None:
    for number in range(rounds(5, 50)):
        with guests.short_place() as place, guests.thawed(frozen, place).running() as clone:
            assert clone.sh(f"echo {number}").text == f"{number}\n"


def test_guests_boot_one_after_the_other(place: Path, rounds: Callable[[int, int], int]) -> None:
    for number in range(rounds(2, 50)):
        with guests.machine(guests.plan(place)).running() as booted:
            assert booted.sh(f"echo {number}").text == f"{number}\n"


def test_a_clean_end_powers_the_guest_off_and_leaves_only_the_console(
    frozen: snapshot.Frozen, place: Path
) -> None:
    clone = guests.thawed(frozen, place)
    clone.start()
    assert clone.stop()
    assert clone.process is not None
    assert clone.process.returncode == 0
    assert [entry.name for entry in place.iterdir()] == ["guest.console"]
    assert "Power down" in clone.console()


def test_a_panic_is_told_with_the_kernels_words(frozen: snapshot.Frozen, place: Path) -> None:
    clone = guests.thawed(frozen, place)
    clone.start()
    with pytest.raises(GuestError, match=r"Kernel panic - not syncing: sysrq triggered crash; its console"):
        clone.sh("echo c > /proc/sysrq-trigger; sleep 600")
    clone.kill()


def test_a_killed_qemu_is_told(frozen: snapshot.Frozen, place: Path) -> None:
    clone = guests.thawed(frozen, place)
    clone.start()
    assert clone.process is not None
    os.kill(clone.process.pid, signal.SIGKILL)
    with pytest.raises(GuestError, match=r"QEMU ended with -9|its agent is gone"):
        clone.sh("sleep 600")
    clone.kill()


def test_a_program_without_an_end_is_told_and_the_guest_lives_on(
    frozen: snapshot.Frozen, place: Path
) -> None:
    clone = guests.thawed(frozen, place)
    clone.start()
    with pytest.raises(GuestError, match="no end of"):
        clone.run(["sleep", "600"], wait=1)
    assert clone.sh("echo there").text == "there\n"
    clone.stop()


def test_a_guest_that_does_not_come_up_says_why_and_is_gone(place: Path) -> None:
    broken = place / "initramfs"
    broken.write_bytes(b"not an archive")
    planned = guests.plan(place)
    planned = guests.replace(planned, image=guests.replace(planned.image, initramfs=broken))
    silent = guests.machine(planned)
    with pytest.raises(GuestError, match=r"Kernel panic - not syncing: (VFS: Unable|No working init)"):
        silent.start()
    assert silent.process is not None
    assert silent.process.returncode is not None


def test_a_guest_ends_with_the_process_that_started_it(place: Path) -> None:
    planned = guests.machine(guests.plan(place))
    ours = os.fork()
    if ours == 0:
        planned.begin()
        assert planned.process is not None
        (place / "pid").write_text(f"{planned.process.pid}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(ours, 0)
    pid = int((place / "pid").read_text())
    eventually(lambda: not Path(f"/proc/{pid}/exe").exists(), "QEMU outlived its parent")


def test_changes_on_a_scratch_disk_outlive_the_guest(place: Path) -> None:
    disk = guests.scratch_disk(place)
    scratch.make(disk.path, disk.size)
    for script, said in (("echo kept > /root/file", ""), ("cat /root/file", "kept\n")):
        with guests.machine(guests.plan(place, disks=(disk,))).running() as booted:
            assert booted.sh(script).text == said


def test_a_damaged_frozen_guest_is_told_and_the_guest_boots(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(snapshot, "cache", lambda: tmp_path)
    planned, told = guests.plan(place, disks=(guests.scratch_disk(place),)), []

    def prepare(template: Machine) -> None:
        template.sh("echo warm > /root/warm")

    first = snapshot.start(planned, guests.the_emulator(), "a test", prepare, told.append)
    assert first.sh("cat /root/warm").text == "warm\n"
    first.stop()
    assert told == []
    [state] = tmp_path.glob("frozen/*/state")
    state.write_bytes(state.read_bytes()[:1000])
    second = snapshot.start(planned, guests.the_emulator(), "a test", prepare, told.append)
    assert second.sh("cat /root/warm").text == "warm\n"
    second.stop()
    assert len(told) == 1
    assert "so it boots" in told[0]
    assert not state.exists()
