"""podman as an ordinary user: the runtime is root of a user namespace only, and has no cgroup to write to."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.podman import NEEDS
from tests.podman.engine import IMAGE, Podman

pytestmark = pytest.mark.requires(*NEEDS, "userns", "subuid", "tool:setpriv")


@pytest.fixture
def shared(rootless: Podman) -> Iterator[str]:
    """Give a container that sleeps."""
    name = rootless.started(IMAGE, "sleep", "1000")
    yield name
    rootless.remove(name)


def test_root_inside_is_an_ordinary_user_outside(rootless: Podman) -> None:
    seen = rootless.inside(
        who="id -u; id -g",
        uids="cat /proc/self/uid_map",
        write="echo x > /etc/new && stat -c %u /etc/new",
        chown="chown bob /etc/new && stat -c %u /etc/new",
        host="cat /proc/sys/kernel/hostname > /proc/sys/kernel/hostname",
        devices="echo x > /dev/null && head -c 4 /dev/zero | wc -c",
        tmp="touch /tmp/x /dev/shm/x && echo yes",
    )
    assert seen["who"] == "0\n0"
    assert [line.split() for line in seen["uids"].splitlines()] == [
        ["0", "61234", "1"],
        ["1", "4000000", "65536"],
    ]
    assert seen["write"] == "0"
    assert seen["chown"] == "1000"
    assert "Read-only file system" in seen["host"]
    assert seen["devices"] == "4"
    assert seen["tmp"] == "yes"


def test_keep_id_nests_a_second_user_namespace(rootless: Podman) -> None:
    seen = rootless.inside(
        "--userns",
        "keep-id",
        who="id -u; id -g",
        uids="cat /proc/self/uid_map",
        tmp="touch /tmp/x && stat -c %u /tmp/x",
    )
    assert seen["who"] == "61234\n61234"
    assert ["61234", "0", "1"] in [line.split() for line in seen["uids"].splitlines()]
    assert seen["tmp"] == "61234"


def test_the_users_own_namespace_can_be_asked_for(rootless: Podman) -> None:
    seen = rootless.inside("--userns", "host", who="id -u", uids="cat /proc/self/uid_map")
    assert seen["who"] == "0"
    assert seen["uids"].split()[:3] == ["0", "61234", "1"]


def test_options_work_without_root(rootless: Podman) -> None:
    outside = rootless.folder / "home" / "outside"
    outside.mkdir()
    (outside / "file").write_text("from outside\n")
    os.chown(outside, 61234, 61234)
    seen = rootless.inside(
        *(
            "--read-only",
            "--tmpfs",
            "/usr/open",
            "--volume",
            f"{outside}:/v",
            "--hostname",
            "named",
            "--user",
            "bob",
        ),
        *(
            "--cap-drop",
            "all",
            "--security-opt",
            "no-new-privileges",
            "--network",
            "host",
            "--workdir",
            "/home",
        ),
        who="id",
        root="touch /home/x",
        kept="cat /usr/open/inner; touch /tmp/x && echo yes",
        volume="cat /v/file",
        host="hostname",
        status="grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status",
        net="readlink /proc/self/ns/net",
    )
    assert seen["who"] == "uid=1000(bob) gid=1000(bob) groups=1000(bob),2000(team)"
    assert "Read-only file system" in seen["root"]
    assert seen["kept"] == "kept\nyes"
    assert seen["volume"] == "from outside"
    assert seen["host"] == "named"
    assert seen["status"].split() == ["CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"]
    assert seen["net"] == rootless.room.namespaces(["net"])["net"]


def test_a_rootless_container_lives_like_any_other(rootless: Podman, shared: str) -> None:
    assert rootless.succeed("exec", shared, "ps", "-o", "args").splitlines()[1] == "sleep 1000"
    assert rootless.call("exec", shared, "sh", "-c", "exit 7").returncode == 7
    with rootless.terminal("exec", "-it", shared, "sh", "-c", "tty; stty size") as terminal:
        assert terminal.finish() == 0
        assert "/dev/pts/0" in terminal.shown
        assert "33 77" in terminal.shown
    assert "sleep 1000" in rootless.succeed("top", shared, "args")
    rootless.succeed("stop", "--time", "0", shared)
    assert rootless.inspect(shared, ".State.ExitCode") == "137"
    rootless.succeed("start", shared)
    rootless.succeed("kill", shared)
    assert rootless.succeed("wait", shared) == "137"


def test_a_rootless_terminal_is_interactive(rootless: Podman) -> None:
    with rootless.terminal("run", "--rm", "-it", IMAGE, "sh") as terminal:
        terminal.type("tty; echo he$((1))re\n")
        assert "/dev/pts/0" in terminal.read_until("he1re")
        terminal.type("exit 3\n")
        assert terminal.finish() == 3


def test_rootless_failures_have_the_same_codes(rootless: Podman) -> None:
    assert rootless.call("run", "--rm", IMAGE, "nonexistent").returncode == 127
    assert rootless.call("run", "--rm", IMAGE, "/etc/not-a-program").returncode == 126
    assert rootless.succeed("ps", "--all", "--quiet") == ""


def test_a_rootless_pod_shares_namespaces(rootless: Podman) -> None:
    rootless.succeed("pod", "create", "--name", "pod", "--network", "none", "--share", "ipc,net,uts,pid")
    try:
        for name in ("one", "two"):
            rootless.started("--pod", "pod", "--name", name, IMAGE, "sleep", "1000")
        links = {kind: f"readlink /proc/self/ns/{kind}" for kind in ("ipc", "net", "uts", "pid")}
        assert rootless.inside_running("one", **links) == rootless.inside_running("two", **links)
        assert rootless.succeed("exec", "two", "ps", "-o", "args").splitlines().count("sleep 1000") == 2
    finally:
        rootless.succeed("pod", "rm", "--force", "--time", "0", "pod")


def test_an_image_is_built_without_root(rootless: Podman) -> None:
    recipe = f"FROM {IMAGE}\nRUN id -u > /who && chown bob /who\nUSER bob\nRUN id -u >> /who\n"
    (rootless.folder / "home" / "Containerfile").write_text(recipe)
    rootless.succeed("build", "--quiet", "--network", "none", "--tag", "built", str(rootless.folder / "home"))
    assert rootless.succeed("run", "--rm", "built", "cat", "/who") == "0\n1000"
    rootless.succeed("rmi", "built")


def test_a_rootless_volume_can_be_given_to_the_containers_user(rootless: Podman) -> None:
    given = rootless.folder / "home" / "given-away"
    given.mkdir()
    os.chown(given, 61234, 61234)
    seen = rootless.inside(
        "--user", "bob", "--volume", f"{given}:/v:U", write="touch /v/x && stat -c %u /v/x"
    )
    assert seen["write"] == "1000"
    assert given.stat().st_uid == 4000000 + 999  # 0 inside is the user's own, 1 is the first subordinate id


def test_privileged_without_root_gains_nothing_outside(rootless: Podman) -> None:
    seen = rootless.inside(
        "--privileged",
        mounts="mount -t tmpfs none /tmp && umount /tmp && echo yes",
        seccomp="grep Seccomp: /proc/self/status | cut -f 2",
        node="mknod /tmp/n b 8 0",
        clock="date -s 2001-01-01",
    )
    assert (seen["mounts"], seen["seccomp"]) == ("yes", "0")
    assert "not permitted" in seen["node"]
    assert "not permitted" in seen["clock"]
