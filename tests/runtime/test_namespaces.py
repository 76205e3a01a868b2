"""Namespaces: new ones, joined ones, the host's own; clocks of their own.

Implements: runtime-spec, config-linux.md "Namespaces" and "Offset for Time Namespace".
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts, refuses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

KINDS = {"cgroup": "cgroup", "ipc": "ipc", "mount": "mnt", "network": "net", "pid": "pid", "uts": "uts"}


def inside(runtime: Runtime, made: Bundle, kind: str) -> str:
    """Give the name of one namespace of a new container's process."""
    return runtime.output(made.args("readlink", f"/proc/self/ns/{kind}")).strip()


def own(kind: str) -> str:
    """Give the name of one namespace of the test itself."""
    return str(Path(f"/proc/self/ns/{kind}").readlink())


@pytest.fixture
def holder() -> Iterator[int]:
    """Give a process that sits in new ipc, net and uts namespaces."""
    command = ["unshare", "--ipc", "--net", "--uts", "sh", "-c", "hostname held; echo ready; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


@pytest.mark.parametrize(("kind", "short"), KINDS.items())
def test_each_kind_can_be_new(runtime: Runtime, bundle: MakeBundle, kind: str, short: str) -> None:
    assert inside(runtime, bundle().namespace(kind), short) != own(short)


@pytest.mark.parametrize("kind", ["ipc", "network", "uts", "cgroup"])
def test_each_kind_can_be_the_hosts(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    made = bundle().without_namespace(kind)
    if kind == "uts":
        del made.config["hostname"]
    if kind == "network":
        made.without_mount("/sys")
    assert inside(runtime, made, KINDS[kind]) == own(KINDS[kind])


def test_the_process_numbers_can_be_the_hosts(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().without_namespace("pid").args("sleep", "1000")
    name = runtime.started(made)
    assert Path(f"/proc/{runtime.pid(name)}/ns/pid").readlink() == Path("/proc/self/ns/pid").readlink()


@pytest.mark.parametrize("kind", ["ipc", "network", "uts"])
def test_each_kind_can_be_joined_by_path(
    runtime: Runtime, bundle: MakeBundle, holder: int, kind: str
) -> None:
    path = f"/proc/{holder}/ns/{KINDS[kind]}"
    made = bundle().namespace(kind, path)
    if kind == "uts":
        del made.config["hostname"]
    assert inside(runtime, made, KINDS[kind]) == str(Path(path).readlink())


def test_containers_can_share_process_numbers(runtime: Runtime, bundle: MakeBundle) -> None:
    first = runtime.sleeping(bundle())
    second = bundle().namespace("pid", f"/proc/{runtime.pid(first)}/ns/pid")
    assert "sleep" in runtime.output(second.args("cat", "/proc/1/cmdline"))


def test_the_first_process_is_number_one(runtime: Runtime, bundle: MakeBundle) -> None:
    assert runtime.output(bundle().shell("echo $$")) == "1\n"


def test_a_namespace_path_of_another_kind_is_refused(
    runtime: Runtime, bundle: MakeBundle, holder: int
) -> None:
    refuses(runtime, runtime.create(bundle().namespace("network", f"/proc/{holder}/ns/uts")))
    refuses(
        runtime, runtime.create(bundle().namespace("network", "/no/such/namespace")), "/no/such/namespace"
    )


def test_without_a_mount_namespace_nothing_runs(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().without_namespace("mount").args("true")
    before = Path("/proc/self/mountinfo").read_text()
    done = runtime.create(made)
    assert (done.returncode == 0) == runtime.deviates("no-mount-namespace")
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_hostname_needs_a_namespace_of_its_own(runtime: Runtime, bundle: MakeBundle) -> None:
    before = Path("/proc/sys/kernel/hostname").read_text()
    refuses(runtime, runtime.create(bundle().without_namespace("uts")))
    assert Path("/proc/sys/kernel/hostname").read_text() == before


def test_the_new_network_has_only_a_loopback(runtime: Runtime, bundle: MakeBundle) -> None:
    text = runtime.output(bundle().shell("ls /sys/class/net; cat /sys/class/net/lo/flags"))
    assert text.split() == ["lo", "0x9"], "lo is not alone, or not up"


@pytest.mark.requires("timens")
def test_clocks_can_be_set_off(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().namespace("time").args("cat", "/proc/uptime")
    made.linux["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 0}, "monotonic": {"secs": 7}}
    host = float(Path("/proc/uptime").read_text().split()[0])
    assert float(runtime.output(made).split()[0]) - host > 999000


@pytest.mark.requires("timens")
def test_exec_has_the_containers_clock(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().namespace("time")
    made.linux["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 0}}
    name = runtime.sleeping(made)
    done = runtime.exec(name, "cat", "/proc/uptime")
    accepts(done)
    assert float(done.stdout.split()[0]) > 1000000


def test_time_offsets_need_a_time_namespace(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["timeOffsets"] = {"boottime": {"secs": 1000}}
    refuses(runtime, runtime.create(made))


@pytest.mark.vm
def test_the_cgroup_namespace_hides_the_hosts_path(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().namespace("cgroup").args("cat", "/proc/self/cgroup")
    assert "0::/\n" in runtime.output(made)
    made = bundle().args("cat", "/proc/self/cgroup")
    assert f"0::/{made.id}\n" in runtime.output(made)
