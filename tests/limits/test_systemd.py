"""systemd as the machine's first process, as the driver of cgroups, and as the first process of a container.

    --systemd-cgroup: SLICE:PREFIX:NAME -> the scope PREFIX-NAME.scope in SLICE, limits are its properties

Implements: runtime-spec config-linux.md "Cgroups Path"; runc's docs/systemd.md; systemd.scope(5),
systemd.resource-control(5); <https://systemd.io/CONTAINER_INTERFACE>.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.limits.groups import MIB, counts, limited, memory, take, with_own_groups
from tests.runtime.bundles import bind, mount
from tests.runtime.checks import accepts
from tests.runtime.runtimes import Runtime, cgroup2_root, find_binary
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.bundles import Bundle, MakeBundle

pytestmark = [
    pytest.mark.vm("systemd"),
    pytest.mark.requires(
        "root", "unified", "systemd", *(f"controller:{n}" for n in ("memory", "cpu", "pids"))
    ),
]
SLICE = "minicontainertest.slice"


class ScopedRuntime(Runtime):
    """The runtime under test, whose containers are scopes of the machine's systemd."""

    def argv(self, *argv: str) -> list[str]:
        """Give the whole command line of one call: only `create` and `run` are told of systemd."""
        flags = ["--systemd-cgroup"] if argv[0] in ("create", "run") else []
        return super().argv(*flags, *argv)

    def cgroup(self, bundle: Bundle) -> Path:
        """Give the group in which the container's processes and limits are."""
        group = cgroup2_root() / SLICE / unit(bundle)
        return group / ("container" if self.deviates("group-in-scope") else "")


def unit(made: Bundle) -> str:
    """Give the name of a container's scope."""
    return f"test-{made.id}.scope"


def systemctl(*words: str) -> str:
    """Ask systemd; give its answer."""
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=True).stdout.strip()


def property_of(made: Bundle, name: str) -> str:
    """Give what systemd says of a scope."""
    return systemctl("show", "--value", f"--property={name}", unit(made))


@pytest.fixture
def runtime(workspace: Path) -> Iterator[ScopedRuntime]:
    """Give the runtime under test, with systemd as its driver."""
    under_test = ScopedRuntime(find_binary(), workspace)
    try:
        yield under_test
    finally:
        under_test.clean()
        systemctl("stop", SLICE)


def scoped(made: Bundle) -> Bundle:
    """Ask for a scope."""
    made.linux["cgroupsPath"] = f"{SLICE}:test:{made.id}"
    return made


def test_limits_are_properties_of_the_scope_and_survive_a_reload(
    runtime: ScopedRuntime, bundle: MakeBundle
) -> None:
    made = scoped(
        limited(bundle, memory=memory(32), pids={"limit": 20}, cpu={"quota": 30000, "period": 100000})
    )
    name = runtime.sleeping(made)
    shown = [property_of(made, key) for key in ("MemoryMax", "TasksMax", "CPUQuotaPerSecUSec", "Delegate")]
    assert shown == [str(32 * MIB), "20", "300ms", "yes"]
    update = {"memory": memory(48), "pids": {"limit": 25}}
    accepts(runtime.call("update", "--resources", "-", name, text=json.dumps(update)))
    systemctl("daemon-reload")
    group = runtime.cgroup(made)
    assert property_of(made, "MemoryMax") == str(48 * MIB)
    files = [(group / key).read_text().strip() for key in ("memory.max", "pids.max", "cpu.max")]
    assert files == [str(48 * MIB), "25", "30000 100000"]
    # The rules for devices are not lost either, as they once were with runc.
    done = runtime.exec(
        name, "sh", "-c", "echo x > /dev/null && echo null; head -c 1 /dev/urandom > /dev/null"
    )
    assert (done.stdout, done.returncode) == ("null\n", 0)
    assert runtime.exec(name, *take(64)).returncode == 137
    assert counts(group, "memory.events")["oom_kill"] == 1
    accepts(runtime.delete(name, force=True))
    eventually(lambda: property_of(made, "LoadState") == "not-found", "the scope is left")


def test_systemd_can_end_a_container(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = scoped(bundle()).shell("trap 'echo asked > /asked; exit' TERM; while :; do sleep 0.1; done")
    name = runtime.started(made)
    systemctl("stop", unit(made))
    runtime.wait_stopped(name)
    assert (made.rootfs / "asked").read_text() == "asked\n"
    accepts(runtime.delete(name))


def test_a_container_in_a_scope_divides_what_it_was_given(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = with_own_groups(scoped(limited(bundle, memory=memory(64)))).map_users()
    script = (
        "cd /sys/fs/cgroup; mkdir init; echo 0 > init/cgroup.procs; echo +memory > cgroup.subtree_control"
    )
    name = runtime.started(made.shell(f"{script}; touch /ready; exec sleep 1000"))
    eventually((made.rootfs / "ready").exists, "the groups were not made")
    assert "memory" in (runtime.cgroup(made) / "cgroup.subtree_control").read_text().split()
    assert runtime.status(name) == "running"


@pytest.mark.timeout(300)
def test_systemd_is_the_first_process_of_a_container(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = with_own_groups(scoped(limited(bundle, memory=memory(128), pids={"limit": 60})))
    units = made.path / "units"
    units.mkdir()
    (units / "small.target").write_text("[Unit]\nWants=hello.service\nAllowIsolate=yes\n")
    (units / "hello.service").write_text(
        "[Unit]\nDefaultDependencies=no\n[Service]\nMemoryMax=16M\nExecStart=/bin/busybox sleep 1000\n"
    )
    rootfs = made.rootfs
    for name in ("run", "etc/systemd", "mnt"):
        (rootfs / name).mkdir(exist_ok=True, parents=True)
    (rootfs / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (rootfs / "etc/os-release").write_text("ID=test\n")
    for name in ("lib", "lib64"):
        (rootfs / name).symlink_to(f"usr/{name}")
    made.mounts += [
        bind("/usr", "/usr", "ro"),
        mount("/run", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=755"),
        bind(units, "/etc/systemd/system", "ro"),
    ]
    made.process["env"] = ["container=oci", "PATH=/usr/sbin:/usr/bin"]
    made.process["noNewPrivileges"] = False
    made.capabilities(
        "SYS_ADMIN", "DAC_OVERRIDE", "KILL", "SETUID", "SETGID", "SYS_RESOURCE", "CHOWN", "FOWNER"
    )
    arguments = ["--unit=small.target", "--log-target=console", "--log-level=notice", "--show-status=false"]
    name = runtime.started(made.args("/usr/lib/systemd/systemd", *arguments))
    group = runtime.cgroup(made)
    service = group / "system.slice/hello.service"
    eventually((service / "memory.max").exists, "systemd did not start the service", deadline=120)
    eventually(lambda: (service / "memory.max").read_text() == f"{16 * MIB}\n", "no limit was set")
    assert (group / "init.scope/cgroup.procs").read_text().split() == [str(runtime.pid(name))]
    assert (group / "memory.max").read_text() == f"{128 * MIB}\n"
    accepts(runtime.kill(name, "RTMIN+4"))  # power off
    runtime.wait_stopped(name)
    accepts(runtime.delete(name))
    assert not group.exists()
