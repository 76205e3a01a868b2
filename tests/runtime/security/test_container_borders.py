"""R15, R20, R22, R28, R30: what a program in a default container tries, and what it finds from inside."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from minicontainer.oci.docker_profile import default_seccomp
from tests.runtime.bundles import bind
from tests.runtime.checks import accepts
from tests.runtime.security.attacks import DOCKERS
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.conftest import Probes
    from tests.runtime.runtimes import Runtime
    from tests.runtime.terminals import ConsoleSocket

pytestmark = pytest.mark.requires("root", "cgroup2")

GOLDEN = Path(__file__).with_name("default_container.txt")
SNAPSHOT = r"""
grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status | tr '\t' ' '
awk '{ print $5, $6 }' /proc/self/mountinfo | grep -E '^/(proc|sys|dev)' | sed 's/,relatime//; s/,seclabel//' | sort -u
cd /dev; for d in *; do test -c $d && stat -c '%n %t:%T %a' $d; done; readlink fd stdin 2>/dev/null; true
"""


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
    shown = runtime.output(made).splitlines()
    golden = GOLDEN.read_text().splitlines()
    assert [line for line in shown if line not in golden] == []
    assert [line for line in golden if line not in shown] == []


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


@pytest.mark.parametrize("seccomp", [{"defaultAction": ""}, {}, {"syscalls": []}, "unconfined", "", []])
def test_an_empty_filter_does_not_mean_unconfined(
    runtime: Runtime, bundle: MakeBundle, seccomp: object
) -> None:
    made = bundle().args("grep", "Seccomp:", "/proc/self/status")
    made.linux["seccomp"] = seccomp
    done = runtime.run(made)
    if runtime.deviates("empty-filter"):
        return
    assert done.returncode == 1


def test_a_read_only_root_stays_so(runtime: Runtime, bundle: MakeBundle, workspace: Path) -> None:
    (workspace / "volume").mkdir()
    script = """
    mount -o remount,rw /; mount -o remount,bind,rw /; touch /new
    mount -o remount,rw /v; mount -o remount,bind,rw /v; touch /v/new; umount /v; umount /proc/sys; umount /proc/keys
    """
    for made in (docker_like(bundle()), bundle().map_users().capabilities(*DOCKERS, "SYS_ADMIN")):
        made.shell(script)
        made.config["root"]["readonly"] = True
        made.mounts.append(bind(workspace / "volume", "/v", "rbind", "rro"))
        runtime.run(made)
        assert not (made.rootfs / "new").exists()
        assert list((workspace / "volume").iterdir()) == []


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
