"""`--systemd-cgroup` from end to end: the real command line, a real bus, a small systemd, real cgroups.

The machine need not run systemd: each call sees a /run of its own, where systemd seems to have booted.

Implements: runtime-spec config-linux.md "Cgroups Path"; runc's docs/systemd.md; systemd.scope(5).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers import in_v2_view
from tests.runtime.checks import accepts, refuses
from tests.runtime.fake_systemd import FakeSystemd
from tests.runtime.runtimes import Runtime, cgroup2_root, find_binary
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.bundles import Bundle, MakeBundle

pytestmark = pytest.mark.requires("root", "cgroup2", "tool:dbus-daemon", "import:jeepney")

BOOTED = 'mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec "$@"'
NOT_BOOTED = 'mount -t tmpfs none /run && exec "$@"'


class ScopedRuntime(Runtime):
    """The runtime under test, whose containers are made by this systemd."""

    def __init__(self, folder: Path, bus: FakeSystemd) -> None:
        super().__init__(find_binary(), folder)
        self.bus = bus
        self.variable = "DBUS_SYSTEM_BUS_ADDRESS"
        self.unshare = ["--mount"]
        self.run_folder = BOOTED

    def argv(self, *argv: str) -> list[str]:
        """Give the whole command line of one call: only `create` and `run` are told of systemd."""
        flags = ["--systemd-cgroup"] if argv[0] in ("create", "run") else []
        command = [str(self.binary), "--root", str(self.root), *flags, *argv]
        if self.kind != "ours":
            command = in_v2_view(command)
        view = ["unshare", *self.unshare, "--propagation", "private", "sh", "-c", self.run_folder, "sh"]
        return ["env", f"{self.variable}={self.bus.address}", *view, *command]

    def cgroup(self, bundle: Bundle) -> Path:
        """Give the group of a container's scope; where its processes are, see `home`."""
        slice_name, prefix, name = str(bundle.linux["cgroupsPath"]).split(":")
        path = cgroup2_root() / self.bus.properties["ControlGroup"].lstrip("/")
        return path / slice_name / f"{prefix}-{name}.scope"

    def home(self, bundle: Bundle) -> Path:
        """Give the group in which a container's processes and limits are."""
        return self.cgroup(bundle) / ("container" if self.deviates("group-in-scope") else "")


@pytest.fixture
def bus() -> Iterator[FakeSystemd]:
    """Give a systemd that makes real groups."""
    with FakeSystemd(tree=cgroup2_root()) as service:
        yield service


@pytest.fixture
def runtime(workspace: Path, bus: FakeSystemd) -> Iterator[ScopedRuntime]:
    """Give the runtime under test, with that systemd."""
    under_test = ScopedRuntime(workspace, bus)
    try:
        yield under_test
    finally:
        under_test.clean()


def scoped(make: MakeBundle, prefix: str = "libpod") -> Bundle:
    """Give a bundle whose container is to be a scope in a slice of its own."""
    made = make()
    made.linux["cgroupsPath"] = f"{made.id.replace('-', 'x')}.slice:{prefix}:{made.id}"
    return made


def unit(made: Bundle) -> str:
    """Give the name of the scope."""
    _, prefix, name = made.linux["cgroupsPath"].split(":")
    return f"{prefix}-{name}.scope"


def nothing_left(runtime: ScopedRuntime, made: Bundle) -> None:
    """Assert that neither state nor process nor scope is there."""
    assert not (runtime.root / made.id).exists()
    eventually(
        lambda: not runtime.cgroup(made).exists() or runtime.bus.is_empty(unit(made)), "a process is left"
    )
    runtime.bus.forget_empty()
    assert not runtime.cgroup(made).exists()
    assert made.id not in runtime.succeed("list", "-q").stdout.split()


def test_the_first_process_is_started_in_a_scope(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = scoped(bundle)
    made.config["annotations"] = {"org.systemd.property.TimeoutStopUSec": "uint64 7000000"}
    accepts(runtime.create(made))
    told = runtime.bus.units[unit(made)]
    assert told["Slice"] == ("s", made.linux["cgroupsPath"].partition(":")[0])
    assert told["Delegate"] == ("b", True)
    assert told["TimeoutStopUSec"] == ("t", 7_000_000)
    if runtime.kind != "runc":  # its stage is moved, and takes the container along
        assert told["PIDs"][1] == [runtime.pid(made.id)]
    assert (runtime.home(made) / "cgroup.procs").read_text().split() == [str(runtime.pid(made.id))]


def test_a_program_runs_to_its_end_and_leaves_no_scope(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = scoped(bundle).shell("echo hello; exit 7")
    done = runtime.run(made)
    assert (done.returncode, done.stdout) == (7, "hello\n")
    nothing_left(runtime, made)
    assert runtime.bus.units == {}


@pytest.mark.parametrize(
    "kind", ["user", pytest.param("time", marks=pytest.mark.requires("runtime:ours|runc")), "joined"]
)
def test_the_root_of_the_cgroup_namespace_is_the_scope(
    runtime: ScopedRuntime, bundle: MakeBundle, kind: str
) -> None:
    made = scoped(bundle).args("cat", "/proc/self/cgroup")
    made.namespace("cgroup")
    if kind == "user":
        made.map_users()
    elif kind == "time":
        made.namespace("time")
        made.linux["timeOffsets"] = {"boottime": {"secs": 5}}
    else:
        made.namespace("uts", "/proc/self/ns/uts")
        del made.config["hostname"]
    assert runtime.output(made).splitlines()[-1] == "0::/"


@pytest.mark.parametrize("mapped", [False, True])
def test_without_a_cgroup_namespace_the_scope_is_what_is_shown(
    runtime: ScopedRuntime, bundle: MakeBundle, mapped: bool
) -> None:
    made = scoped(bundle).args("cat", "/sys/fs/cgroup/cgroup.procs", "/proc/self/cgroup")
    if mapped:
        made.map_users()
    first, *rest = runtime.output(made).splitlines()
    if runtime.kind == "ours":
        assert first == "1"
    assert rest[-1].removesuffix("/container").endswith(f"/{unit(made)}")


def test_limits_and_updates_reach_the_scope(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = scoped(bundle)
    made.linux["resources"]["unified"] = {"cgroup.max.depth": "3"}
    name = runtime.sleeping(made)
    group = runtime.home(made)
    assert (group / "cgroup.max.depth").read_text() == "3\n"
    update = json.dumps({"unified": {"cgroup.max.descendants": "9"}})
    accepts(runtime.call("update", "--resources", "-", name, text=update))
    assert (group / "cgroup.max.descendants").read_text() == "9\n"


@pytest.mark.vm
@pytest.mark.requires("controller:memory")
def test_systemd_is_told_of_new_limits(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = scoped(bundle)
    made.linux["resources"]["memory"] = {"limit": 64 << 20}
    name = runtime.sleeping(made)
    assert runtime.bus.units[unit(made)]["MemoryMax"] == ("t", 64 << 20)
    accepts(runtime.call("update", "--memory", "128m", name))
    assert runtime.bus.units[unit(made)]["MemoryMax"] == ("t", 128 << 20)
    assert (runtime.cgroup(made) / "memory.max").read_text() == f"{128 << 20}\n"


def test_an_update_without_its_controller_tells_nobody(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = scoped(bundle)
    name = runtime.sleeping(made)
    runtime.bus.calls.clear()
    update = json.dumps({"unified": {"nonsense.max": "9"}})
    done = runtime.call("update", "--resources", "-", name, text=update)
    refuses(runtime, done, "nonsense")
    if runtime.kind == "ours":
        assert runtime.bus.calls == []


def test_a_scope_is_frozen_and_thawed_and_entered(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = scoped(bundle)
    name = runtime.sleeping(made)
    accepts(runtime.call("pause", name))
    assert "frozen 1" in (runtime.home(made) / "cgroup.events").read_text()
    assert runtime.status(name) == "paused"
    accepts(runtime.call("resume", name))
    assert f"/{unit(made)}" in runtime.exec(name, "cat", "/proc/self/cgroup").stdout.splitlines()[-1]


def test_a_forced_delete_ends_the_scope_and_can_be_repeated(
    runtime: ScopedRuntime, bundle: MakeBundle
) -> None:
    made = scoped(bundle).without_namespace("pid").shell("sleep 1000 & touch /ready; wait")
    name = runtime.started(made)
    eventually((made.rootfs / "ready").exists, "never ready")
    (runtime.cgroup(made) / "below").mkdir()
    for _ in range(2):
        accepts(runtime.delete(name, force=True))
        nothing_left(runtime, made)
        assert runtime.bus.units == {}


def test_a_scope_that_has_gone_by_itself_is_no_error(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = scoped(bundle)
    name = runtime.started(made.args("true"))
    runtime.wait_stopped(name)
    runtime.bus.forget_empty()
    accepts(runtime.delete(name))
    nothing_left(runtime, made)


@pytest.mark.parametrize(
    ("prefix", "words"),
    [("failed", "ended as failed"), ("refused", "AccessDenied"), ("libpod", "cgroup.max.depth")],
)
def test_a_failed_create_leaves_nothing(
    runtime: ScopedRuntime, bundle: MakeBundle, prefix: str, words: str
) -> None:
    made = scoped(bundle, prefix).args("true")
    made.linux["resources"]["unified"] = {"cgroup.max.depth": "nonsense"}
    done = runtime.create(made)
    assert done.returncode == 1
    if runtime.kind == "ours":
        refuses(runtime, done, words)
        nothing_left(runtime, made)


def test_a_name_that_is_taken_leaves_its_owner_alone(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    first, second = scoped(bundle), scoped(bundle).args("true")
    runtime.sleeping(first)
    second.linux["cgroupsPath"] = first.linux["cgroupsPath"]
    done = runtime.create(second)
    refuses(runtime, done, "UnitExists" if runtime.kind == "ours" else "")
    accepts(runtime.delete(second.id, force=True))
    assert runtime.status(first.id) == "running"


@pytest.mark.parametrize("path", ["/a/b", "a:b"])
def test_a_path_that_is_no_unit_is_refused(runtime: ScopedRuntime, bundle: MakeBundle, path: str) -> None:
    made = bundle().args("true")
    made.linux["cgroupsPath"] = path
    done = runtime.create(made)
    deviation = "any-unit-path" if path == "a:b" else None
    refuses(runtime, done, "cgroupsPath" if runtime.kind == "ours" else "", deviation=deviation)
    if runtime.kind == "ours":
        assert not (runtime.root / made.id).exists()
        assert runtime.bus.units == {}


def test_without_systemd_the_flag_is_refused(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = scoped(bundle).args("true")
    runtime.run_folder = NOT_BOOTED
    done = runtime.create(made)
    words = "systemd is not running" if runtime.kind == "ours" else "systemd"
    refuses(runtime, done, words, deviation="systemd-by-its-bus")
    if runtime.kind == "ours":
        nothing_left(runtime, made)


@pytest.mark.requires("runtime:ours")
def test_a_container_outlives_its_systemd_but_not_its_delete(
    runtime: ScopedRuntime, bundle: MakeBundle
) -> None:
    made = scoped(bundle)
    name = runtime.sleeping(made)
    runtime.run_folder = NOT_BOOTED
    done = runtime.delete(name, force=True)
    accepts(done)
    assert "without systemd" in done.stderr
    assert not runtime.cgroup(made).exists()
    assert not (runtime.root / name).exists()
    runtime.bus.groups.clear()


@pytest.mark.requires("runtime:ours")
def test_a_damaged_record_can_still_be_cleared(runtime: ScopedRuntime, bundle: MakeBundle) -> None:
    made = scoped(bundle)
    name = runtime.sleeping(made)
    (runtime.root / name / "state.json").write_text("")
    accepts(runtime.delete(name, force=True))
    nothing_left(runtime, made)


@pytest.mark.requires("userns", "runtime:ours")
def test_a_user_asks_his_own_systemd(workspace: Path, bundle: MakeBundle) -> None:
    own = f"/test{Path(workspace).name}.service"
    with FakeSystemd(tree=cgroup2_root(), own_group=own) as bus:
        runtime = ScopedRuntime(workspace, bus)
        runtime.variable = "DBUS_SESSION_BUS_ADDRESS"
        runtime.unshare = ["--user", "--map-root-user", "--mount"]
        made = scoped(bundle)
        made.config["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
        made.config["mounts"] = [entry for entry in made.mounts if entry["destination"] in ("/proc", "/dev")]
        try:
            runtime.sleeping(made)
            pid = runtime.bus.units[unit(made)]["PIDs"][1]
            assert (runtime.cgroup(made) / "cgroup.procs").read_text().split() == [str(*pid)]
        finally:
            runtime.clean()
        assert bus.units == {}
