"""The six kinds of hooks: when and where they run, what they are told, what their failure does.

Implements: runtime-spec, config.md "POSIX-platform Hooks" and runtime.md "Lifecycle".
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.checks import accepts, nothing_left
from tests.runtime.waiting import DEADLINE, eventually

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Completed, Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
BEFORE_START = KINDS[:4]
STATUSES = {
    "prestart": {"creating", "created"},
    "createRuntime": {"creating", "created"},
    "createContainer": {"creating", "created"},
    "startContainer": {"created"},
    "poststart": {"running"},
    "poststop": {"stopped"},
}
"""What the state may say in each hook; the spec's "creating" ends when create does."""

PEERS_STATUSES = {("crun", "startContainer"): {"starting"}, ("runc", "poststart"): {"created"}}


def hook(script: str, **more: Any) -> dict[str, Any]:
    """Make a hook that runs a script of /bin/sh, of the host's or the container's."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]} | more


def fails(runtime: Runtime, done: Completed) -> None:
    """Assert exit 1, or a peer's 255."""
    assert done.returncode in ({1, 255} if runtime.deviates("failing-hook") else {1}), done.stderr
    assert done.stderr.strip()


def shared_folder(made: Bundle) -> Path:
    """Make a folder that has the same path on the host and in the container."""
    folder = made.path / "shared"
    folder.mkdir()
    made.mounts.append(
        {"destination": str(folder), "type": "bind", "source": str(folder), "options": ["bind", "rw"]}
    )
    return folder


def test_all_hooks_run_in_their_order(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    folder = shared_folder(made)
    made.shell(f"echo program >> {folder}/order")
    made.config["hooks"] = {kind: [hook(f"echo {kind} >> {folder}/order")] for kind in KINDS}
    accepts(runtime.run(made))
    order = (folder / "order").read_text().split()
    assert order.index("startContainer") < order.index("program")
    assert [kind for kind in order if kind not in {"program", "poststart"}] == [*BEFORE_START, "poststop"]
    if not runtime.deviates("early-poststart"):
        assert order.index("startContainer") < order.index("poststart")


def test_several_hooks_of_one_kind_run_as_listed(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.config["hooks"] = {"createRuntime": [hook(f"echo {n} >> {made.path}/order") for n in range(3)]}
    accepts(runtime.run(made))
    assert (made.path / "order").read_text().split() == ["0", "1", "2"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_does_not_ignore_what_python_ignores(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    made = bundle()
    folder = shared_folder(made)
    made.config["hooks"] = {kind: [hook(f"cat /proc/self/status > {folder}/status")]}
    accepts(runtime.run(made))
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    pipe_and_size = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1  # what every Python ignores
    assert int(fields["SigIgn"], 16) & pipe_and_size == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_reads_the_state(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    made = bundle()
    folder = shared_folder(made)
    made.config["annotations"] = {"org.example.colour": "blue"}
    made.config["hooks"] = {kind: [hook(f"cat > {folder}/state")]}
    accepts(runtime.run(made))
    state = json.loads((folder / "state").read_text())
    assert state["id"] == made.id
    assert state["annotations"]["org.example.colour"] == "blue"
    statuses = PEERS_STATUSES if runtime.deviates("status-in-hooks") else {}
    assert state["status"] in statuses.get((runtime.kind, kind), STATUSES[kind])
    from_inside = runtime.deviates("state-in-hooks") and kind in {"createContainer", "startContainer"}
    assert state["bundle"] == ("/" if from_inside and kind == "startContainer" else str(made.path))
    if kind != "poststop":
        assert (state["pid"] == 0) == from_inside


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart", "poststop"])
def test_these_hooks_run_in_the_runtimes_namespaces(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    made = bundle()
    made.config["hooks"] = {kind: [hook(f"readlink /proc/self/ns/net /proc/self/ns/uts > {made.path}/ns")]}
    accepts(runtime.run(made))
    host = [str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("net", "uts")]
    assert (made.path / "ns").read_text().split() == host


def test_create_container_runs_in_the_containers_namespaces_before_the_pivot(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = bundle()
    folder = shared_folder(made)
    script = (
        f"readlink /proc/self/ns/net > {folder}/ns; test -e {made.path}/config.json; echo $? > {folder}/sees"
    )
    made.config["hooks"] = {"createContainer": [hook(script)]}
    accepts(runtime.run(made))
    assert (folder / "ns").read_text().strip() != str(Path("/proc/self/ns/net").readlink())
    assert (folder / "sees").read_text() == "0\n"


def test_start_container_runs_inside(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("true")
    made.config["hooks"] = {
        "startContainer": [hook("hostname > /name; test -e /bin/busybox && touch /inside")]
    }
    accepts(runtime.run(made))
    assert (made.rootfs / "name").read_text() == "container\n"
    assert (made.rootfs / "inside").exists()


@pytest.mark.parametrize("kind", BEFORE_START)
@pytest.mark.parametrize("script", ["exit 3", "kill -9 $$"])
def test_a_hook_that_fails_before_start_undoes_everything(
    runtime: Runtime, bundle: MakeBundle, kind: str, script: str
) -> None:
    made = bundle().shell("touch /ran")
    made.config["hooks"] = {
        kind: [hook(script)],
        "poststop": [hook(f"touch {made.path}/poststop")],
    }
    done = runtime.run(made)
    fails(runtime, done)
    assert not (made.rootfs / "ran").exists()
    nothing_left(runtime, made.id)
    torn_down = kind == "startContainer" or not runtime.deviates("no-poststop-after-failure")
    assert (made.path / "poststop").exists() == torn_down


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_a_hook_that_takes_too_long_is_killed(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    made = bundle()
    made.config["hooks"] = {kind: [hook("exec sleep 600", timeout=1)]}
    fails(runtime, runtime.run(made))
    nothing_left(runtime, made.id)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_program_starts_ends_it(
    runtime: Runtime, bundle: MakeBundle, number: signal.Signals
) -> None:
    made = bundle().shell("touch /ran")
    made.config["hooks"] = {"startContainer": [hook("touch /here; exec sleep 600")]}
    running = runtime.spawn_run(made)
    eventually((made.rootfs / "here").exists, "the hook was not run")
    running.send_signal(number)
    if runtime.deviates("created-is-deaf"):
        (first,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGKILL)
        assert running.wait(DEADLINE) != 0
        return
    assert running.wait(DEADLINE) == runtime.recorded_exit("signal-in-start-hook", 128 + number)
    assert not (made.rootfs / "ran").exists()
    nothing_left(runtime, made.id)


def test_a_poststart_hook_that_fails_removes_the_container(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("sleep", "1000")
    made.config["hooks"] = {"poststart": [hook("exit 1")]}
    fails(runtime, runtime.run(made))
    nothing_left(runtime, made.id)


def test_a_poststop_hook_that_fails_is_only_a_warning(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.config["hooks"] = {"poststop": [hook("exit 1"), hook(f"touch {made.path}/second")]}
    accepts(runtime.run(made))
    nothing_left(runtime, made.id)


def test_poststop_runs_at_delete(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.config["hooks"] = {"poststop": [hook(f"touch {made.path}/gone")]}
    name = runtime.started(made)
    runtime.wait_stopped(name)
    assert not (made.path / "gone").exists()
    accepts(runtime.delete(name))
    assert (made.path / "gone").exists()


def test_a_hook_that_is_missing_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.config["hooks"] = {"createRuntime": [{"path": "/no/such/hook"}]}
    fails(runtime, runtime.run(made))


def test_a_hook_whose_path_is_relative_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.config["hooks"] = {"createRuntime": [{"path": "sh", "args": ["sh", "-c", "exit 0"]}]}
    assert (runtime.run(made).returncode == 0) == runtime.deviates("relative-hook")


def test_a_prestart_hook_can_configure_the_new_network(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("ip link show lo")
    find_pid = """tr '\\n' ' ' | sed 's/.*"pid": *\\([0-9]*\\).*/\\1/'"""
    made.config["hooks"] = {"createRuntime": [hook(f"nsenter -t $({find_pid}) -n ip link set lo mtu 1400")]}
    assert "mtu 1400" in runtime.output(made)


def test_the_output_of_hooks_goes_where_the_annotations_say(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.config["annotations"] = {
        "run.oci.hooks.stdout": f"{made.path}/out",
        "run.oci.hooks.stderr": f"{made.path}/err",
    }
    made.config["hooks"] = {"createRuntime": [hook("echo said; echo cried >&2")]}
    done = runtime.run(made)
    accepts(done)
    assert (made.path / "out").exists() != runtime.deviates("no-hook-output-annotation")
    if (made.path / "out").exists():
        assert (made.path / "out").read_text() == "said\n"
        assert (made.path / "err").read_text() == "cried\n"
