"""Which namespaces a container has for itself, which it shares, and with whom; user namespaces; pods."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.podman import NEEDS
from tests.podman.engine import IMAGE, Podman, answers, script
from tests.runtime.waiting import eventually

pytestmark = pytest.mark.requires(*NEEDS)

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
LINKS = {kind: f"readlink /proc/self/ns/{kind}" for kind in KINDS}

Detached = Callable[..., str]


def shared_kinds(one: Mapping[str, str | None], other: Mapping[str, str | None]) -> set[str]:
    """Say which namespaces two processes have in common."""
    return {kind for kind in KINDS if one[kind] == other[kind]}


def namespaces_of(pid: int) -> dict[str, str]:
    """Read the namespaces of a process of the host."""
    return {kind: str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in KINDS}


def test_a_container_has_namespaces_of_its_own(podman: Podman) -> None:
    assert shared_kinds(podman.inside(**LINKS), namespaces_of(os.getpid())) == {"user"}


def test_namespaces_of_the_host_are_shared_if_asked_for(podman: Podman) -> None:
    host = podman.room.namespaces(KINDS)
    flags = [f"--{kind}=host" for kind in ("pid", "ipc", "uts", "net", "cgroupns")]
    seen = podman.inside(*flags, **LINKS, pids="ls -d /proc/1 && test $$ -gt 1 && echo many")
    assert shared_kinds(seen, host) == {"pid", "ipc", "uts", "net", "cgroup", "user"}
    assert podman.inside("--userns", "host", **LINKS)["user"] == host["user"]
    assert seen["pids"] == "/proc/1\nmany"


def test_namespaces_of_another_container_are_shared_if_asked_for(podman: Podman, detached: Detached) -> None:
    name = detached("--ipc", "shareable", "--hostname", "first", IMAGE, "sleep", "1000")
    first = podman.inside_running(name, **LINKS)
    flags = [f"--{kind}=container:{name}" for kind in ("ipc", "pid", "net", "uts")]
    seen = podman.inside(
        *flags, **LINKS, first="cat /proc/1/cmdline | tr '\\0' ' '; hostname", shm="df /dev/shm | wc -l"
    )
    assert shared_kinds(seen, first) == {"ipc", "pid", "net", "uts", "user"}
    assert seen["first"] == "sleep 1000 first"
    podman.succeed("run", "--rm", f"--ipc=container:{name}", IMAGE, "touch", "/dev/shm/from-the-second")
    assert podman.succeed("exec", name, "ls", "/dev/shm") == "from-the-second"
    podman.succeed("run", "--rm", f"--pid=container:{name}", IMAGE, "sh", "-c", "kill -0 1")


def test_the_cgroup_is_the_containers_own_root(podman: Podman) -> None:
    seen = podman.inside(
        path="grep ^0:: /proc/self/cgroup",
        tree="cat /sys/fs/cgroup/cgroup.procs",
        write="mkdir /sys/fs/cgroup/x",
    )
    assert seen["path"] == "0::/"
    assert "1" in seen["tree"].split()
    assert "Read-only file system" in seen["write"]
    outer = podman.inside("--cgroupns=host", path="grep ^0:: /proc/self/cgroup")["path"]
    assert "/libpod_parent/libpod-" in outer


def test_without_cgroups_a_container_stays_in_podmans(podman: Podman) -> None:
    if podman.kind == "runc":
        done = podman.call(
            "run", "--rm", "--cgroups", "disabled", IMAGE, "true"
        )  # the peer's recorded behaviour
        assert "requested OCI runtime runc is not compatible with NoCgroups" in done.stderr
        return
    seen = podman.inside("--cgroups", "disabled", "--cgroupns", "host", path="grep ^0:: /proc/self/cgroup")
    assert "libpod-" not in seen["path"]


@pytest.mark.requires("userns", "tool:newuidmap")
def test_a_user_namespace_maps_what_it_is_told_to(podman: Podman) -> None:
    questions = {
        "uids": "cat /proc/self/uid_map",
        "gids": "cat /proc/self/gid_map",
        "who": "id -u",
        "root": "stat -c %u:%g /bin /etc /proc/1 /dev/null",
        "write": "echo x > /root/x && stat -c %u /root/x",
        "pts": "stat -c %u /dev/pts/ptmx",
        "network": "ip link | grep -c lo:",
        "mknod": "mknod /tmp/n c 1 3",
        "hostname": "hostname",
        "own": "readlink /proc/self/ns/user",
    }
    seen = podman.inside(
        "--uidmap", "0:2100000:5000", "--gidmap", "0:2200000:6000", "--hostname", "mapped", **questions
    )
    assert seen["uids"].split() == ["0", "2100000", "5000"]
    assert seen["gids"].split() == ["0", "2200000", "6000"]
    assert seen["who"] == "0"
    assert seen["root"].splitlines() == [
        "0:0",
        "0:0",
        "0:0",
        "65534:65534",
    ]  # /dev/null is a bind of the host's
    assert seen["write"] == "0"
    assert seen["pts"] == "0"
    assert seen["network"] == "1"
    assert "not permitted" in seen["mknod"]
    assert seen["hostname"] == "mapped"
    assert seen["own"] != namespaces_of(os.getpid())["user"]
    auto = podman.inside("--userns", "auto:size=3000", uids="cat /proc/self/uid_map")["uids"].split()
    assert auto[0] == "0"
    assert auto[2] == "3000"
    assert 2000000 <= int(auto[1]) < 3000000


@pytest.mark.requires("userns", "tool:newuidmap")
def test_a_container_with_a_user_namespace_lives_like_any_other(podman: Podman, detached: Detached) -> None:
    mapped = detached("--uidmap", "0:2100000:5000", "--user", "bob", IMAGE, "sleep", "1000")
    host_pid = int(podman.inspect(mapped, ".State.Pid"))
    assert Path(f"/proc/{host_pid}").stat().st_uid == 2101000
    again = podman.inside_running(
        mapped, who="id -u", uids="cat /proc/self/uid_map", write="touch /tmp/mine && echo yes"
    )
    assert again["who"] == "1000"
    assert again["uids"].split() == ["0", "2100000", "5000"]
    assert again["write"] == "yes"
    assert podman.succeed("exec", "--user", "root", mapped, "id", "-u") == "0"
    with podman.terminal("exec", "-it", mapped, "sh", "-c", "stat -c %U:%a $(tty)") as terminal:
        assert terminal.finish() == 0
        assert "bob:620" in terminal.shown
    podman.succeed("stop", "--time", "0", mapped)


@pytest.mark.requires("userns", "tool:newuidmap")
def test_an_idmapped_volume_shows_its_owner_through_the_mapping(podman: Podman) -> None:
    volume = podman.folder / "idmapped"
    volume.mkdir()
    (volume / "file").write_text("owned by the host's root\n")
    mapping = ["--uidmap", "0:2100000:5000"]
    seen = podman.inside(
        *mapping,
        "--volume",
        f"{volume}:/v:idmap",
        owner="stat -c %u /v/file",
        write="echo x > /v/new && stat -c %u /v/new",
    )
    assert seen == {"owner": "0", "write": "0"}
    assert (volume / "new").stat().st_uid == 0
    plain = podman.inside(
        *mapping, "--volume", f"{volume}:/v", owner="stat -c %u /v/file", write="echo x > /v/other"
    )
    assert plain["owner"] == "65534"
    assert "Permission denied" in plain["write"]


# 4.3's pod cgroup denies every device (podman's own fault), hence no share-parent; infra images are made from
# catatonit.
POD = ("--network", "none", "--share-parent=false", "--hostname", "the-pod")


def test_a_pod_shares_namespaces_and_ends_as_one(podman: Podman) -> None:
    podman.succeed("pod", "create", "--name", "pod", *POD, "--share", "ipc,net,uts,pid")
    try:
        podman.succeed("create", "--pod", "pod", "--name", "one", IMAGE, "sleep", "1000")
        podman.succeed("create", "--pod", "pod", "--name", "two", IMAGE, "sleep", "2000")
        podman.succeed("pod", "start", "pod")
        one, two = (
            podman.inside_running("one", **LINKS),
            podman.inside_running("two", **LINKS, all="ps -o args", host="hostname"),
        )
        assert shared_kinds(one, two) == {"ipc", "net", "uts", "pid", "user"}
        assert {"sleep 1000", "sleep 2000"} <= set(two["all"].splitlines())
        assert two["host"] == "the-pod"
        podman.succeed("pod", "pause", "pod")
        assert podman.inspect("two", ".State.Status") == "paused"
        podman.succeed("pod", "unpause", "pod")
        podman.succeed("pod", "stop", "--time", "0", "pod")
        form = "{{.State.Status}}"
        eventually(
            lambda: podman.succeed("inspect", "--format", form, "one", "two").split() == ["exited"] * 2,
            "they never exited",
        )
    finally:
        podman.succeed("pod", "rm", "--force", "--time", "0", "pod")


PLAY = f"""
apiVersion: v1
kind: Pod
metadata: {{name: played}}
spec:
  hostNetwork: true
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: one
    image: localhost/{IMAGE}:latest
    command: [/bin/sh, -c, "echo $GREETING; sleep 1000"]
    env: [{{name: GREETING, value: hello}}]
    securityContext: {{runAsUser: 1000, readOnlyRootFilesystem: true}}
    volumeMounts: [{{name: work, mountPath: /work}}]
  volumes:
  - name: work
    emptyDir: {{}}
"""


def test_a_pod_is_played_from_kubernetes_words(podman: Podman) -> None:
    if podman.version < (5,) and podman.kind != "ours":  # see POD; ours then binds the devices of the host
        assert "not permitted" in podman.call("play", "kube", "--start", "-", text=PLAY).stderr.lower()
        return
    podman.succeed("play", "kube", "--start", "-", text=PLAY)
    try:
        eventually(lambda: podman.succeed("logs", "played-one") == "hello", "it never greeted")
        # there is no PATH: neither the image nor Kubernetes sets one
        asked = script({"who": "id -u", "root": "touch /home/x", "work": "touch /work/x && echo yes"})
        seen = answers(podman.succeed("exec", "played-one", "/bin/sh", "-c", asked))
        assert seen["who"] == "1000"
        assert "Read-only file system" in seen["root"]
        assert seen["work"] == "yes"
    finally:
        podman.succeed("play", "kube", "--down", "-", text=PLAY)
    assert "played-one" not in podman.succeed("ps", "--all", "--format", "{{.Names}}")


@pytest.mark.requires("peer:netavark", "tool:nft")
def test_containers_reach_each_other_over_podmans_bridge(podman: Podman, detached: Detached) -> None:
    server = detached(
        "--network",
        "podman",
        "--publish",
        "127.0.0.1:7070:7070",
        IMAGE,
        "sh",
        "-c",
        "while :; do echo served | nc -l -p 7070; done",
    )
    address = podman.inspect(server, ".NetworkSettings.IPAddress")
    command = f"until nc {address} 7070 </dev/null; do sleep 0.05; done; ip route | grep -c default"
    assert podman.succeed("run", "--rm", "--network", "podman", IMAGE, "sh", "-c", command) == "served\n1"


@pytest.mark.requires("peer:netavark", "tool:nft", "userns", "tool:newuidmap")
def test_a_network_is_configured_between_create_and_start_for_a_user_namespace(podman: Podman) -> None:
    seen = podman.inside(
        "--network", "podman", "--uidmap", "0:2100000:5000", address="ip -o -4 addr show eth0 | wc -l"
    )
    assert seen["address"] == "1"
