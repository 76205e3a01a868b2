"""The doctor on machines that are far away: recordings, and machines put together from public reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from minicontainer.doctor import recording
from minicontainer.doctor.examination import Examination, examine
from minicontainer.doctor.finding import Mark
from minicontainer.doctor.machine import Machine, Place, Program

MACHINES = Path(__file__).parent / "machines"
NAMES = sorted(path.name for path in MACHINES.iterdir() if path.is_dir())
Recorded = Callable[[str], Machine]


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    """Give a machine by its directory's name."""
    return lambda name: recording.unpack(MACHINES / name, tmp_path / name)


def marks(found: Examination) -> dict[str, Mark]:
    return {finding.name: finding.mark for group in found.groups.values() for finding in group}


def names(found: Examination) -> set[str]:
    return set(marks(found))


def changed(machine: Machine, **answers: object) -> Machine:
    """The same machine with other answers."""
    return replace(machine, answers=msgspec.structs.replace(machine.answers, **answers))


def write(machine: Machine, path: str, text: str) -> None:
    """Change a file of a machine."""
    file = machine.root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


# --- every machine -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_not_well_says_how_to_mend_it_or_what_it_means(name: str, recorded: Recorded) -> None:
    found = examine(recorded(name))
    for finding in (finding for group in found.groups.values() for finding in group):
        assert finding.says
        assert (finding.mark == Mark.OK) <= (not finding.mend)
        assert (finding.mark == Mark.MISSING) <= bool(finding.mend)


@pytest.mark.parametrize("name", NAMES)
def test_a_finding_has_a_name_of_its_own(name: str, recorded: Recorded) -> None:
    found = examine(recorded(name))
    assert len(marks(found)) == sum(map(len, found.groups.values()))


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_machine_can_be_recorded_again(name: str, recorded: Recorded, tmp_path: Path) -> None:
    machine = recorded(name)
    found = examine(machine)
    recording.write(machine, tmp_path / "again")
    assert examine(recording.unpack(tmp_path / "again", tmp_path / "root")) == found


def test_the_source_of_each_machine_is_named() -> None:
    listed = [
        line.split("`")[1] for line in (MACHINES / "README.md").read_text().splitlines() if "| `" in line
    ]
    assert sorted(listed) == NAMES


@pytest.mark.parametrize(
    ("name", "obstacles"),
    [
        ("debian-12-hybrid", []),
        ("debian-13", []),
        ("debian-13-user", []),
        ("docker-container", ["rights", "overlay"]),
        ("fedora-39", []),
        ("raspberry-pi-5", []),
        ("ubuntu-20.04", ["kernel"]),
        ("ubuntu-24.04", []),
        ("wsl1", ["kernel", "wsl", "overlay", "seccomp"]),
        ("wsl2-systemd", []),
        ("wsl2-two-hierarchies", []),
    ],
)
def test_containers_run_where_nothing_that_they_need_is_missing(
    name: str, obstacles: list[str], recorded: Recorded
) -> None:
    assert [finding.name for finding in examine(recorded(name)).containers] == obstacles


# --- one by one --------------------------------------------------------------------------------


def test_debian_12_hybrid_has_containers_without_limits_and_no_kvm(recorded: Recorded) -> None:
    found = examine(recorded("debian-12-hybrid"))
    assert (found["cgroups"].mark, found["controllers"].mark) == (Mark.LIMITED, Mark.LIMITED)
    assert "hybrid" in found["cgroups"].says
    assert "cgroup_no_v1=all" in found["cgroups"].mend
    assert all(option in found["controllers"].says for option in ("--memory", "--cpus", "--pids-limit"))
    assert "held by cgroup v1" in found["controllers"].says
    assert "CAP_SYS_RESOURCE" in found["rights"].says
    assert found["kvm"].mark == Mark.LIMITED
    assert "opens, but" in found["kvm"].says
    assert "7.2" in found["qemu"].says
    assert found.guests == []


def test_debian_13_has_everything_for_containers(recorded: Recorded) -> None:
    found = examine(recorded("debian-13"))
    for group in ("this machine", "control groups", "ordinary users", "parts of containers"):
        assert {finding.mark for finding in found.groups[group]} == {Mark.OK}
    assert found["hypervisor"].says.endswith("(QEMU)")
    assert [finding.name for finding in found.guests] == ["qemu", "image tools"]
    assert found["qemu"].mend == "apt-get install qemu-system-x86"
    assert found["image tools"].mend == "apt-get install mmdebstrap squashfs-tools"
    assert found["memory for guests"].mark == Mark.LIMITED


def test_an_ordinary_user_without_a_user_manager_has_no_control_group(recorded: Recorded) -> None:
    found = examine(recorded("debian-13-user"))
    assert found["delegation"].mark == Mark.LIMITED
    assert "loginctl enable-linger" in found["delegation"].mend
    assert found["rights"].mend == "use sudo"
    assert found["subordinate ids"].mark == found["user namespaces"].mark == Mark.OK
    assert "usermod -aG kvm ana" in found["kvm"].mend


def test_ubuntu_24_04_names_apparmors_switch(recorded: Recorded) -> None:
    machine = recorded("ubuntu-24.04")
    for found in (examine(machine), examine(changed(machine, trials={}))):
        assert found["user namespaces"].mark == Mark.LIMITED
        assert "apparmor_restrict_unprivileged_userns is 1" in found["user namespaces"].says
        assert "kernel.apparmor_restrict_unprivileged_userns=0" in found["user namespaces"].mend
        assert "`userns,`" in found["user namespaces"].mend
        assert found["bridge"].mark == found["veth"].mark == found["nftables"].mark == Mark.OK
        assert found["delegation"].mark == found["newuidmap"].mark == Mark.OK
    assert "AppArmor" in found["security modules"].says


def test_a_user_namespace_that_was_tried_and_works_outweighs_the_switch(recorded: Recorded) -> None:
    found = examine(changed(recorded("ubuntu-24.04"), trials={"user namespace": ""}))
    assert found["user namespaces"].mark == Mark.OK


def test_fedora_maps_ids_by_file_capabilities_and_installs_by_dnf(recorded: Recorded) -> None:
    machine = recorded("fedora-39")
    found = examine(machine)
    assert found["newuidmap"].mark == found["subordinate ids"].mark == found["delegation"].mark == Mark.OK
    assert "SELinux, enforcing" in found["security modules"].says
    assert found["qemu"].mend == "dnf install qemu-system-x86-core"
    write(machine, "/proc/pressure/memory", "")
    assert "grubby --update-kernel=ALL --args=psi=1" in examine(replace(machine, texts={}))["pressure"].mend
    write(machine, "/sys/fs/cgroup/cgroup.controllers", "cpu io")
    found = examine(replace(machine, texts={}))
    assert found["controllers"].mark == Mark.LIMITED


def test_wsl_1_is_sent_to_wsl_2(recorded: Recorded) -> None:
    found = examine(recorded("wsl1"))
    assert "--set-version" in found["wsl"].mend
    assert found["wsl"].needed


def test_wsl_2_with_two_hierarchies_is_told_to_take_one(recorded: Recorded) -> None:
    found = examine(recorded("wsl2-two-hierarchies"))
    assert "hybrid" in found["cgroups"].says
    assert "cgroup_no_v1=all" in found["cgroups"].mend
    assert ".wslconfig" in found["cgroups"].mend
    assert "systemd=true" in found["wsl"].mend
    assert "proves nothing" in found["kvm"].says


def test_wsl_2_with_systemd_is_well(recorded: Recorded) -> None:
    machine = recorded("wsl2-systemd")
    found = examine(machine)
    assert found["wsl"].mark == found["cgroups"].mark == found["controllers"].mark == Mark.OK
    assert "nestedVirtualization" in found["kvm"].mend
    (machine.root / "run/systemd/system").unlink()
    found = examine(machine)
    assert "although /etc/wsl.conf asks for it" in found["wsl"].says
    assert "--shutdown" in found["wsl"].mend


def test_a_raspberry_pi_has_no_memory_controller_and_is_not_verified(recorded: Recorded) -> None:
    found = examine(recorded("raspberry-pi-5"))
    assert found["architecture"].mark == Mark.LIMITED
    assert "not verified" in found["architecture"].says
    assert "--memory" in found["controllers"].says
    assert "--cpus" not in found["controllers"].says
    assert "switched off at boot" in found["controllers"].says
    assert "cgroup_enable=memory" in found["controllers"].mend
    assert "/boot/firmware/cmdline.txt" in found["controllers"].mend
    assert "VT-x" not in found["kvm"].mend
    assert found["qemu"].mend == "apt-get install qemu-system-arm"


@pytest.mark.parametrize(
    ("path", "text", "off"),
    [
        ("/proc/cmdline", "quiet cgroup_disable=memory", True),
        ("/proc/cmdline", "quiet cgroup_enable=memory", False),
        ("/proc/cgroups", "memory\t0\t95\t0", True),  # github.com/raspberrypi/linux/pull/6439
        ("/proc/cgroups", "memory\t0\t95\t1", False),
    ],
)
def test_memory_that_is_switched_off_at_boot_is_told_from_a_kernel_without_it(
    path: str, text: str, off: bool, recorded: Recorded
) -> None:
    machine = recorded("raspberry-pi-5")
    for file in ("/proc/cmdline", "/proc/cgroups"):
        write(machine, file, text if file == path else "")
    found = examine(machine)["controllers"]
    assert ("switched off at boot" in found.says, "cgroup_enable=memory" in found.mend) == (off, off)


def test_ubuntu_20_04_needs_a_newer_kernel(recorded: Recorded) -> None:
    found = examine(recorded("ubuntu-20.04"))
    assert "5.12" in found["kernel"].says
    assert "legacy" in found["cgroups"].says
    assert "systemd.unified_cgroup_hierarchy=1" in found["cgroups"].mend
    assert "5.11" in found["overlay for users"].says


def test_a_docker_container_is_told_what_it_was_not_given(recorded: Recorded) -> None:
    found = examine(recorded("docker-container"))
    assert "docker" in found["container"].says
    assert "--privileged" in found["container"].mend
    assert "CAP_SYS_ADMIN" in found["rights"].says
    assert "--device /dev/kvm" in found["kvm"].mend


# --- single checks, on a machine that was well -------------------------------------------------


@pytest.mark.parametrize(
    ("release", "mark", "word"),
    [
        ("5.10.0-30-amd64", Mark.MISSING, "5.12"),
        ("5.13.0", Mark.LIMITED, "cgroup.kill"),
        ("5.15.0-91-generic", Mark.LIMITED, "id-mapped overlays"),
        ("6.1.0-18-amd64", Mark.LIMITED, "tmpfs"),
        ("6.8.0", Mark.OK, "6.8.0"),
        ("7.0-rc1", Mark.OK, "7.0"),
    ],
)
def test_a_kernel_is_as_good_as_its_version(release: str, mark: Mark, word: str, recorded: Recorded) -> None:
    found = examine(changed(recorded("debian-13"), release=release))["kernel"]
    assert (found.mark, word in found.says) == (mark, True)


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("/proc/sys/user/max_user_namespaces", "0", "user namespaces"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "user namespaces"),
        ("/etc/subuid", "root:100000:65536", "subordinate ids"),
        ("/etc/subgid", "ana:100000:1000", "subordinate ids"),
        ("/proc/sys/kernel/seccomp/actions_avail", "kill_thread errno", "seccomp"),
        ("/proc/pressure/memory", "", "pressure"),
        ("/proc/self/mountinfo", "", "cgroups"),
        ("/proc/meminfo", "MemAvailable: 1000 kB", "memory"),
    ],
)
def test_one_file_that_differs_is_seen(path: str, text: str, name: str, recorded: Recorded) -> None:
    machine = changed(recorded("debian-13-user"), trials={})
    assert examine(machine)[name].mark == Mark.OK
    write(machine, path, text)
    found = examine(replace(machine, texts={}, seen={}))[name]
    assert (found.mark, bool(found.mend)) == (Mark.LIMITED, True)


@pytest.mark.parametrize(
    ("answers", "name", "mark"),
    [
        ({"architecture": "i686"}, "architecture", Mark.MISSING),
        ({"python": "3.9.2"}, "python", Mark.MISSING),
        ({"libraries": {"click": "8", "msgspec": ""}}, "python", Mark.MISSING),
        ({"trials": {"overlay": "mount: Invalid argument"}}, "overlay", Mark.MISSING),
        ({"trials": {"veth": "sendto: Operation not supported"}}, "veth", Mark.LIMITED),
        ({"trials": {"user namespace": "mount: Permission denied"}}, "user namespaces", Mark.LIMITED),
        ({"trials": {"overlay in a user namespace": "mount: x"}}, "overlay for users", Mark.LIMITED),
        ({"trials": {}, "modules": {"nf_tables": ""}}, "nftables", Mark.LIMITED),
        ({"trials": {}, "modules": {"bridge": ""}}, "bridge", Mark.LIMITED),
        ({"programs": {}}, "newuidmap", Mark.LIMITED),
        ({"programs": {}}, "image busybox", Mark.LIMITED),
        ({"programs": {"mmdebstrap": Program(path="/usr/bin/mmdebstrap")}}, "qemu", Mark.LIMITED),
        ({"places": {"images": Place(path="/var", free=1 << 20)}}, "room for images", Mark.LIMITED),
        ({"places": {"images": Place(path="/var", free=1 << 40, inodes=7)}}, "room for images", Mark.LIMITED),
    ],
)
def test_one_answer_that_differs_is_seen(
    answers: dict[str, object], name: str, mark: Mark, recorded: Recorded
) -> None:
    machine = recorded("debian-13")
    found = examine(changed(machine, **answers))[name]
    assert (found.mark, bool(found.mend)) == (mark, True)
    assert examine(machine)[name].mark == (Mark.MISSING if name == "qemu" else Mark.OK)


def test_newuidmap_without_any_right_is_told_to_get_it(recorded: Recorded) -> None:
    machine = recorded("debian-13")
    weak = {name: Program(path=f"/usr/bin/{name}") for name in ("newuidmap", "newgidmap")}
    found = examine(changed(machine, programs={**machine.answers.programs, **weak}))["newuidmap"]
    assert found.mark == Mark.LIMITED
    assert "setcap cap_setuid=ep /usr/bin/newuidmap" in found.mend
    assert "setcap cap_setgid=ep /usr/bin/newgidmap" in found.mend


def test_an_ordinary_user_of_a_privileged_container_is_not_sent_away(recorded: Recorded) -> None:
    machine = recorded("docker-container")
    write(machine, "/proc/self/status", "CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff")
    found = examine(changed(machine, uid=1000, user="ana", trials={}))
    assert (found["container"].mark, found["rights"].mend) == (Mark.OK, "use sudo")


@pytest.mark.parametrize(
    ("version", "mark", "number"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", Mark.LIMITED, "7.2"),
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", Mark.OK, "10.0"),
        ("", Mark.LIMITED, "unknown"),
    ],
)
def test_qemu_is_fast_from_10_on(version: str, mark: Mark, number: str, recorded: Recorded) -> None:
    machine = recorded("debian-13")
    program = Program(path="/usr/bin/qemu-system-x86_64", version=version)
    found = examine(changed(machine, programs={"qemu-system-x86_64": program}))["qemu"]
    assert (found.mark, number in found.says) == (mark, True)


def test_ids_that_another_service_gives_are_no_lack(recorded: Recorded) -> None:
    machine = recorded("debian-13-user")
    write(machine, "/etc/subuid", "")
    assert examine(machine)["subordinate ids"].mark == Mark.LIMITED
    write(machine, "/etc/nsswitch.conf", "passwd: files sss\nsubid: sss\n")
    assert examine(replace(machine, texts={}))["subordinate ids"].mark == Mark.OK


def test_one_hierarchy_of_v1_beside_v2_is_named(recorded: Recorded) -> None:
    # github.com/openjdk/jdk, TestCgroupSubsystemFactory.java, mntInfoOnlyFreezerInV1
    machine = recorded("debian-13")
    lines = (
        "32 23 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw",
        "911 32 0:47 / /sys/fs/cgroup/freezer rw,relatime shared:476 - cgroup freezer rw,freezer",
    )
    write(machine, "/proc/self/mountinfo", "\n".join(lines))
    found = examine(machine)
    assert found["cgroups"].says.endswith("holds freezer")
    assert found["controllers"].mark == Mark.OK


def test_v2_mounted_over_v1_does_not_free_the_controllers(recorded: Recorded) -> None:
    machine = recorded("debian-12-hybrid")
    lines = machine.read("/proc/self/mountinfo").replace("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
    write(machine, "/proc/self/mountinfo", lines)
    write(machine, "/sys/fs/cgroup/cgroup.controllers", "hugetlb")
    found = examine(replace(machine, texts={}))
    assert "v1 is mounted too and holds" in found["cgroups"].says
    assert found["controllers"].mark == Mark.LIMITED


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("/run/systemd/container", "lxc\n", "lxc"),
        ("/run/.containerenv", "", "podman"),
        ("/proc/1/environ", "PATH=/bin\0container=systemd-nspawn\0SECRET=1\0", "systemd-nspawn"),
        ("/proc/1/cgroup", "0::/kubepods/besteffort/pod1", "kubernetes"),
    ],
)
def test_a_container_around_us_is_known(path: str, text: str, name: str, recorded: Recorded) -> None:
    machine = recorded("debian-13")
    assert "container" not in names(examine(machine))
    write(machine, path, text)
    machine = replace(machine, texts={}, seen={})
    assert name in examine(machine)["container"].says
    assert "SECRET" not in "".join(machine.seen.values())


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("/sys/class/dmi/id/product_name", "VirtualBox", "VirtualBox"),
        ("/sys/class/dmi/id/product_name", "VMware Virtual Platform", "VMware"),
        ("/sys/class/dmi/id/product_name", "Virtual Machine", "Hyper-V"),
        ("/sys/class/dmi/id/sys_vendor", "Amazon EC2", "Amazon EC2"),
        ("/proc/device-tree/hypervisor/compatible", "linux,kvm", "KVM"),
    ],
)
def test_a_hypervisor_under_us_is_known(path: str, text: str, name: str, recorded: Recorded) -> None:
    machine = recorded("raspberry-pi-5")
    assert "bare hardware" in examine(machine)["hypervisor"].says
    write(machine, path, text)
    assert name in examine(replace(machine, texts={}))["hypervisor"].says


def test_another_distribution_is_told_the_programs_name_only(recorded: Recorded) -> None:
    machine = recorded("debian-13")
    write(machine, "/etc/os-release", "ID=arch\n")
    assert examine(replace(machine, texts={}))["qemu"].mend == "install qemu-system-x86_64"
