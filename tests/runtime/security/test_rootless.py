"""R34: an ordinary user runs containers with no more rights than his own.

Two ways: the runtime as the user itself with a mapping of its own (`spec --rootless`), and as root of a user
namespace that the caller made, as rootless podman does, where it gets no mappings and no cgroup.
See user_namespaces(7), newuidmap(1).
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.runtime.bundles import bind, own_tree
from tests.runtime.checks import accepts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Completed, Runtime

pytestmark = pytest.mark.requires("root", "cgroup2", "userns")

USER = 54321


def as_user(runtime: Runtime, *argv: str, inside: bool, number: int = USER) -> list[str]:
    """Give a command line that runs the runtime as an ordinary user, perhaps as root of a user namespace of his."""
    become = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]
    if inside:
        become += ["unshare", "--user", "--map-root-user", "--mount"]
    command = [*become, str(runtime.binary), "--root", str(runtime.root.parent / f"state-{number}"), *argv]
    return runtime.viewed(command)


def call(runtime: Runtime, *argv: str, inside: bool, number: int = USER) -> Completed:
    """Run the runtime as an ordinary user."""
    original = runtime.argv
    runtime.argv = lambda *words: as_user(runtime, *words, inside=inside, number=number)  # type: ignore[method-assign]
    try:
        folder = runtime.root.parent / f"run-{number}"
        folder.mkdir(exist_ok=True)
        os.chown(folder, number, number)
        return runtime.call(*argv, env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(folder)}, cwd="/")
    finally:
        runtime.argv = original  # type: ignore[method-assign]


@pytest.fixture
def private(runtime: Runtime) -> Path:
    """Make the user's state root."""
    folder = runtime.root.parent / f"state-{USER}"
    folder.mkdir(mode=0o700)
    os.chown(folder, USER, USER)
    return folder


@pytest.fixture
def rootless(bundle: MakeBundle, private: Path) -> Bundle:
    """Give a bundle that belongs to an ordinary user, as `spec --rootless` describes it."""
    made = bundle().without_namespace("network").without_mount("/sys").without_mount("/sys/fs/cgroup")
    own_tree(made.path, USER)
    (made.rootfs / "bin/busybox").unlink()
    shutil.copyfile("/bin/busybox", made.rootfs / "bin/busybox")
    (made.rootfs / "bin/busybox").chmod(0o755)
    next(entry for entry in made.mounts if entry["destination"] == "/dev/pts")["options"].remove("gid=5")
    made.linux |= {"resources": {}}
    del made.linux["cgroupsPath"]
    made.mounts.append(bind("/sys", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro"))
    return made


def with_own_mapping(made: Bundle) -> Bundle:
    """Map the user to root, and no one else."""
    made.namespace("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": USER, "size": 1}]
    return made


@pytest.mark.parametrize("inside", [False, True])
def test_a_user_runs_a_container_as_himself(runtime: Runtime, rootless: Bundle, inside: bool) -> None:
    made = rootless if inside else with_own_mapping(rootless)
    made.shell(
        "id -u; touch /new; cat /proc/self/setgroups; echo x > /dev/null; head -c 1 /dev/zero | wc -c"
    ).save()
    done = call(runtime, "run", "--bundle", str(made.path), made.id, inside=inside)
    accepts(done)
    assert done.stdout.split() == ["0", "deny", "1"]
    assert (made.rootfs / "new").stat().st_uid == USER


@pytest.mark.parametrize("inside", [False, True])
def test_root_in_a_users_container_may_not_read_the_hosts_secrets(
    runtime: Runtime, rootless: Bundle, inside: bool
) -> None:
    made = rootless if inside else with_own_mapping(rootless)
    made.mounts.append(bind("/etc", "/host", "ro"))
    made.shell(
        "cat /host/shadow && echo read; chown 5 /new; mknod /disk b 254 0 && cat /disk; echo end"
    ).save()
    done = call(runtime, "run", "--bundle", str(made.path), made.id, inside=inside)
    assert done.stdout == "end\n"


def test_the_whole_life_of_a_users_container(runtime: Runtime, rootless: Bundle) -> None:
    made = with_own_mapping(rootless).args("sleep", "1000").save()
    path = str(made.path)
    accepts(call(runtime, "create", "--bundle", path, made.id, inside=False))
    accepts(call(runtime, "start", made.id, inside=False))
    done = call(runtime, "exec", made.id, "id", "-u", inside=False)
    accepts(done)
    assert done.stdout == "0\n"
    accepts(call(runtime, "kill", made.id, "KILL", inside=False))
    accepts(call(runtime, "delete", "--force", made.id, inside=False))
    assert call(runtime, "state", made.id, inside=False).returncode == 1


def test_another_user_sees_nothing_of_it(runtime: Runtime, rootless: Bundle, private: Path) -> None:
    made = with_own_mapping(rootless).args("sleep", "1000").save()
    accepts(call(runtime, "create", "--bundle", str(made.path), made.id, inside=False))
    try:
        assert private.stat().st_mode & 0o077 == 0
        other = call(runtime, "--root", str(private), "state", made.id, inside=False, number=USER + 1)
        assert other.returncode != 0
        assert "pid" not in other.stdout
    finally:
        accepts(call(runtime, "delete", "--force", made.id, inside=False))


def test_a_limit_that_a_user_cannot_have_is_refused(runtime: Runtime, rootless: Bundle) -> None:
    made = with_own_mapping(rootless)
    made.linux["resources"] = {"memory": {"limit": 1 << 26}}
    made.save()
    done = call(runtime, "run", "--bundle", str(made.path), made.id, inside=False)
    assert (done.returncode == 0) == runtime.deviates("limits-of-a-user")
