"""R06 to R11: no symbolic link in an image, and no swap of names during a mount, leads it outside."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.bundles import bind, mount
from tests.runtime.checks import accepts
from tests.runtime.security.attacks import fingerprint, victim

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.conftest import Probes
    from tests.runtime.runtimes import Runtime
    from tests.runtime.terminals import ConsoleSocket

pytestmark = pytest.mark.requires("root", "cgroup2")

UP = "../../../../../../../../../.."
LOOK = "cat /proc/self/mountinfo"


@pytest.fixture
def source(workspace: Path) -> Path:
    """Give a volume with one file."""
    folder = workspace / "source"
    folder.mkdir()
    (folder / "file").write_text("volume")
    return folder


def entry(kind: str, source: Path, destination: str) -> dict[str, Any]:
    """Make a mount of one of three kinds."""
    return {
        "tmpfs": mount(destination, "tmpfs", "tmpfs"),
        "folder": bind(source, destination),
        "file": bind(source / "file", destination),
    }[kind]


@pytest.mark.parametrize("kind", ["tmpfs", "folder", "file"])
@pytest.mark.parametrize("link", ["absolute", "relative", "in the middle"])
def test_a_link_as_target_touches_nothing_of_the_host(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, source: Path, kind: str, link: str
) -> None:
    top = victim(workspace)
    made = bundle().shell(LOOK)
    goal = top / ("file" if kind == "file" else "folder")
    if link == "in the middle":
        (made.rootfs / "link").symlink_to(top)
        made.mounts.append(entry(kind, source, f"/link/{goal.name}/new"))
    else:
        (made.rootfs / "link").symlink_to(goal if link == "absolute" else f"{UP}{goal}")
        made.mounts.append(entry(kind, source, "/link"))
    before = fingerprint(top)
    runtime.run(made)
    assert fingerprint(top) == before


@pytest.mark.requires("tool:gcc")
def test_swapping_the_target_while_it_is_mounted_touches_nothing_of_the_host(
    runtime: Runtime, bundle: MakeBundle, probe: Probes, workspace: Path, rounds: Callable[[int, int], int]
) -> None:
    top, made = victim(workspace), bundle()
    probe("swap", workspace / "swap")
    names = []
    for number in range(4):
        (made.rootfs / f"place{number}").mkdir()
        (made.rootfs / f"link{number}").symlink_to(top if number % 2 else f"{UP}{top}")
        made.mounts.append(mount(f"/place{number}/deep{number}", "tmpfs", "tmpfs"))
        names.append((f"place{number}", f"link{number}"))
    before = fingerprint(top)
    swapping = [
        subprocess.Popen([workspace / "swap", made.rootfs, *pair], stdout=subprocess.PIPE, text=True)
        for pair in names
    ]
    try:
        assert all(process.stdout and process.stdout.readline() == "ready\n" for process in swapping)
        for _ in range(rounds(20, 2000)):
            runtime.run(made)
    finally:
        for process in swapping:
            process.kill()
            process.communicate()
    assert fingerprint(top) == before


def replace_by(made: Bundle, name: str, how: str, top: Path) -> None:
    """Make rootfs/NAME a link to the host, a link inside, or a file."""
    place = made.rootfs / name
    shutil.rmtree(place)
    if how == "file":
        place.write_text("")
    else:
        place.symlink_to(top if how == "outward" else "etc")


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("how", ["outward", "inward", "file"])
def test_proc_and_sys_are_mounted_on_folders_only(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, name: str, how: str
) -> None:
    top, made = victim(workspace), bundle()
    replace_by(made, name, how, top)
    before = fingerprint(top)
    assert runtime.run(made).returncode != 0
    assert fingerprint(top) == before


@pytest.mark.parametrize("place", ["/proc", "/proc/sys", "/proc/self/attr", "/proc/self/fd"])
@pytest.mark.parametrize("kind", ["folder", "tmpfs"])
def test_a_volume_over_proc_is_refused(
    runtime: Runtime, bundle: MakeBundle, source: Path, place: str, kind: str
) -> None:
    made = bundle()
    made.mounts.append(entry(kind, source, place))
    done = runtime.run(made)
    assert (done.returncode == 0) == runtime.deviates("volume-over-proc")


def test_a_false_proc_does_not_take_what_the_runtime_writes(
    runtime: Runtime, bundle: MakeBundle, source: Path
) -> None:
    made = bundle().without_mount("/proc")
    (source / "sys/net/ipv4").mkdir(parents=True)
    (source / "sys/net/ipv4/ip_forward").write_text("false")
    made.mounts.append(bind(source, "/proc"))
    made.linux |= {"sysctl": {"net.ipv4.ip_forward": "1"}, "maskedPaths": [], "readonlyPaths": []}
    runtime.run(made)
    assert (source / "sys/net/ipv4/ip_forward").read_text() == "false"


@pytest.mark.parametrize("target", ["absolute", "relative"])
def test_dev_as_a_link_to_the_host_changes_nothing_there(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, target: str
) -> None:
    top = victim(workspace)
    for name in ("null", "ptmx", "console", "fd"):
        (top / name).write_text("mine")
    made = bundle().without_mount("/dev/pts").without_mount("/dev/shm").without_mount("/dev/mqueue")
    made.without_mount("/dev")
    shutil.rmtree(made.rootfs / "dev")
    (made.rootfs / "dev").symlink_to(top if target == "absolute" else f"{UP}{top}")
    before = fingerprint(top)
    runtime.run(made)
    assert fingerprint(top) == before


@pytest.mark.parametrize("null", ["/etc/passwd", "/proc/sys/kernel/core_pattern"])
def test_a_false_null_device_masks_nothing(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, null: str
) -> None:
    folder = workspace / "dev"
    folder.mkdir()
    (folder / "null").symlink_to(null)
    made = bundle().shell("stat -c %t:%T /etc/secret; cat /etc/secret; test -f /etc/passwd && echo whole")
    made.mounts = [entry for entry in made.mounts if not entry["destination"].startswith("/dev")]
    made.mounts.append(bind(folder, "/dev"))
    (made.rootfs / "etc/secret").write_text("secret")
    made.linux["maskedPaths"].append("/etc/secret")
    done = runtime.run(made)
    if done.returncode == 0 and not runtime.deviates("false-null"):
        assert done.stdout == "1:3\nwhole\n"
    assert "secret" not in done.stdout


@pytest.mark.parametrize("name", ["console", "pts/0", "ptmx"])
def test_a_link_in_the_place_of_the_terminal_is_not_followed(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, console: ConsoleSocket, name: str
) -> None:
    folder = workspace / "dev"
    (folder / "pts").mkdir(parents=True)
    top = victim(workspace)
    (folder / name).symlink_to(f"{UP}{top}/file")
    made = bundle().shell("cat /etc/passwd > /seen; sleep 1000")
    made.mounts = [entry for entry in made.mounts if not entry["destination"].startswith("/dev")]
    made.mounts.append(bind(folder, "/dev"))
    made.process["terminal"] = True
    before = fingerprint(top)
    done = runtime.create(made, None, "--console-socket", console.path)
    if done.returncode == 0:
        accepts(runtime.start(made.id))
    assert fingerprint(top) == before


def test_a_hard_link_in_the_place_of_a_mount_point_is_left_alone(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, source: Path
) -> None:
    top, made = victim(workspace), bundle()
    os.link(top / "file", made.rootfs / "target")
    made.mounts.append(bind(source / "file", "/target"))
    before = fingerprint(top)
    accepts(runtime.run(made))
    assert fingerprint(top) == before
