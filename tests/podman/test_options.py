"""What `podman run` can ask for the process and its files, seen from inside, several questions at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.podman import NEEDS
from tests.podman.engine import IMAGE, Podman
from tests.runtime.waiting import eventually

pytestmark = pytest.mark.requires(*NEEDS)

DOCKERS_CAPABILITIES = (
    0xA80425FB  # the fourteen of Docker without audit_write, net_raw and mknod are podman's 11
)
STATUS = {
    "bounding": "grep CapBnd /proc/self/status | cut -f 2",
    "effective": "grep CapEff /proc/self/status | cut -f 2",
    "inheritable": "grep CapInh /proc/self/status | cut -f 2",
    "ambient": "grep CapAmb /proc/self/status | cut -f 2",
    "nonewprivs": "grep NoNewPrivs /proc/self/status | cut -f 2",
    "seccomp": "grep Seccomp: /proc/self/status | cut -f 2",
}
Detached = Callable[..., str]
CHOWN, KILL, NET_BIND_SERVICE = 1 << 0, 1 << 5, 1 << 10


def status(podman: Podman, *flags: str) -> dict[str, int]:
    """Ask a container for its capabilities and the like, as numbers."""
    return {name: int(text, 16) for name, text in podman.inside(*flags, **STATUS).items()}


def test_capabilities_are_dropped_and_added(podman: Podman) -> None:
    usual = status(podman)
    assert usual["effective"] == usual["bounding"] != 0
    assert usual["bounding"] & ~DOCKERS_CAPABILITIES == 0
    assert usual["ambient"] == 0
    none = status(podman, "--cap-drop", "all")
    assert (none["effective"], none["bounding"], none["inheritable"]) == (0, 0, 0)
    some = status(podman, "--cap-drop", "all", "--cap-add", "chown,kill")
    assert some["effective"] == some["bounding"] == CHOWN | KILL
    all_ = status(podman, "--privileged")
    assert all_["effective"] & ~usual["effective"]
    assert podman.call("run", "--rm", "--cap-drop", "chown", IMAGE, "chown", "bob", "/tmp").returncode == 1


def test_a_user_has_no_capabilities_but_those_added(podman: Podman) -> None:
    assert status(podman, "--user", "bob")["effective"] == 0
    added = status(podman, "--user", "bob", "--cap-add", "net_bind_service")
    assert added["effective"] == added["ambient"] == NET_BIND_SERVICE


def test_user_and_groups_are_those_asked_for(podman: Podman) -> None:
    script = {"who": "id", "home": "echo $HOME", "groups": "grep Groups /proc/self/status"}
    named = podman.inside("--user", "bob", **script)
    assert named["who"] == "uid=1000(bob) gid=1000(bob) groups=1000(bob),2000(team)"
    assert named["home"] == "/home"
    numbers = podman.inside("--user", "1234:4321", "--group-add", "5678", **script)
    assert numbers["groups"].split() == ["Groups:", "4321", "5678"]
    assert numbers["home"] == "/"


def test_the_process_has_the_settings_asked_for(podman: Podman) -> None:
    seen = podman.inside(
        *(
            "--hostname",
            "named",
            "--umask",
            "0077",
            "--oom-score-adj",
            "900",
            "--env",
            "A=one",
            "--env",
            "B=x=y z",
        ),
        *(
            "--ulimit",
            "nofile=123:456",
            "--ulimit",
            "nproc=3000:3000",
            "--ulimit",
            "core=0:0",
            "--workdir",
            "/var/keep",
        ),
        host="hostname; cat /proc/sys/kernel/hostname",
        umask="umask; touch /f; stat -c %a /f; stat -c %a /dev/null",
        oom="cat /proc/self/oom_score_adj",
        env="echo $A; echo $B; echo $container",
        limits="ulimit -Sn; ulimit -Hn; ulimit -Hu; ulimit -Hc",
        where="pwd",
    )
    assert seen["host"] == "named\nnamed"
    assert seen["umask"] == "0077\n600\n666"
    assert seen["oom"] == "900"
    assert seen["env"].splitlines()[:2] == ["one", "x=y z"]
    assert seen["limits"].split() == ["123", "456", "3000", "0"]
    assert seen["where"] == "/var/keep"


def test_no_new_privileges_is_set_only_if_asked_for(podman: Podman) -> None:
    assert status(podman)["nonewprivs"] == 0
    assert status(podman, "--security-opt", "no-new-privileges")["nonewprivs"] == 1


def test_seccomp_filters_by_the_profile(podman: Podman) -> None:
    assert status(podman)["seccomp"] == 2
    assert status(podman, "--security-opt", "seccomp=unconfined")["seccomp"] == 0
    profile = podman.folder / "profile.json"
    rules = [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 121},  # EREMOTEIO
        {"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"},
        {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"},
    ]
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    questions = {
        "mkdir": "mkdir /d",
        "sync": "(sync); echo $?",
        "host": "hostname new",
        "rest": "rm /etc/group && echo works",
    }
    seen = podman.inside("--cap-add", "sys_admin", "--security-opt", f"seccomp={profile}", **questions)
    assert "Remote I/O error" in seen["mkdir"]
    assert seen["sync"].splitlines()[-1] == "159"  # 128 + SIGSYS
    assert "Operation not permitted" in seen["host"]
    assert seen["rest"] == "works"


def test_a_read_only_root_has_writable_places_where_podman_puts_them(podman: Podman) -> None:
    seen = podman.inside(
        "--read-only",
        "--tmpfs",
        "/extra:size=64k",
        root="touch /x; touch /etc/x; mount -o remount,rw /",
        places="for d in /tmp /run /var/tmp /dev/shm /extra; do touch $d/x && echo $d; done",
        masked="cat /proc/keys /proc/timer_list | wc -c; ls /proc/acpi /sys/firmware | grep -v :",
        frozen="echo 1 > /proc/sys/vm/drop_caches; mkdir /sys/new",
    )
    assert seen["root"].count("Read-only file system") == 2
    assert seen["places"].split() == ["/tmp", "/run", "/var/tmp", "/dev/shm", "/extra"]
    assert seen["masked"].split() == ["0"]
    assert seen["frozen"].count("Read-only file system") == 2
    strict = podman.inside(
        "--read-only",
        "--read-only-tmpfs=false",
        tmp="touch /tmp/x",
        dev="touch /dev/x 2>&1 && echo writable",
        shm="touch /dev/shm/x 2>&1 && echo writable",
        nodes="test -c /dev/null && test -c /dev/ptmx && test -d /dev/pts && echo there",
    )
    assert "Read-only file system" in strict["tmp"]
    assert strict["nodes"] == "there"
    for place in ("dev", "shm"):  # since 5 podman means all of them
        assert ("writable" if podman.version < (5,) else "Read-only file system") in strict[place]


def test_a_read_only_tmpfs_takes_what_is_mounted_in_it(podman: Podman) -> None:
    volume = podman.folder / "in-the-tmpfs"
    volume.mkdir()
    (volume / "file").write_text("below\n")
    seen = podman.inside(
        "--mount",
        "type=tmpfs,destination=/outer,ro",
        "--volume",
        f"{volume}:/outer/inner",
        below="cat /outer/inner/file; touch /outer/inner/new && echo writable",
        above="touch /outer/new",
    )
    assert seen["below"] == "below\nwritable"
    assert "Read-only file system" in seen["above"]


def test_a_tmpfs_takes_over_what_it_hides_and_keeps_its_options(podman: Podman) -> None:
    seen = podman.inside(
        "--tmpfs",
        "/var/keep",
        "--tmpfs",
        "/sized:size=128k,mode=1750,noexec",
        "--mount",
        "type=tmpfs,destination=/plain,ro",
        kept="cat /var/keep/inner; stat -c %a /var/keep",
        sized="stat -c %a /sized; df -k /sized | tail -n 1 | awk '{print $2}'; "
        "cp /bin/busybox /sized 2>/dev/null; "
        "echo '#!/bin/sh' > /sized/p; chmod +x /sized/p; /sized/p",
        plain="touch /plain/x",
        types="mount | awk '$3 ~ /keep|sized|plain/ {print $3, $5}'",
    )
    assert seen["kept"] == "kept\n2750"
    assert seen["sized"].splitlines()[:2] == ["1750", "128"]
    assert "Permission denied" in seen["sized"] or "No space left" in seen["sized"]
    assert "Read-only file system" in seen["plain"]
    assert sorted(seen["types"].splitlines()) == ["/plain tmpfs", "/sized tmpfs", "/var/keep tmpfs"]


def test_volumes_show_what_lies_outside(podman: Podman) -> None:
    outside = podman.folder / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "file").write_text("from outside\n")
    (outside / "alone").write_text("a file alone\n")
    seen = podman.inside(
        *(
            "--volume",
            f"{outside}:/rw",
            "--volume",
            f"{outside}:/ro:ro",
            "--volume",
            f"{outside / 'alone'}:/etc/deep/alone:ro",
        ),
        *(
            "--volume",
            f"{outside}:/bin/../srv/through",
            "--volume",
            "named:/named",
            "--volume",
            f"{outside}:/strict:noexec,nodev,nosuid",
        ),
        read="cat /rw/file /ro/file /etc/deep/alone /srv/through/file",
        write="echo back > /rw/written; echo no > /ro/written; echo no > /etc/deep/alone",
        named="echo kept > /named/it && cat /named/it",
        options="mount | grep ' /strict ' | grep -c nosuid,nodev,noexec",
    )
    assert seen["read"] == "from outside\nfrom outside\na file alone\nfrom outside"
    assert seen["write"].count("Read-only file system") == 2
    assert (outside / "written").read_text() == "back\n"
    assert seen["named"] == "kept"
    assert seen["options"] == "1"
    assert podman.succeed("run", "--rm", "--volume", "named:/again:ro", IMAGE, "cat", "/again/it") == "kept"
    podman.succeed("volume", "rm", "named")


def test_a_volume_can_be_given_to_the_containers_user(podman: Podman) -> None:
    given = podman.folder / "given-away"
    given.mkdir()
    (given / "file").write_text("root's until now\n")
    seen = podman.inside(
        "--user",
        "bob",
        "--volume",
        f"{given}:/v:U",
        owner="stat -c %u:%g /v /v/file",
        write="echo mine > /v/file && echo yes",
    )
    assert seen == {"owner": "1000:1000\n1000:1000", "write": "yes"}
    assert given.stat().st_uid == 1000


@pytest.fixture
def shared_folder(podman: Podman) -> Iterator[Path]:
    """Give a folder of the room that passes mounts on."""
    folder = podman.folder / "shared-mount"
    for path in (folder / "host", folder / "container"):
        path.mkdir(parents=True)
    podman.room.run("mount", "--bind", folder, folder)
    podman.room.run("mount", "--make-shared", folder)
    yield folder
    podman.room.run("umount", "--recursive", folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("propagation", "arrives", "returns"),
    [("rprivate", False, False), ("rslave", True, False), ("rshared", True, True)],
)
def test_mounts_pass_through_a_volume_as_told(
    podman: Podman, shared_folder: Path, detached: Detached, propagation: str, arrives: bool, returns: bool
) -> None:
    flags = ["--privileged", "--volume", f"{shared_folder}:/v:{propagation}"]
    name = detached(*flags, IMAGE, "sleep", "1000")
    podman.room.run("mount", "-t", "tmpfs", "host", shared_folder / "host")
    podman.succeed("exec", name, "mount", "-t", "tmpfs", "container", "/v/container")
    inside = podman.inside_running(name, seen="mount | grep -c ' on /v/host '")["seen"]
    assert inside == str(int(arrives))
    outside = podman.room.read("/proc/self/mountinfo")
    assert (f" {shared_folder}/container " in outside) == returns


def test_a_volume_over_a_symlink_lands_where_it_points_inside(podman: Podman) -> None:
    outside = podman.folder / "linked"
    outside.mkdir()
    (outside / "file").write_text("found\n")
    build = podman.succeed(
        "run", "--detach", IMAGE, "sh", "-c", "mkdir /tmp/real; ln -s /../../tmp/real /link"
    )
    podman.succeed("wait", build)
    podman.succeed("commit", "--quiet", build, "with-link")
    podman.remove(build)
    shown = podman.succeed(
        "run", "--rm", "--volume", f"{outside}:/link", "with-link", "cat", "/tmp/real/file"
    )
    podman.succeed("rmi", "with-link")
    assert shown == "found"
    assert not Path("/tmp/real").exists()


def test_sysctls_are_set_in_the_containers_namespaces(podman: Podman) -> None:
    before = Path("/proc/sys/kernel/msgmax").read_text()
    seen = podman.inside(
        "--sysctl",
        "kernel.msgmax=4321",
        "--sysctl",
        "net.ipv4.ip_default_ttl=42",
        "--sysctl",
        "fs.mqueue.queues_max=77",
        msgmax="cat /proc/sys/kernel/msgmax",
        ttl="cat /proc/sys/net/ipv4/ip_default_ttl",
        queues="cat /proc/sys/fs/mqueue/queues_max",
    )
    assert seen == {"msgmax": "4321", "ttl": "42", "queues": "77"}
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


def test_devices_are_there_and_no_others(podman: Podman) -> None:
    seen = podman.inside(
        "--device",
        "/dev/full:/dev/renamed:rw",
        "--device",
        "/dev/loop-control",
        listed="ls /dev | sort",
        kind="stat -c '%F %t:%T %a' /dev/renamed /dev/null",
        use="echo x > /dev/renamed; "
        "echo x > /dev/null && head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c",
        made="mknod /dev/memory c 1 1 && cat /dev/memory",
        terminal="test -c /dev/tty && test -c /dev/ptmx && echo yes",
        links="for name in fd stdin stdout stderr; do readlink /dev/$name; done",
    )
    for name in (
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "ptmx",
        "pts",
        "shm",
        "mqueue",
        "renamed",
        "loop-control",
    ):
        assert name in seen["listed"].split()
    assert not {"kmsg", "mem", "vda", "sda", "fuse"} & set(seen["listed"].split())
    assert seen["kind"].splitlines() == ["character special file 1:7 666", "character special file 1:3 666"]
    assert "No space left" in seen["use"]
    assert seen["use"].split()[-2:] == ["4", "4"]
    assert "Operation not permitted" in seen["made"]
    assert seen["terminal"] == "yes"
    assert seen["links"].split() == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"]


def test_systemd_gets_the_places_that_it_insists_on(podman: Podman, detached: Detached) -> None:
    loop = "trap 'exit 6' 37; echo ready; while :; do sleep 0.02; done"
    name = detached("--systemd", "always", IMAGE, "sh", "-c", loop)
    seen = podman.inside_running(
        name,
        places="mount | grep -o -E ' /(run|run/lock|tmp|var/log/journal) type tmp' | cut -d ' ' -f 2 | sort",
        groups="mkdir /sys/fs/cgroup/init.scope && rmdir /sys/fs/cgroup/init.scope && echo yes",
        environment="tr '\\0' '\\n' < /proc/1/environ | grep -c -E '^container(=podman|_uuid=.)'",
    )
    assert seen["places"].split() == ["/run", "/run/lock", "/tmp", "/var/log/journal"]
    assert seen["groups"] == "yes"
    assert seen["environment"] == "2"
    eventually(lambda: podman.succeed("logs", name) == "ready", "it never began to listen")
    podman.succeed("stop", "--time", "30", name)  # by SIGRTMIN+3
    assert podman.inspect(name, ".State.ExitCode") == "6"


def test_an_init_reaps_and_passes_signals_on(podman: Podman) -> None:
    seen = podman.inside(
        "--init",
        first="head -c 16 /proc/1/cmdline; echo",
        orphans="(sleep 0.01 &); while ps -o args | grep -q -E '^\\[?sleep'; do :; done; echo none",
    )
    assert seen["first"] == "/run/podman-init"
    assert seen["orphans"] == "none"
    name = podman.started("--init", IMAGE, "sleep", "1000")
    podman.succeed("stop", "--time", "30", name)  # sleep alone, as pid 1, would ignore SIGTERM
    assert podman.inspect(name, ".State.ExitCode") == "143"
    podman.remove(name)


def test_paths_are_masked_and_unmasked(podman: Podman) -> None:
    question = {"keys": "cat /proc/keys | wc -c", "mine": "ls /home /etc/passwd; cat /etc/passwd | wc -c"}
    seen = podman.inside("--security-opt", "mask=/home:/etc/passwd", **question)
    assert seen["keys"] == "0"
    assert seen["mine"].splitlines()[-1] == "0"
    seen = podman.inside("--security-opt", "unmask=ALL", **question)
    assert int(seen["mine"].splitlines()[-1]) > 0


def test_privileged_means_nearly_everything(podman: Podman) -> None:
    seen = podman.inside(
        "--privileged",
        seccomp="grep Seccomp: /proc/self/status | cut -f 2",
        mounts="mount -t tmpfs none /tmp && umount /tmp && echo yes",
        devices="test -c /dev/kmsg && test -c /dev/loop-control && echo yes",
        sysfs="mount | grep ' /sys ' | grep -c 'rw,'",
        groups="mkdir /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine && echo yes",
    )
    assert seen == {"seccomp": "0", "mounts": "yes", "devices": "yes", "sysfs": "1", "groups": "yes"}


def test_a_root_file_system_of_ones_own_needs_no_image(podman: Podman) -> None:
    rootfs = podman.folder / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "bin/sh").write_bytes(Path("/usr/bin/busybox").read_bytes())
    (rootfs / "bin/sh").chmod(0o755)
    shown = podman.succeed("run", "--rm", "--rootfs", str(rootfs), "/bin/sh", "-c", "echo $$; echo /*")
    assert shown.splitlines()[0] == "1"
    assert {"/bin", "/dev", "/proc", "/sys"} <= set(shown.splitlines()[1].split())


@pytest.mark.vm
@pytest.mark.requires("controller:memory", "controller:cpu", "controller:pids", "controller:cpuset")
def test_limits_are_written_to_the_cgroup(podman: Podman) -> None:
    seen = podman.inside(
        *(
            "--memory",
            "64m",
            "--memory-swap",
            "96m",
            "--memory-reservation",
            "32m",
            "--cpus",
            "0.5",
            "--cpu-shares",
            "512",
        ),
        *("--pids-limit", "77", "--cpuset-cpus", "0"),
        memory="cd /sys/fs/cgroup; cat memory.max memory.swap.max memory.low",
        cpu="cd /sys/fs/cgroup; cat cpu.max cpu.weight cpuset.cpus",
        pids="cat /sys/fs/cgroup/pids.max",
        many="(for i in $(seq 100); do sleep 1 & done); true",
    )
    assert seen["memory"].split() == [str(64 << 20), str(32 << 20), str(32 << 20)]
    quota, weight, cpus = seen["cpu"].splitlines()
    assert (quota, cpus) == ("50000 100000", "0")
    assert weight in ({"59"} if podman.kind == "ours" else {"59", "20"})  # 20: before crun 1.23 and runc 1.3
    assert seen["pids"] == "77"
    assert "can't fork" in seen["many"]
