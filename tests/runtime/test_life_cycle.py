"""The life of a container: created, running, paused, stopped, gone; and each call at the wrong time.

Implements: runtime-spec, runtime.md "Lifecycle" and "Operations"; the words are those that callers match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts, refuses
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")


def stopped(runtime: Runtime, bundle: MakeBundle) -> str:
    """Give the id of a container whose program has ended."""
    name = runtime.started(bundle().args("true"))
    runtime.wait_stopped(name)
    return name


@pytest.mark.vm
def test_a_container_is_created_then_running_then_stopped_then_gone(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = bundle().args("sleep", "1000")
    accepts(runtime.create(made))
    assert runtime.status(made.id) == "created"
    accepts(runtime.start(made.id))
    assert runtime.status(made.id) == "running"
    accepts(runtime.kill(made.id, "KILL"))
    runtime.wait_stopped(made.id)
    accepts(runtime.delete(made.id))
    assert not runtime.cgroup(made).exists()
    refuses(runtime, runtime.call("state", made.id), "container does not exist")


def test_the_program_does_not_run_before_start(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("touch /ran")
    accepts(runtime.create(made))
    assert not (made.rootfs / "ran").exists()
    accepts(runtime.start(made.id))
    eventually((made.rootfs / "ran").exists, "the program never ran")


def test_run_passes_on_the_exit_code_of_the_program(runtime: Runtime, bundle: MakeBundle) -> None:
    assert runtime.run(bundle().shell("exit 7")).returncode == 7


def test_run_gives_128_plus_the_signal_that_ended_the_program(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("sleep", "1000")
    running = runtime.spawn_run(made)
    eventually(lambda: _is_running(runtime, made.id), "never ran")
    accepts(runtime.kill(made.id, "KILL"))
    assert running.wait(60) == 137


def _is_running(runtime: Runtime, name: str) -> bool:
    done = runtime.call("state", name)
    return done.returncode == 0 and '"running"' in done.stdout


def test_run_deletes_its_container(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    accepts(runtime.run(made))
    assert runtime.succeed("list", "-q").stdout == ""
    assert not runtime.cgroup(made).exists()


def test_run_detached_returns_while_the_program_runs(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("sleep", "1000")
    accepts(runtime.run(made, None, "--detach"))
    assert runtime.status(made.id) == "running"


def test_run_forwards_signals_to_the_program(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("trap 'exit 23' TERM; touch /ready; while true; do sleep 0.05; done")
    running = runtime.spawn_run(made)
    eventually((made.rootfs / "ready").exists, "never ready")
    running.terminate()
    assert running.wait(60) == 23


def test_start_is_refused_twice_and_after_the_end(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    refuses(runtime, runtime.start(name), "cannot start an already running container")
    accepts(runtime.kill(name))
    runtime.wait_stopped(name)
    refuses(runtime, runtime.start(name), "cannot start a container that has stopped")


def test_a_created_container_can_be_deleted(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    accepts(runtime.create(made))
    accepts(runtime.delete(made.id))
    assert not runtime.cgroup(made).exists()


def test_a_running_container_is_deleted_only_by_force(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    refuses(runtime, runtime.delete(name), "that is not stopped: running")
    assert runtime.status(name) == "running"
    accepts(runtime.delete(name, force=True))
    assert not runtime.cgroup(made).exists()


def test_a_stopped_container_can_be_force_deleted_twice(runtime: Runtime, bundle: MakeBundle) -> None:
    name = stopped(runtime, bundle)
    accepts(runtime.delete(name, force=True))
    accepts(runtime.delete(name, force=True))
    refuses(runtime, runtime.delete(name), "does not exist")


def test_a_created_container_can_be_killed(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    accepts(runtime.create(made))
    accepts(runtime.kill(made.id, "KILL"))
    runtime.wait_stopped(made.id)
    accepts(runtime.delete(made.id))


@pytest.mark.parametrize("word", ["HUP", "INT", "QUIT", "TERM"])
def test_a_created_container_ends_when_it_is_asked_to(
    runtime: Runtime, bundle: MakeBundle, word: str
) -> None:
    made = bundle()
    accepts(runtime.create(made))
    accepts(runtime.kill(made.id, word))
    if runtime.deviates("created-is-deaf"):
        assert runtime.state(made.id)["status"] == "created"
        return
    runtime.wait_stopped(made.id)
    accepts(runtime.delete(made.id))


def test_pause_and_resume_each_work_once(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    accepts(runtime.call("pause", name))
    assert runtime.status(name) == "paused"
    refuses(runtime, runtime.call("pause", name), "container not running", deviation="pause-twice")
    accepts(runtime.call("resume", name))
    assert runtime.status(name) == "running"
    refuses(runtime, runtime.call("resume", name), "container not paused", deviation="pause-twice")


def test_a_paused_container_can_be_force_deleted(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    accepts(runtime.call("pause", name))
    accepts(runtime.delete(name, force=True))


def test_a_stopped_container_cannot_be_killed_but_all_of_it_can(runtime: Runtime, bundle: MakeBundle) -> None:
    name = stopped(runtime, bundle)
    refuses(runtime, runtime.kill(name, "KILL"), "container not running")
    accepts(runtime.kill(name, "KILL", "--all"))


@pytest.mark.parametrize("word", ["TERM", "SIGTERM", "15"])
def test_kill_takes_a_signal_by_name_or_number(runtime: Runtime, bundle: MakeBundle, word: str) -> None:
    made = bundle().shell("trap 'touch /told; exit 0' TERM; touch /ready; while true; do sleep 0.05; done")
    name = runtime.started(made)
    eventually((made.rootfs / "ready").exists, "never ready")
    accepts(runtime.kill(name, word))
    eventually((made.rootfs / "told").exists, "the signal never arrived")


def test_kill_without_a_signal_sends_term(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("trap 'touch /told; exit 0' TERM; touch /ready; while true; do sleep 0.05; done")
    name = runtime.started(made)
    eventually((made.rootfs / "ready").exists, "never ready")
    accepts(runtime.call("kill", name))
    eventually((made.rootfs / "told").exists, "the signal never arrived")


def test_kill_knows_real_time_signals(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    assert runtime.kill(name, "RTMIN+3").returncode == runtime.recorded_exit("no-rtmin", 0)
    accepts(runtime.kill(name, "37"))


def test_an_unknown_signal_is_named(runtime: Runtime, bundle: MakeBundle) -> None:
    refuses(runtime, runtime.kill(runtime.sleeping(bundle()), "FOO"), 'unknown signal "FOO"')


@pytest.mark.parametrize(
    "command", ["state", "start", "kill", "pause", "resume", "ps", "delete", "update", "events"]
)
def test_an_unknown_container_does_not_exist(runtime: Runtime, command: str) -> None:
    deviation = "unknown-id-ps" if command == "ps" else None
    refuses(runtime, runtime.call(command, "unknown"), "container does not exist", deviation=deviation)


def test_exec_in_an_unknown_container_exits_255(runtime: Runtime) -> None:
    done = runtime.exec("unknown", "true")
    refuses(runtime, done, "container does not exist", code=255, deviation="exec-fails")


def test_force_deleting_an_unknown_container_is_no_error(runtime: Runtime) -> None:
    accepts(runtime.delete("unknown", force=True))


def test_ps_of_a_stopped_container_lists_nothing(runtime: Runtime, bundle: MakeBundle) -> None:
    name = stopped(runtime, bundle)
    done = runtime.call("ps", "--format", "json", name)
    accepts(done)
    assert done.stdout.split() in (["null"], ["[]"], ["[", "]"])


@pytest.mark.parametrize("argv", [["update", "--pids-limit", "10"], ["events", "--stats"]])
def test_a_stopped_container_has_nothing_to_update_or_measure(
    runtime: Runtime, bundle: MakeBundle, argv: list[str]
) -> None:
    refuses(runtime, runtime.call(*argv, stopped(runtime, bundle)), "not running")


def _state_file(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.name in {"state.json", "status", "state"})


@pytest.mark.parametrize("content", ["", "{}", '{"pid": "x"}'])
def test_a_broken_state_hides_no_other_container_and_can_be_removed(
    runtime: Runtime, bundle: MakeBundle, content: str
) -> None:
    good, broken = bundle(), bundle()
    accepts(runtime.create(good))
    accepts(runtime.create(broken))
    accepts(runtime.kill(broken.id, "KILL"))
    runtime.wait_stopped(broken.id)
    _state_file(runtime.root / broken.id).write_text(content)
    strict = not runtime.deviates("broken-state")
    assert runtime.call("state", broken.id).returncode in ((1,) if strict else (1, 2))  # runc panics
    listed, deleted = runtime.call("list"), runtime.delete(broken.id, force=True)
    codes = {} if strict else {"runc": {(0, 1), (2, 2)}, "crun": {(0, 0), (255, 0)}}
    assert (listed.returncode, deleted.returncode) in codes.get(runtime.kind, {(0, 0)})
    assert good.id in listed.stdout or not strict


def test_a_changed_config_has_no_effect_after_create(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("touch /first")
    accepts(runtime.create(made))
    made.shell("touch /second").save()
    accepts(runtime.start(made.id))
    runtime.wait_stopped(made.id)
    assert (made.rootfs / "first").exists()
    assert not (made.rootfs / "second").exists()


def test_delete_removes_only_what_the_runtime_made(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    own = runtime.cgroup(made).parent / f"{made.id}-parent"
    own.mkdir()
    try:
        (own / "conmon").mkdir()
        made.linux["cgroupsPath"] = f"/{own.name}/{made.id}"
        accepts(runtime.run(made))
        assert not runtime.cgroup(made).exists()
        assert (own / "conmon").exists()
        assert sorted(path.name for path in made.path.iterdir()) == ["config.json", "rootfs"]
    finally:
        (own / "conmon").rmdir()
        own.rmdir()
