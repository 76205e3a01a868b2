"""R34: an ordinary user runs containers with no more rights than his own.

Three ways: the runtime as the user itself with a mapping of its own (`spec --rootless`); the same with the
ranges that /etc/subuid grants; and as root of a user namespace that the caller made, as rootless podman does,
where it gets no mappings and no cgroup, or (keep-id) a second user namespace below.

See user_namespaces(7), newuidmap(1), subuid(5).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.bundles import bind, own_tree
from tests.runtime.checks import accepts, refuses
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Completed, Runtime

pytestmark = pytest.mark.requires("root", "cgroup2", "userns")

USER, RANGE = 54321, 200000
NAMESPACES = {
    "himself": [],
    "root of a user namespace": ["unshare", "--user", "--map-root-user"],
    "root with his own mounts": ["unshare", "--user", "--map-root-user", "--mount"],
    "in a nested namespace": ["unshare", "--user", "--map-root-user", "--mount"],
}
"""Who the user is, and how he becomes that."""

GRANTS = """
for name in passwd group subuid subgid; do mount --bind $ETC/$name /etc/$name; done; exec "$@"
"""


class User:
    """An ordinary user who calls the runtime; his state root is one that the runtime makes."""

    def __init__(self, runtime: Runtime, number: int = USER) -> None:
        self.runtime = runtime
        self.number = number
        self.home = runtime.root.parent / f"home-{number}"
        self.home.mkdir(mode=0o755)
        os.chown(self.home, number, number)
        self.root = self.home / "state"
        self.prefix: list[str] = []
        self.ways = dict(NAMESPACES)
        self.becoming = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]
        self.env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(self.home)}

    def argv(self, *words: str, who: str) -> list[str]:
        """Give a command line that runs the runtime as this user."""
        command = [str(self.runtime.binary), "--root", str(self.root), *words]
        return [*self.prefix, *self.runtime.viewed([*self.becoming, *self.ways[who], *command])]

    def call(self, *words: str, who: str = "himself", cwd: Path | str = "/") -> Completed:
        """Run the runtime as this user."""
        original = self.runtime.argv
        self.runtime.argv = lambda *argv: self.argv(*argv, who=who)  # type: ignore[method-assign]
        try:
            return self.runtime.call(*words, env=self.env, cwd=cwd)
        finally:
            self.runtime.argv = original  # type: ignore[method-assign]

    def run(self, made: Bundle, who: str = "himself") -> Completed:
        """Save a bundle and run it."""
        made.save()
        return self.call("run", "--bundle", str(made.path), made.id, who=who)


@pytest.fixture
def user(runtime: Runtime) -> User:
    """Give an ordinary user."""
    return User(runtime)


@pytest.fixture
def grants(user: User, workspace: Path) -> None:
    """Let /etc/passwd and /etc/subuid know the user, in a mount namespace for his calls only."""
    texts = {
        "passwd": f"root:x:0:0::/:/bin/sh\nann:x:{USER}:{USER}::/:/bin/sh\n",
        "group": f"root:x:0:\nann:x:{USER}:\n",
        "subuid": f"ann:{RANGE}:1000\n",
        "subgid": f"ann:{RANGE}:1000\n",
    }
    (workspace / "etc").mkdir()
    for name, text in texts.items():
        (workspace / "etc" / name).write_text(text)
    user.env["ETC"] = str(workspace / "etc")
    user.prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", GRANTS, "sh"]


def give_away(made: Bundle) -> Bundle:
    """Let a bundle belong to the user, with a busybox of its own."""
    own_tree(made.path, USER)
    (made.rootfs / "bin/busybox").unlink()
    shutil.copyfile("/bin/busybox", made.rootfs / "bin/busybox")
    (made.rootfs / "bin/busybox").chmod(0o755)
    return made


@pytest.fixture
def rootless(bundle: MakeBundle) -> Bundle:
    """Give one bundle for the user."""
    return for_a_user(bundle)


def for_a_user(bundle: MakeBundle) -> Bundle:
    """Make a bundle as rootless podman writes it: no network, no cgroup, no limits, the host's /sys."""
    made = bundle().without_namespace("network").without_mount("/sys").without_mount("/sys/fs/cgroup")
    next(entry for entry in made.mounts if entry["destination"] == "/dev/pts")["options"].remove("gid=5")
    made.linux |= {"resources": {}}
    del made.linux["cgroupsPath"]
    made.mounts.append(bind("/sys", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro"))
    return give_away(made)


def mapped(made: Bundle, *entries: tuple[int, int, int]) -> Bundle:
    """Ask for a user namespace; without entries it maps the user to root, and no one else."""
    made.namespace("user")
    ids = [
        {"containerID": inside, "hostID": outside, "size": size}
        for inside, outside, size in entries or [(0, USER, 1)]
    ]
    made.linux["uidMappings"] = made.linux["gidMappings"] = ids
    return made


def for_whom(made: Bundle, who: str) -> Bundle:
    """Ask for the user namespace that goes with the way the user calls."""
    if who == "himself":
        return mapped(made)
    return mapped(made, (0, 0, 1)) if "nested" in who else made


# --- who one is, inside and outside --------------------------------------------------------------


@pytest.mark.parametrize("who", NAMESPACES)
def test_a_user_runs_a_container_as_himself(user: User, rootless: Bundle, who: str) -> None:
    made = for_whom(rootless, who)
    made.shell("id -u; touch /new; cat /proc/self/setgroups; echo x > /dev/null; head -c 1 /dev/zero | wc -c")
    done = user.run(made, who)
    accepts(done)
    assert done.stdout.split() == ["0", "deny", "1"]
    assert (made.rootfs / "new").stat().st_uid == USER


@pytest.mark.parametrize("who", NAMESPACES)
def test_root_in_a_users_container_has_no_rights_on_the_host(
    user: User, rootless: Bundle, workspace: Path, who: str
) -> None:
    made = for_whom(rootless, who)
    (workspace / "secret").write_text("sings")
    (workspace / "secret").chmod(0o600)
    made.capabilities("CHOWN", "DAC_OVERRIDE", "MKNOD", "SETGID", "SETUID", "SYS_ADMIN", "SYS_TIME")
    made.mounts.append(bind(workspace, "/host"))
    made.shell(
        "cat /host/secret; echo mine > /host/secret; touch /host/new; chown 5 /etc/passwd;"
        "mknod /disk b 254 0 && cat /disk; hostname evil; date -s 2000-01-01; echo end"
    )
    before = (workspace / "secret").stat()
    done = user.run(made, who)
    assert done.stdout.splitlines()[-1] == "end", done.stderr
    assert "sings" not in done.stdout
    assert (workspace / "secret").stat() == before
    assert not (workspace / "new").exists()
    assert (made.rootfs / "etc/passwd").stat().st_uid == USER
    assert not (made.rootfs / "disk").exists()
    assert os.uname().nodename != "evil"


@pytest.mark.requires("subuid")
def test_a_granted_range_gives_each_id_inside_its_own_outside(
    user: User, rootless: Bundle, grants: None
) -> None:
    made = mapped(rootless, (0, USER, 1), (1, RANGE, 999)).capabilities("SETUID", "SETGID")
    made.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}
    made.shell("id -u; id -G; cat /proc/self/setgroups; touch /tmp/new")
    (made.rootfs / "tmp").chmod(0o1777)
    if user.runtime.deviates("rootless-groups"):
        assert user.run(made).returncode == 1
        made.process["user"]["additionalGids"] = []
    done = user.run(made)
    accepts(done)
    groups = "6" if user.runtime.deviates("rootless-groups") else "6 7"
    assert done.stdout.splitlines() == ["5", groups, "allow"]
    new = (made.rootfs / "tmp/new").stat()
    assert (new.st_uid, new.st_gid) == (RANGE + 4, RANGE + 5)


@pytest.mark.requires("subuid")
@pytest.mark.parametrize(
    "entries", [[(0, 0, 1)], [(0, USER, 1), (1, 0, 1)], [(0, USER, 1), (1, RANGE, 1001)]]
)
def test_ids_that_were_not_granted_are_refused(
    user: User, rootless: Bundle, grants: None, entries: list[tuple[int, int, int]]
) -> None:
    made = mapped(rootless, *entries)
    done = user.run(made)
    assert done.returncode == 1, done.stdout
    assert done.stderr.strip()
    assert not (user.root / made.id).exists()


def test_an_id_that_is_not_mapped_is_refused(user: User, rootless: Bundle) -> None:
    made = mapped(rootless).args("true")
    made.process["user"] = {"uid": 5, "gid": 5}
    refuses(user.runtime, user.run(made))


# --- the whole life ------------------------------------------------------------------------------


def test_the_whole_life_of_a_users_container(user: User, rootless: Bundle) -> None:
    made = mapped(rootless).args("sleep", "1000").save()
    accepts(user.call("create", "--bundle", str(made.path), made.id))
    assert json.loads(user.call("state", made.id).stdout)["status"] == "created"
    accepts(user.call("start", made.id))
    done = user.call(
        "exec", made.id, "sh", "-c", "id -u; cat /proc/self/setgroups; grep CapEff /proc/self/status"
    )
    accepts(done)
    first, setgroups, capabilities = done.stdout.splitlines()
    assert (first, setgroups, int(capabilities.split()[1], 16)) == ("0", "deny", 0x20000420)
    accepts(user.call("kill", made.id, "KILL"))
    accepts(user.call("delete", "--force", made.id))
    assert user.call("state", made.id).returncode == 1
    assert not (user.root / made.id).exists()


@pytest.mark.requires("subuid")
def test_the_whole_life_with_a_granted_range(user: User, rootless: Bundle, grants: None) -> None:
    made = mapped(rootless, (0, USER, 1), (1, RANGE, 999)).args("sleep", "1000").save()
    accepts(user.call("create", "--bundle", str(made.path), made.id))
    accepts(user.call("start", made.id))
    done = user.call("exec", "--user", "5:6", made.id, "id")
    accepts(done)
    assert done.stdout.split()[:2] == ["uid=5", "gid=6"]
    assert user.call("exec", "--user", "5000:6", made.id, "id").returncode != 0
    accepts(user.call("delete", "--force", made.id))


def test_what_spec_rootless_writes_runs_as_it_is(user: User, bundle: MakeBundle) -> None:
    made = give_away(bundle())
    accepts(user.call("spec", "--rootless", cwd=made.path))
    made.config = json.loads((made.path / "config.json").read_text())
    made.process["terminal"] = False
    made.config["root"]["readonly"] = False
    made.shell("id -u; touch /new; ls /sys | grep -c kernel; cat /proc/self/uid_map")
    done = user.run(made)
    accepts(done)
    assert done.stdout.split() == ["0", "1", "0", str(USER), "1"]
    assert (made.rootfs / "new").stat().st_uid == USER


def test_another_user_sees_nothing_of_it(user: User, rootless: Bundle) -> None:
    made = mapped(rootless).args("sleep", "1000").save()
    accepts(user.call("create", "--bundle", str(made.path), made.id))
    other = User(user.runtime, USER + 1)
    other.root = user.root
    pid = json.loads(user.call("state", made.id).stdout)["pid"]
    try:
        for command in (["state"], ["start"], ["kill"], ["delete", "--force"], ["ps"]):
            done = other.call(*command, made.id)
            assert str(pid) not in done.stdout
            assert done.returncode != 0 or command == ["delete", "--force"]
        assert other.call("exec", made.id, "true").returncode != 0
        assert made.id not in other.call("list").stdout
        assert json.loads(user.call("state", made.id).stdout)["status"] == "created"
    finally:
        accepts(user.call("delete", "--force", made.id))


# --- a pod ---------------------------------------------------------------------------------------


def test_a_users_container_joins_the_namespaces_of_another(user: User, bundle: MakeBundle) -> None:
    first, second = mapped(for_a_user(bundle)), for_a_user(bundle)
    with sleeping(user, first, "himself") as pid:
        second.namespace("user", f"/proc/{pid}/ns/user").namespace("pid", f"/proc/{pid}/ns/pid")
        if user.runtime.deviates("pid-before-user"):
            refuses(user.runtime, user.run(second))
        else:
            see_the_others(user, second, "himself")


@pytest.mark.requires("tool:nsenter")
def test_containers_of_a_users_pod_share_process_numbers(user: User, bundle: MakeBundle) -> None:
    """As rootless podman does: the runtime is called as root of a user namespace that all of them share."""
    first, second = for_a_user(bundle), for_a_user(bundle)
    with subprocess.Popen(
        [*user.becoming, *NAMESPACES["root of a user namespace"], "sleep", "1000"]
    ) as pause:
        try:
            uid_map = Path(f"/proc/{pause.pid}/uid_map")
            eventually(lambda: uid_map.read_text().split() == ["0", str(USER), "1"], "no user namespace")
            user.ways["in the pod"] = [
                "nsenter",
                f"--user=/proc/{pause.pid}/ns/user",
                "--preserve-credentials",
            ]
            with sleeping(user, first, "in the pod") as pid:
                second.namespace("pid", f"/proc/{pid}/ns/pid")
                see_the_others(user, second, "in the pod")
        finally:
            pause.kill()


@contextlib.contextmanager
def sleeping(user: User, made: Bundle, who: str) -> Iterator[int]:
    """Give the first process of a container that only sleeps."""
    made.args("sleep", "1000").save()
    try:
        accepts(user.call("create", "--bundle", str(made.path), made.id, who=who))
        accepts(user.call("start", made.id, who=who))
        yield json.loads(user.call("state", made.id, who=who).stdout)["pid"]
    finally:
        accepts(user.call("delete", "--force", made.id, who=who))


def see_the_others(user: User, made: Bundle, who: str) -> None:
    """Run a container that must find the sleeping one as process 1, and not be it."""
    done = user.run(made.shell("tr '\\0' ' ' < /proc/1/cmdline; id -u; test $$ -gt 1 && echo another"), who)
    accepts(done)
    assert done.stdout.split() == ["sleep", "1000", "0", "another"]


# --- what a user cannot have ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "value", "deviation"),
    [
        ("linux", {"resources": {"memory": {"limit": 1 << 26}}}, "limits-of-a-user"),
        ("linux", {"resources": {"pids": {"limit": 10}}}, "limits-of-a-user"),
        ("linux", {"cgroupsPath": "/of-a-user"}, ""),
        ("process", {"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1 << 22, "soft": 1 << 22}]}, ""),
        ("process", {"oomScoreAdj": -500}, ""),
    ],
    ids=["memory", "pids", "cgroup", "rlimit", "oom score"],
)
def test_what_a_user_cannot_have_is_refused(
    user: User, rootless: Bundle, where: str, value: dict[str, Any], deviation: str
) -> None:
    made = mapped(rootless).args("true")
    made.config[where] |= value
    done = user.run(made)
    if deviation and user.runtime.deviates(deviation):
        accepts(done)
        return
    assert done.returncode == 1, done.stdout
    assert done.stderr.strip()
    assert not (user.root / made.id).exists()


def test_a_device_rule_of_a_user_is_no_error(user: User, rootless: Bundle) -> None:
    made = mapped(rootless).args("true")
    made.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    accepts(user.run(made))
