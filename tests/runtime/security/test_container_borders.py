"""R15, R20, R22, R28, R30: what a program in a default container tries, and what it finds from inside."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from minicontainer.oci.docker_profile import default_seccomp
from tests.runtime.bundles import bind
from tests.runtime.checks import accepts, refuses
from tests.runtime.security.attacks import DOCKERS
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.conftest import Probes
    from tests.runtime.runtimes import Runtime
    from tests.runtime.terminals import ConsoleSocket

pytestmark = pytest.mark.requires("root", "cgroup2")

GOLDEN = Path(__file__).with_name("default_container.txt")
SNAPSHOT = r"""
grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status | tr '\t' ' ' | sed 's/ *$//'
awk '{ print $5, $6 }' /proc/self/mountinfo | grep -E '^/(proc|sys|dev)' |
    grep -vE 'keys|timer_list|firmware' | sed 's/,relatime//; s/,seclabel//; s/,nosymfollow//' | sort
stat -c '%n %t:%T' /proc/keys /proc/timer_list; echo /sys/firmware $(ls -A /sys/firmware | wc -l)
cd /dev; for d in *; do test ! -L $d && test -c $d && stat -c '%n %t:%T %a' $d; done
for l in fd stdin stdout stderr ptmx; do echo $l $(readlink $l); done
"""
"""Masked paths by what is there, for runtimes mount the null device with different flags."""


def docker_like(made: Bundle) -> Bundle:
    """Give a container what Docker gives by default: capabilities, filter, masked and read-only paths."""
    made.capabilities(*DOCKERS).namespace("cgroup")
    kernel = tuple(int(word) for word in os.uname().release.split("-")[0].split(".")[:2])
    names = [f"CAP_{name}" for name in DOCKERS]
    made.linux["seccomp"] = default_seccomp(names, os.uname().machine, (kernel[0], kernel[1]))
    made.process["noNewPrivileges"] = False
    return made


@pytest.mark.requires("arch:x86_64")
def test_the_default_container_is_the_golden_one(runtime: Runtime, bundle: MakeBundle) -> None:
    made = docker_like(bundle()).shell(SNAPSHOT)
    made.linux["maskedPaths"] = ["/proc/keys", "/proc/timer_list", "/sys/firmware"]
    made.linux["readonlyPaths"] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"]
    assert runtime.output(made).splitlines() == GOLDEN.read_text().splitlines()


def test_no_way_out_through_cgroups(runtime: Runtime, bundle: MakeBundle) -> None:
    script = """
    mkdir /tmp/c; mount -t cgroup2 none /tmp/c; mount -t cgroup -o memory none /tmp/c
    echo $$ > /sys/fs/cgroup/cgroup.procs; echo $$ > /sys/fs/cgroup/../cgroup.procs; mkdir /sys/fs/cgroup/new
    echo 1 > /sys/fs/cgroup/notify_on_release; echo /evil > /sys/fs/cgroup/release_agent
    find / -xdev -name release_agent 2>/dev/null; cat /proc/self/cgroup; ls /tmp/c
    """
    made = docker_like(bundle()).shell(script)
    done = runtime.run(made)
    assert "release_agent" not in done.stdout
    assert "0::/\n" in done.stdout, "the host's path is hidden"
    refusals = [
        line
        for line in done.stderr.splitlines()
        if "denied" in line or "ead-only" in line or "ermitted" in line
    ]
    assert len(refusals) >= 6, done.stderr


@pytest.mark.requires("tool:gcc")
def test_sockets_of_the_kernels_own_families_are_refused(
    runtime: Runtime, bundle: MakeBundle, probe: Probes
) -> None:
    made = docker_like(bundle()).args("/sockets")
    probe("sockets", made.rootfs / "sockets")
    assert runtime.output(made).splitlines() == ["1 0", "2 0", "38 1", "40 1"]


@pytest.mark.parametrize(
    ("seccomp", "deviation"),
    [
        ({"defaultAction": ""}, "empty-filter"),
        ({}, "empty-filter"),
        ({"syscalls": []}, "empty-filter"),
        ("unconfined", "filter-of-another-type"),
        ("", "filter-of-another-type"),
        ([], "filter-of-another-type"),
    ],
)
def test_an_empty_filter_does_not_mean_unconfined(
    runtime: Runtime, bundle: MakeBundle, seccomp: object, deviation: str
) -> None:
    made = bundle().args("grep", "Seccomp:", "/proc/self/status")
    made.linux["seccomp"] = seccomp
    done = runtime.run(made)
    if runtime.deviates(deviation):
        assert (done.returncode, done.stdout) == (0, "Seccomp:\t0\n")
    else:
        refuses(runtime, done, "seccomp")


REMOUNTS = """
mount -o remount,rw /; mount -o remount,bind,rw /; touch /new
mount -o remount,rw /v; mount -o remount,bind,rw /v; touch /v/new; touch /v/below/new
mount -o remount,rw /once; mount -o remount,bind,rw /once; touch /once/new
umount /v; umount /proc/sys; umount /proc/keys; echo -n 1 > /proc/sys/net/ipv4/ip_forward
"""
"""What would make the read-only root and volumes writable, and the masked paths visible."""


@pytest.mark.parametrize("who", ["Docker's root", "root of a user namespace", "root of a nested one"])
def test_what_is_read_only_stays_so(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, below: Path, who: str
) -> None:
    made = bundle().map_users().capabilities(*DOCKERS) if "of a" in who else docker_like(bundle())
    made.shell(f"unshare -r -m sh -c '{REMOUNTS}'; true" if "nested" in who else REMOUNTS + "true")
    made.config["root"]["readonly"] = True
    (workspace / "once").mkdir()
    made.mounts += [bind(below.parent, "/v", "rbind", "rro"), bind(workspace / "once", "/once", "ro")]
    done = runtime.run(made)
    accepts(done)
    assert done.stderr.count("\n") >= len(REMOUNTS.split(";")) - 1, done.stderr
    assert not (made.rootfs / "new").exists()
    assert [path.name for path in below.parent.rglob("*")] == ["below"]
    assert list((workspace / "once").iterdir()) == []


@pytest.fixture
def below(workspace: Path) -> Iterator[Path]:
    """Give a file system that is mounted inside a volume."""
    folder = workspace / "volume" / "below"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=777", "below", folder], check=True)
    (folder.parent).chmod(0o777)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.requires("tool:gcc")
def test_nothing_can_be_typed_into_the_callers_terminal(
    runtime: Runtime, bundle: MakeBundle, probe: Probes
) -> None:
    master, slave = pty.openpty()
    try:
        before = termios.tcgetattr(slave)
        made = bundle().capabilities(*DOCKERS).shell("/push_input; stty raw -echo; exit 0")
        made.process["terminal"] = True
        probe("push_input", made.rootfs / "push_input")
        running = runtime.spawn_run(made, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        assert running.wait(60) == 0
        fcntl.ioctl(slave, termios.FIONREAD, waiting := bytearray(4))
        assert struct.unpack("i", waiting) == (0,), "something was typed for the caller"
        assert termios.tcgetattr(slave)[:4] == before[:4], "the caller's terminal was left raw"
    finally:
        os.close(master)
        os.close(slave)


def test_a_storm_of_resizes_ends_with_the_last_size(
    runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket, rounds: Callable[[int, int], int]
) -> None:
    made = bundle().shell("trap 'stty size > /size' WINCH; touch /ready; while true; do sleep 0.02; done")
    made.process["terminal"] = True
    accepts(runtime.create(made, None, "--console-socket", console.path))
    console.accept()
    accepts(runtime.start(made.id))
    eventually((made.rootfs / "ready").exists, "never ready")
    for number in range(rounds(200, 10000)):
        fcntl.ioctl(console.master, termios.TIOCSWINSZ, struct.pack("HHHH", 10 + number % 50, 80, 0, 0))
    fcntl.ioctl(console.master, termios.TIOCSWINSZ, struct.pack("HHHH", 77, 88, 0, 0))
    size = made.rootfs / "size"
    eventually(lambda: size.exists() and size.read_text() == "77 88\n", "the last size never arrived")
    assert runtime.status(made.id) == "running"
