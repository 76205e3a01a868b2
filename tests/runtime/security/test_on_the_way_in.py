"""R12, R36: a process on its way into a container can be neither looked into nor led into the wrong one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from tests.leftovers import reap_orphans
from tests.runtime.checks import accepts
from tests.runtime.security.attacks import DOCKERS, end_attack, start_attacker
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.bundles import MakeBundle
    from tests.runtime.conftest import Probes
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")


@pytest.mark.requires("tool:gcc")
def test_nobody_in_a_shared_pid_namespace_can_look_into_the_runtime(
    runtime: Runtime, bundle: MakeBundle, probe: Probes, rounds: Callable[[int, int], int]
) -> None:
    attacker = bundle().capabilities(*DOCKERS)
    probe("snoop", attacker.rootfs / "snoop")
    name = start_attacker(runtime, attacker, "/snoop")
    path = f"/proc/{runtime.pid(name)}/ns/pid"
    made = bundle().capabilities(*DOCKERS).namespace("pid", path).args("sleep", "1000")
    accepts(runtime.create(made))
    for _ in range(rounds(3, 200)):
        accepts(runtime.exec(made.id, "true"))
        accepts(runtime.exec(name, "/bin/true"))
        accepts(runtime.run(bundle().capabilities(*DOCKERS).namespace("pid", path)))
    accepts(runtime.delete(made.id, force=True))
    report = end_attack(runtime, attacker)
    assert int(report[0].split()[1]) > 0, "the attack itself did not work: nobody came by"
    assert report[1] == "grabs 0", report[2:]


def has_ended(runtime: Runtime, name: str) -> bool:
    """Say whether a container has stopped: its first process ends after all that entered were waited for."""
    reap_orphans()
    return runtime.status(name) == "stopped"


def test_exec_into_a_dying_container_never_enters_another(
    runtime: Runtime, bundle: MakeBundle, rounds: Callable[[int, int], int]
) -> None:
    for _ in range(rounds(8, 1000)):
        made = bundle().args("sleep", "1000")
        name = runtime.started(made)
        entering = [
            runtime.spawn("exec", name, "cat", "/proc/self/cgroup", "/proc/1/cmdline") for _ in range(2)
        ]
        accepts(runtime.kill(name, "KILL"))
        for process in entering:
            process.wait(60)
        eventually(functools.partial(has_ended, runtime, name), "the killed container still runs")
        accepts(runtime.delete(name, force=True))
    folder = runtime.root.parent
    shown = [path.read_text() for path in folder.glob("call-*.out")]
    entered = [text for text in shown if "0::" in text]
    assert all("sleep" in text or text.endswith("\n") for text in entered)
    assert not [text for text in entered if "0::/\n" in text], "a program ran in the host's cgroup"


def test_a_process_number_that_is_used_again_is_not_the_container(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = bundle()
    name = runtime.started(made)
    runtime.wait_stopped(name)
    other = runtime.sleeping(bundle())
    before = runtime.pid(other)
    assert runtime.exec(name, "true").returncode != 0
    assert runtime.kill(name, "KILL").returncode != 0
    accepts(runtime.delete(name))
    eventually(lambda: runtime.status(other) == "running", "the wrong container was killed")
    assert runtime.pid(other) == before
