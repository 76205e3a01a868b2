"""An ordinary user to whom a part of the cgroup tree was given, as systemd's `Delegate=yes` does it.

    above/                hands down two controllers
      user/               the user's: cgroup.procs, cgroup.subtree_control, cgroup.threads
        session/          where the user calls the runtime
        CONTAINER/        made by the runtime, with limits that hold

Implements: security.md R34; <Documentation/admin-guide/cgroup-v2.rst> "Delegation".
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.limits.groups import MIB, counts, memory, take
from tests.runtime.bundles import own_tree
from tests.runtime.checks import accepts, refuses
from tests.runtime.runtimes import Runtime, cgroup2_root, find_binary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.bundles import Bundle, MakeBundle

pytestmark = [
    pytest.mark.vm,
    pytest.mark.requires("root", "unified", "userns", "tool:setpriv", "controller:memory", "controller:pids"),
]
USER = 54322
DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
ENTER = 'echo $$ > "$0/session/cgroup.procs" && exec "$@"'


class UsersRuntime(Runtime):
    """The runtime under test, called by the user from inside his part of the tree."""

    def __init__(self, folder: Path, part: Path) -> None:
        super().__init__(find_binary(), folder)
        self.part = part

    def argv(self, *argv: str) -> list[str]:
        """Give the whole command line of one call."""
        become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        return ["sh", "-c", ENTER, str(self.part), *become, *super().argv(*argv)]


@pytest.fixture
def part(parent: Callable[..., Path]) -> Path:
    """Give the user a part of the tree with two controllers, and no more."""
    made = parent("+memory +pids") / "user"
    (made / "session").mkdir(parents=True)
    for folder in (made, made / "session"):
        os.chown(folder, USER, USER)
        for name in DELEGATED:
            os.chown(folder / name, USER, USER)
    return made


@pytest.fixture
def runtime(workspace: Path, part: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UsersRuntime]:
    """Give the runtime under test as the user has it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(workspace))
    under_test = UsersRuntime(workspace, part)
    os.chown(under_test.root, USER, USER)
    os.chown(workspace, USER, USER)
    yield under_test
    under_test.clean()


def own(make: MakeBundle, runtime: UsersRuntime) -> Bundle:
    """Make a bundle that the user owns, whose container lies in his part of the tree."""
    made = make()
    made.linux["cgroupsPath"] = f"/{runtime.part.relative_to(cgroup2_root())}/{made.id}"
    made.linux["resources"] = {}
    made.linux["namespaces"] = [{"type": kind} for kind in ("user", "pid", "ipc", "uts", "mount", "cgroup")]
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": USER, "size": 1}]
    made.mounts = [entry for entry in made.mounts if entry["destination"] in ("/proc", "/dev")]
    own_tree(made.path, USER)
    (made.rootfs / "bin/busybox").unlink()
    shutil.copyfile("/bin/busybox", made.rootfs / "bin/busybox")
    (made.rootfs / "bin/busybox").chmod(0o755)
    return made


def test_a_users_limits_hold(runtime: UsersRuntime, bundle: MakeBundle) -> None:
    made = own(bundle, runtime)
    made.linux["resources"] = {"memory": memory(24), "pids": {"limit": 12}}
    name = runtime.sleeping(made)
    group = runtime.cgroup(made)
    assert group.stat().st_uid == USER
    assert (group / "memory.max").read_text() == f"{24 * MIB}\n"
    assert runtime.exec(name, *take(64)).returncode == 137
    assert counts(group, "memory.events")["oom_kill"] == 1
    accepts(runtime.call("update", "--pids-limit", "9", name))
    assert (group / "pids.max").read_text() == "9\n"
    runtime.exec(name, "sh", "-c", "for i in $(seq 12); do sleep 100 & done")
    assert counts(group, "pids.events")["max"] > 0
    accepts(runtime.delete(name, force=True))
    assert not group.exists()


def test_a_controller_that_was_not_given_is_named(runtime: UsersRuntime, bundle: MakeBundle) -> None:
    made = own(bundle, runtime).args("true")
    made.linux["resources"] = {"cpu": {"quota": 20000, "period": 100000}}
    done = runtime.create(made)
    refuses(runtime, done, "cpu")
    assert runtime.deviates("cgroup-after-failure") or not runtime.cgroup(made).exists()


def test_a_user_cannot_go_beyond_his_part(runtime: UsersRuntime, bundle: MakeBundle) -> None:
    (runtime.part / "memory.max").write_text(str(48 * MIB))
    made = own(bundle, runtime).args(*take(96))
    made.linux["resources"] = {"memory": memory(1024)}
    done = runtime.run(made)
    assert done.returncode == 137
    assert counts(runtime.part, "memory.events")["oom_kill"] == 1
    outside = own(bundle, runtime).args("true")
    outside.linux["cgroupsPath"] = f"/{outside.id}"
    outside.linux["resources"] = {"pids": {"limit": 5}}
    refuses(runtime, runtime.create(outside), "ermission denied")
