"""kill -9 at every call: whatever a command of the runtime has done until then, `delete --force` takes away.

For each command a first run notes every call by which it, or a process that it has made, changes something.
Then it is run again and killed at one of these calls; then at the next. Three things die, each at each call:
the process that makes it, and, if that is the container's first process, a stage or a hook, also the runtime.
Afterwards `list` still works, `delete --force` succeeds, nothing is left, and the id can be used again.

The default is a sample from the whole length of each command; `make soak` takes every point.
See tests/runtime/killing.py; security.md, E01.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import leftovers
from tests.leftovers import names_in
from tests.runtime.bundles import bind, mount
from tests.runtime.killing import Point, traced
from tests.runtime.runtimes import cgroup2_root
from tests.runtime.waiting import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2", "runtime:ours")  # killing.py knows its processes

COMMAND = Path(sys.executable).parent / "minicontainer"
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
CACHED = re.compile("[0-9a-f]{64}")
"""The name of a compiled filter, the one thing that stays in the state root on purpose."""


def eventful(bundle: Bundle) -> None:
    """Ask for something of everything: all hooks, a cgroup in a cgroup, mounts, a device, a filter."""
    bundle.config["hooks"] = {kind: [{"path": "/bin/true"}] for kind in HOOKS}
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/inner"
    bundle.mounts += [
        mount("/etc", "tmpfs", "tmpfs", "tmpcopyup", "mode=755"),
        bind(bundle.path / "volume", "/mnt/volume", "ro"),
    ]
    (bundle.path / "volume").mkdir()
    bundle.linux["devices"] = [{"path": "/dev/zero-too", "type": "c", "major": 1, "minor": 5}]
    refused = {"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO"}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}
    bundle.linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    bundle.namespace("cgroup")
    bundle.args("sleep", "1000")


def short(bundle: Bundle) -> None:
    """As eventful, with a program that ends at once."""
    eventful(bundle)
    bundle.args("true")


def plain(bundle: Bundle) -> None:
    """Ask for nothing but a program that runs on."""
    bundle.args("sleep", "1000")


def mapped(bundle: Bundle) -> None:
    """Ask for a user namespace, and for a mount whose owners are translated."""
    (bundle.path / "volume").mkdir()
    bundle.map_users().args("sleep", "1000")
    bundle.mounts.append(bind(bundle.path / "volume", "/mnt/volume", "idmap"))


def staged(bundle: Bundle) -> None:
    """Ask for clocks of its own, which takes a process in between."""
    bundle.namespace("time").args("sleep", "1000")
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 86400}}


def without_cgroup(bundle: Bundle) -> None:
    """Leave the container without a cgroup: its pipe alone tells the first process of our death."""
    del bundle.linux["cgroupsPath"]
    bundle.linux["resources"] = {}
    bundle.args("sleep", "1000")


@dataclass(frozen=True)
class Sweep:
    """A command to be killed, and the state in which it finds its container."""

    words: tuple[str, ...]
    least: int  # so many deaths there are at least: nothing is proven by a sweep over none
    config: Callable[[Bundle], None]
    before: tuple[tuple[str, ...], ...] = ()
    watch_container: bool = False
    survives: bool = False  # the container goes on when the command is killed
    settings: tuple[str, ...] = ()


CREATE = ("create", "--bundle", "BUNDLE", "--pid-file", "PIDS/pid", "ID")
RUN = ("run", "--bundle", "BUNDLE", "--pid-file", "PIDS/pid", "ID")
EXEC = ("exec", "--detach", "--pid-file", "PIDS/exec", "ID", "sleep", "1000")
RUNNING = (CREATE, ("start", "ID"))
BUSY = (*RUNNING, EXEC)
STOPPED = (*RUNNING, ("kill", "ID", "KILL"))

SWEEPS = {
    "create": Sweep(CREATE, 400, eventful),
    "create in a user namespace": Sweep(CREATE, 300, mapped),
    "create with clocks of its own": Sweep(CREATE, 300, staged),
    "create without a cgroup": Sweep(CREATE, 250, without_cgroup, settings=("--cgroup-manager", "disabled")),
    "start": Sweep(("start", "ID"), 40, eventful, (CREATE,), watch_container=True),
    "run": Sweep(RUN, 450, short),
    "run detached": Sweep(("run", "--detach", "--bundle", "BUNDLE", "ID"), 250, plain),
    "exec": Sweep(("exec", "--pid-file", "PIDS/exec", "ID", "true"), 100, eventful, RUNNING, survives=True),
    "exec in a user namespace": Sweep(EXEC, 100, mapped, RUNNING, survives=True),
    "kill": Sweep(("kill", "ID", "KILL"), 10, plain, RUNNING),
    "kill of all": Sweep(("kill", "--all", "ID", "KILL"), 10, plain, BUSY),
    "pause": Sweep(("pause", "ID"), 10, plain, RUNNING),
    "delete of a stopped container": Sweep(("delete", "ID"), 30, eventful, STOPPED),
    "delete by force": Sweep(("delete", "--force", "ID"), 30, eventful, BUSY),
}


class Ground:
    """Where a sweep takes place: a runtime, a bundle that is used again and again, a folder for pid files."""

    def __init__(self, runtime: Runtime, bundle: Bundle, sweep: Sweep, folder: Path) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.sweep = sweep
        self.pids = folder / "pids"
        self.streams = folder / "streams"
        sweep.config(bundle)
        bundle.save()
        self.processes = leftovers.processes()

    def filled(self, words: Sequence[str]) -> list[str]:
        """Put this ground's id and folders into a command."""
        known = {"ID": self.bundle.id, "BUNDLE": str(self.bundle.path)}
        return [known.get(word, word.replace("PIDS", str(self.pids))) for word in words]

    def begin(self) -> list[int]:
        """Bring the container into the state that the sweep begins with; give the processes to watch."""
        for made in (self.runtime.root, self.pids, self.bundle.rootfs / "mnt"):
            shutil.rmtree(made, ignore_errors=True)  # so that each round makes the same calls as the first
        self.runtime.root.mkdir(mode=0o700)
        self.pids.mkdir()
        for words in self.sweep.before:
            self.runtime.succeed(*self.filled(words))
            if words[0] == "kill":
                self.runtime.wait_stopped(self.bundle.id)
        return [self.runtime.pid(self.bundle.id)] if self.sweep.watch_container else []

    def argv(self) -> list[str]:
        """Give the command that is to be killed."""
        return self.runtime.argv(*self.sweep.settings, *self.filled(self.sweep.words))

    def go(self, point: Point | None = None, victim: int | None = None) -> list[Point]:
        """Make one round: prepare, run the command under the tracer, clear away, prove that all is gone."""
        running = self.begin()
        done = traced(self.argv(), self.streams, point, victim, running)
        said = self.streams.read_text()
        assert "Traceback" not in said, said
        if point is None:
            assert done.status == 0, said
        else:
            reached = done.reached
            assert reached, f"the point was not reached: {said}"
        self.clear()
        return done.points

    def clear(self) -> None:
        """Do what a caller does after a crash, and find everything gone."""
        self.runtime.succeed("list")
        if self.sweep.survives:
            assert self.runtime.status(self.bundle.id) == "running"
        self.runtime.succeed("delete", "--force", self.bundle.id)
        self.demand_nothing()

    def demand_nothing(self) -> None:
        """Assert that nothing of the container is left. Killed processes may still be on their way out."""
        assert names_in(self.runtime.root) <= {".seccomp"}
        assert {
            name for name in names_in(self.runtime.root / ".seccomp") if not CACHED.fullmatch(name)
        } == set()
        assert names_in(self.pids) <= {"pid", "exec"}
        self.demand_nothing_of_the_kernel(self.bundle.id, str(self.bundle.path))

    def demand_nothing_of_the_kernel(self, group: str, path: str) -> None:
        """Assert that there is no such cgroup, no mount that has to do with a path, no further process."""
        assert not (cgroup2_root() / group).exists()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        assert [line for line in mounts if path in line] == []
        end = time.monotonic() + DEADLINE
        while strays := self.strays():
            assert time.monotonic() < end, f"still there: {strays}"
            time.sleep(0.005)

    def strays(self) -> list[str]:
        """List the processes that were not there before, with their commands."""
        leftovers.reap_orphans()
        return [found + leftovers.command_of(found) for found in leftovers.processes() - self.processes]


class PersonsGround(Ground):
    """The same for `minicontainer run`, whose bundle and state lie in their usual places."""

    def argv(self) -> list[str]:
        return [str(COMMAND), "run", "--name", self.bundle.id, "busybox", "true"]

    def clear(self) -> None:
        """Do what a person does: remove the container, then run the next one, which tidies up."""
        runtime = str(self.runtime.binary)
        for command in (
            [runtime, "delete", "--force", self.bundle.id],
            [str(COMMAND), "run", "busybox", "true"],
        ):
            subprocess.run(command, check=True, timeout=DEADLINE)
        self.demand_nothing()

    def demand_nothing(self) -> None:
        assert self.bundle.id not in names_in(leftovers.STATE) | names_in(leftovers.BUNDLES)
        self.demand_nothing_of_the_kernel(f"minicontainer-{self.bundle.id}", f"/{self.bundle.id}")


def deaths(points: list[Point]) -> list[tuple[Point, int]]:
    """Say who dies where: at each point the process that is there, and the command itself."""
    return [(point, who) for point in points for who in sorted({point.process, 0})]


def spread(everything: list[Any], count: int) -> Iterator[Any]:
    """Choose `count` elements at even distances, the first and the last among them."""
    count = min(count, len(everything))
    return (everything[round(index * (len(everything) - 1) / max(1, count - 1))] for index in range(count))


def sweep(ground: Ground, least: int, count: Callable[[int, int], int]) -> None:
    """Kill at each point, or at some of them; then once more at none, for the name is free again."""
    ground.go()  # what is made once, as compiled modules, is made now
    found = deaths(ground.go())
    assert len(found) >= least, [point.call for point, _ in found]
    unrecovered = []
    for point, victim in spread(found, count(9, len(found))):
        try:
            ground.go(point, victim)
        except AssertionError as problem:
            unrecovered.append(f"{point}, process {victim} killed: {problem}")
            ground.runtime.call("delete", "--force", ground.bundle.id)
    assert not unrecovered, "\n\n".join(unrecovered)
    ground.go()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SWEEPS)
def test_a_command_can_be_killed_at_any_call(
    name: str, runtime: Runtime, bundle: MakeBundle, workspace: Path, rounds: Callable[[int, int], int]
) -> None:
    sweep(Ground(runtime, bundle(), SWEEPS[name], workspace), SWEEPS[name].least, rounds)


@pytest.mark.timeout(3600)
def test_minicontainer_run_can_be_killed_at_any_call(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, rounds: Callable[[int, int], int]
) -> None:
    # What is made once a boot is made before.
    subprocess.run([COMMAND, "run", "busybox", "true"], check=True, timeout=DEADLINE)
    sweep(PersonsGround(runtime, bundle(), SWEEPS["run"], workspace), 300, rounds)
