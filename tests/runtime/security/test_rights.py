"""R17, R18, R23, R25, R29, R33: what a process may, owns and leaves behind is what its configuration says."""

from __future__ import annotations

import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.bundles import bind, mount
from tests.runtime.checks import accepts
from tests.runtime.security.attacks import DOCKERS, fingerprint, victim
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.bundles import MakeBundle
    from tests.runtime.conftest import Probes
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")


# --- R17, R18: groups and set-id programs --------------------------------------------------------


@pytest.mark.parametrize("who", ["1000:1000", "1000:50"])
def test_a_users_program_reads_nothing_of_roots_groups(
    runtime: Runtime, bundle: MakeBundle, who: str
) -> None:
    made = bundle()
    made.process["user"] = {"uid": 0, "gid": 0, "additionalGids": [42]}
    for group in (0, 4, 42):
        secret = made.rootfs / f"secret{group}"
        secret.write_text(f"{group} ")
        secret.chmod(0o040)
        subprocess.run(["chown", f"0:{group}", secret], check=True)
    name = runtime.sleeping(made, extra_groups=[4])
    done = runtime.exec(
        name, "sh", "-c", "cat /secret*; echo end", flags=["--user", who], extra_groups=[4, 42], env={}
    )
    assert done.stdout == ("42 end\n" if runtime.deviates("exec-keeps-groups") else "end\n")


@pytest.mark.requires("tool:gcc", "tool:setcap")
@pytest.mark.parametrize("forbidden", [True, False])
def test_set_id_and_file_capabilities_give_no_more_than_was_granted(
    runtime: Runtime, bundle: MakeBundle, probe: Probes, forbidden: bool
) -> None:
    made = bundle().capabilities("SETUID", "CHOWN")
    probe("ids", made.rootfs / "ids").chmod(0o4755)
    for name, caps in (("capable", "cap_chown+ep"), ("greedy", "cap_sys_admin,cap_chown+ep")):
        (made.rootfs / name).mkdir()
        program = made.rootfs / name / "busybox"
        program.write_bytes((made.rootfs / "bin/busybox").read_bytes())
        program.chmod(0o755)
        subprocess.run(["setcap", caps, program], check=True)
    made.process.update(user={"uid": 1000, "gid": 1000}, noNewPrivileges=forbidden)
    made.shell(
        "/ids; /capable/busybox grep CapEff /proc/self/status; /greedy/busybox true && echo greedy; echo end"
    )
    lines = runtime.output(made).splitlines()
    assert lines[0] == ("1000 1000" if forbidden else "1000 0")
    # busybox's grep of the set is the capable program itself.
    assert int(lines[1].split()[1], 16) == (0 if forbidden else 1)
    assert "greedy" not in lines, "what asks for more than the bounding set cannot even be executed"
    assert lines[-1] == "end"


# --- R23, R25: devices, disks --------------------------------------------------------------------


def test_devices_that_the_image_brings_do_not_open(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities(*DOCKERS)
    kinds = {"kmsg": "c 1 11", "mem": "c 1 1", "fuse": "c 10 229", "disk": "b 254 0", "loop": "b 7 0"}
    for name, numbers in kinds.items():
        subprocess.run(["mknod", "-m", "666", made.rootfs / name, *numbers.split()], check=True)
    tries = "head -c 1 /$d; true > /$d; mknod /tmp/$d b 8 0; head -c 1 /tmp/$d"
    script = f"for d in {' '.join(kinds)}; do {tries}; done; echo end"
    done = runtime.run(made.shell(script))
    assert done.stdout == "end\n"
    assert done.stderr.count("Operation not permitted") == 3 * len(kinds), done.stderr


def test_a_disk_bomb_fills_only_its_own_tmpfs(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell(
        "yes | dd of=/bomb/file bs=64k count=256; i=0; while true > /bomb/$i; do i=$((i+1)); done;"
        "stat -c %s /bomb/file; ls /bomb | wc -l"
    )
    made.mounts.append(mount("/bomb", "tmpfs", "tmpfs", "size=1m", "nr_inodes=20"))
    done = runtime.run(made)
    size, files = map(int, done.stdout.split())
    assert size <= 1 << 20
    assert files < 20
    assert "No space left on device" in done.stderr


# --- R29: mounts ---------------------------------------------------------------------------------


@pytest.fixture
def shared(workspace: Path) -> Iterator[Path]:
    """Give a shared mount of the host, as systemd makes all of them."""
    folder = workspace / "shared"
    (folder / "place").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "shared", folder], check=True)
    subprocess.run(["mount", "--make-shared", folder], check=True)
    (folder / "place").mkdir()
    yield folder
    subprocess.run(["umount", "-R", folder], check=True)


def own_mounts(folder: Path) -> list[str]:
    """List the host's mounts below a folder."""
    found = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [path for path in found if path.startswith(str(folder))]


@pytest.mark.parametrize("propagation", ["", "rslave", "rprivate", "private"])
def test_nothing_mounted_or_unmounted_inside_happens_on_the_host(
    runtime: Runtime, bundle: MakeBundle, shared: Path, propagation: str
) -> None:
    runtime.shares_mounts = True
    made = bundle().capabilities(*DOCKERS, "SYS_ADMIN")
    made.mounts.append(bind(shared, "/v", "rbind"))
    if propagation:
        made.linux["rootfsPropagation"] = propagation
    made.shell(
        "mount -t tmpfs evil /v/place; mount -t tmpfs evil /; mount --bind /bin /v; umount -l /v;"
        "umount -l /v;"
        "mount --make-rshared /; mount -t tmpfs evil /v/place; umount -l /; echo end"
    )
    before = own_mounts(shared)
    assert "end" in runtime.run(made).stdout
    assert own_mounts(shared) == before == [str(shared)]
    assert [path.name for path in shared.iterdir()] == ["place"]


def test_what_a_volume_holds_is_not_changed_by_mounting_it(
    runtime: Runtime, bundle: MakeBundle, workspace: Path
) -> None:
    top, made = victim(workspace), bundle().args("true")
    made.mounts.append(bind(top, "/v", "rbind", "ro", "nosuid", "noexec", "nodev"))
    before = fingerprint(top)
    accepts(runtime.run(made))
    assert fingerprint(top) == before


# --- R33: children, signals, exit codes ----------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 2, 77, 126, 127, 137, 254, 255])
def test_the_exit_code_is_the_first_processs_own(runtime: Runtime, bundle: MakeBundle, code: int) -> None:
    orphans = "for i in 1 2 3 4 5 6 7 8 9; do (sh -c 'sleep 0.01; exit 3' &); (exit 9) & done"
    assert runtime.run(bundle().shell(f"{orphans}; exit {code}")).returncode == code


def test_children_that_outlive_the_first_process_end_with_it(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell(
        "for i in $(seq 100); do (setsid sh -c 'trap : TERM HUP; sleep 1000' &); done; exit 7"
    )
    assert runtime.run(made).returncode == 7
    assert not runtime.cgroup(made).exists()
    assert not (runtime.root / made.id).exists()


def was_seen(got: Path, number: int) -> bool:
    """Say whether the program has noted a signal."""
    return str(int(number)) in got.read_text().split()


def test_every_signal_that_run_can_take_reaches_the_program(runtime: Runtime, bundle: MakeBundle) -> None:
    numbers = [
        *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM),
        *(signal.SIGTERM, signal.SIGVTALRM, signal.SIGIO, signal.SIGPWR, signal.SIGSYS),
        *range(signal.SIGRTMIN + 1, signal.SIGRTMAX + 1),  # C libraries and Go keep 32 to 34 to themselves
    ]
    traps = "; ".join(f"trap 'echo {int(number)} >> /got' {int(number)}" for number in numbers)
    made = bundle().shell(f"{traps}; : > /got; touch /ready; while :; do sleep 0.02; done")
    running = runtime.spawn_run(made)
    eventually((made.rootfs / "ready").exists, "never ready")
    for number in numbers:
        running.send_signal(number)
        eventually(partial(was_seen, made.rootfs / "got", number), f"signal {int(number)} never arrived")
    accepts(runtime.kill(made.id, "KILL"))
    assert running.wait(60) == 137
