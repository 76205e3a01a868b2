"""Mounts: what is mounted where, from what, with which options, as /proc/self/mountinfo shows it.

Implements: runtime-spec, config.md "Mounts" and config-linux.md "Rootfs Mount Propagation"; mount(8).
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import leftovers
from tests.runtime.bundles import bind, mount
from tests.runtime.checks import accepts, refuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

PER_MOUNT = {"rw", "ro", "nosuid", "nodev", "noexec", "relatime", "noatime", "nodiratime", "nosymfollow"}


def options_at(runtime: Runtime, made: Bundle, *places: str) -> list[set[str]]:
    """Run the container and give the per-mount options at some places, those of the last mount there."""
    made.args("cat", "/proc/self/mountinfo")
    rows = {row.split()[4]: set(row.split()[5].split(",")) for row in runtime.output(made).splitlines()}
    return [rows[place] for place in places]


@pytest.fixture
def tree(workspace: Path) -> Iterator[Path]:
    """Give a folder of the host with another mount below it."""
    top = workspace / "tree"
    (top / "below").mkdir(parents=True)
    (top / "file").write_text("of the host")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev", "tmpfs", str(top / "below")], check=True)
    (top / "below/deep").write_text("deeper")
    yield top
    subprocess.run(["umount", "-R", str(top / "below")], check=True)


def test_the_standard_mounts_are_there(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("cat", "/proc/self/mountinfo")
    rows = [row.split() for row in runtime.output(made).splitlines()]
    kinds = {
        row[4]: row[row.index("-") + 1] for row in rows if row[4] in {m["destination"] for m in made.mounts}
    }
    assert kinds == {
        "/proc": "proc", "/dev": "tmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue", "/sys": "sysfs", "/sys/fs/cgroup": kinds["/sys/fs/cgroup"],
    }  # fmt: skip
    assert kinds["/sys/fs/cgroup"] in {"cgroup2", "tmpfs"}


def test_each_flag_is_set(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.mounts.append(mount("/a", "tmpfs", "tmpfs", "ro", "nosuid", "nodev", "noexec", "noatime"))
    made.mounts.append(mount("/b", "tmpfs", "tmpfs", "rw", "nodiratime"))
    first, second = options_at(runtime, made, "/a", "/b")
    assert first & PER_MOUNT == {"ro", "nosuid", "nodev", "noexec", "noatime"}
    assert {"rw", "nodiratime"} <= second
    assert not second & {"nosuid", "nodev", "noexec"}


@pytest.mark.requires("kernel:5.10")
def test_symbolic_links_can_be_forbidden(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.mounts.append(mount("/a", "tmpfs", "tmpfs", "nosymfollow"))
    if runtime.deviates("no-nosymfollow"):
        assert runtime.run(made).returncode == 1
    else:
        assert "nosymfollow" in options_at(runtime, made, "/a")[0]


def test_data_options_go_to_the_file_system(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("stat -c '%a %u' /t; df -k /t | tail -n 1")
    made.mounts.append(mount("/t", "tmpfs", "tmpfs", "size=64k", "mode=710", "uid=5"))
    words = runtime.output(made).split()
    assert words[:2] == ["710", "5"]
    assert words[3] == "64"


def test_a_folder_and_a_file_can_be_bound(runtime: Runtime, bundle: MakeBundle, tree: Path) -> None:
    made = bundle().shell("cat /folder/file /one/file /folder/below/deep")
    made.mounts += [bind(tree, "/folder", "rprivate"), bind(tree / "file", "/one/file", "rprivate")]
    done = runtime.run(made)
    assert done.stdout == "of the host" * 2 + ("deeper" if runtime.deviates("bind-is-recursive") else "")


def test_a_recursive_bind_brings_what_is_below(runtime: Runtime, bundle: MakeBundle, tree: Path) -> None:
    made = bundle().shell("cat /folder/below/deep")
    made.mounts.append(bind(tree, "/folder", "rbind"))
    assert runtime.output(made) == "deeper"


def test_a_read_only_bind_is_not_recursive_but_rro_is(
    runtime: Runtime, bundle: MakeBundle, tree: Path
) -> None:
    made = bundle()
    made.mounts += [bind(tree, "/ro", "rbind", "ro"), bind(tree, "/rro", "rbind", "rro")]
    plain, below, recursive, all_below = options_at(runtime, made, "/ro", "/ro/below", "/rro", "/rro/below")
    assert ("ro" in plain, "ro" in below) == (True, False)
    assert ("ro" in recursive, "ro" in all_below) == (True, True)


@pytest.mark.parametrize(
    ("option", "shown"),
    [("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"), ("rnoatime", "noatime"),
     ("rnodiratime", "nodiratime"), ("rnosymfollow", "nosymfollow")],
)  # fmt: skip
def test_recursive_options_reach_what_is_below(
    runtime: Runtime, bundle: MakeBundle, tree: Path, option: str, shown: str
) -> None:
    made = bundle()
    made.mounts.append(bind(tree, "/r", "rbind", option))
    if runtime.deviates("some-recursive-options") and option in {"rnoatime", "rnodiratime"}:
        refuses(runtime, runtime.run(made.args("true")))
        return
    if runtime.deviates("some-recursive-options") and option == "rnosymfollow":
        assert shown not in options_at(runtime, made, "/r/below")[0]
        return
    assert all(shown in options for options in options_at(runtime, made, "/r", "/r/below"))


def test_an_empty_mount_option_is_ignored(runtime: Runtime, bundle: MakeBundle, tree: Path) -> None:
    made = bundle()
    made.mounts += [
        bind(tree, "/bound", "rbind", "", "nosuid"),
        mount("/t", "tmpfs", "tmpfs", "", "noexec", ""),
    ]
    bound, fresh = options_at(runtime, made, "/bound", "/t")
    assert "nosuid" in bound
    assert "noexec" in fresh


def test_recursive_options_can_clear_flags(runtime: Runtime, bundle: MakeBundle, tree: Path) -> None:
    made = bundle()
    made.mounts.append(bind(tree, "/r", "rbind", "rsuid", "rdev"))
    assert not options_at(runtime, made, "/r/below")[0] & {"nosuid", "nodev"}


def test_a_read_only_bind_keeps_the_flags_of_its_source(
    runtime: Runtime, bundle: MakeBundle, tree: Path
) -> None:
    made = bundle().map_users()
    made.mounts.append(bind(tree / "below", "/r", "bind", "ro"))
    assert {"ro", "nosuid", "nodev"} <= options_at(runtime, made, "/r")[0]


def test_the_root_can_be_read_only(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("touch /new 2>/dev/null || echo refused; touch /dev/shm/new && echo works")
    made.config["root"]["readonly"] = True
    assert runtime.output(made) == "refused\nworks\n"
    assert not (made.rootfs / "new").exists()


def test_a_later_mount_covers_an_earlier_one(runtime: Runtime, bundle: MakeBundle, tree: Path) -> None:
    made = bundle().shell("ls /x")
    made.mounts += [mount("/x", "tmpfs", "tmpfs"), bind(tree, "/x/inner")]
    assert runtime.output(made) == "inner\n"


def test_an_overlay_can_be_mounted(runtime: Runtime, bundle: MakeBundle, workspace: Path) -> None:
    for name in ("low", "up", "work"):
        (workspace / name).mkdir()
    (workspace / "low/file").write_text("low")
    made = bundle().shell("cat /o/file; echo up > /o/file")
    options = [f"lowerdir={workspace}/low", f"upperdir={workspace}/up", f"workdir={workspace}/work"]
    made.mounts.append(mount("/o", "overlay", "overlay", *options))
    assert runtime.output(made) == "low"
    assert (workspace / "up/file").read_text() == "up\n"
    assert (workspace / "low/file").read_text() == "low"


def test_options_may_be_null_and_the_type_missing(runtime: Runtime, bundle: MakeBundle, tree: Path) -> None:
    made = bundle().shell("cat /x/file; test -d /y")
    made.mounts.append({"destination": "/x", "source": str(tree), "options": ["rbind"]})
    made.mounts.append({"destination": "/y", "type": "tmpfs", "source": "tmpfs", "options": None})
    assert runtime.output(made) == "of the host"


def test_a_tmpfs_keeps_the_mode_of_the_folder_it_covers(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("stat -c %a /kept /set")
    for name in ("kept", "set"):
        (made.rootfs / name).mkdir()
        (made.rootfs / name).chmod(0o2751 if name == "kept" else 0o700)
    made.mounts += [mount("/kept", "tmpfs", "tmpfs"), mount("/set", "tmpfs", "tmpfs", "mode=750")]
    kept, given = runtime.output(made).split()
    assert kept[-3:] == "751"
    assert given == "750"


def test_tmpcopyup_copies_what_was_there(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("cd /full; cat a/file; readlink link; stat -c '%u %a' a/file; echo x > new")
    made.capabilities("DAC_OVERRIDE")
    (made.rootfs / "full/a").mkdir(parents=True)
    (made.rootfs / "full/a/file").write_text("kept\n")
    (made.rootfs / "full/a/file").chmod(0o640)
    os.chown(made.rootfs / "full/a/file", 1000, 1000)
    (made.rootfs / "full/link").symlink_to("/etc/passwd")
    made.mounts.append(mount("/full", "tmpfs", "tmpfs", "tmpcopyup"))
    assert runtime.output(made) == "kept\n/etc/passwd\n1000 640\n"
    assert not (made.rootfs / "full/new").exists()


def test_nothing_mounted_inside_appears_on_the_host(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("SYS_ADMIN").shell("mount -t tmpfs tmpfs /tmp && touch /tmp/inside")
    accepts(runtime.run(made))
    assert not (made.rootfs / "tmp/inside").exists()


@pytest.mark.parametrize("mode", ["private", "slave", "unbindable", "shared"])
def test_the_root_has_the_propagation_asked_for(runtime: Runtime, bundle: MakeBundle, mode: str) -> None:
    made = bundle().args("cat", "/proc/self/mountinfo")
    made.linux["rootfsPropagation"] = mode
    root = next(line for line in runtime.output(made).splitlines() if line.split()[4] == "/")
    words = set(root.split(" - ")[0].split()[6:])
    marks = {word.split(":")[0] for word in words}
    assert marks == {"private": set(), "slave": marks - {"shared"}, "unbindable": {"unbindable"}}.get(
        mode, {"shared"}
    )


def test_an_unknown_propagation_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["rootfsPropagation"] = "sideways"
    done = runtime.create(made)
    if runtime.deviates("unknown-propagation"):
        accepts(done)
    else:
        refuses(runtime, done, "sideways")


@pytest.mark.parametrize(("option", "seen"), [("rshared", True), ("rslave", False), ("rprivate", False)])
def test_a_volume_propagates_to_the_host_only_when_shared(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, option: str, seen: bool
) -> None:
    volume = workspace / "volume"
    (volume / "place").mkdir(parents=True)
    subprocess.run(["mount", "--bind", str(volume), str(volume)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(volume)], check=True)
        runtime.shares_mounts = True
        made = (
            bundle().capabilities("SYS_ADMIN").shell("mount -t tmpfs tmpfs /v/place && touch /v/place/inside")
        )
        made.linux["rootfsPropagation"] = "shared" if seen else "rslave"
        made.mounts.append(bind(volume, "/v", "rbind", option))
        accepts(runtime.run(made))
        assert (volume / "place/inside").exists() == seen
    finally:
        subprocess.run(["umount", "-R", str(volume)], check=True)


@pytest.mark.requires("userns")
def test_no_mount_of_a_mapped_container_appears_on_a_host_that_shares_all_of_its_own(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = bundle().map_users().capabilities("SYS_ADMIN")
    top = made.path
    (top / "volume").mkdir()
    made.mounts.append(bind(top / "volume", "/v"))
    subprocess.run(["mount", "--bind", str(top), str(top)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(top)], check=True)  # as systemd makes /
        runtime.shares_mounts = True
        before = leftovers.mounts()
        runtime.sleeping(made)
        for place in ("/v", "/home"):
            accepts(runtime.exec(made.id, "mount", "-t", "tmpfs", "tmpfs", place))
        assert leftovers.mounts() == before
        accepts(runtime.delete(made.id, force=True))
    finally:
        subprocess.run(["umount", "-R", str(top)], check=True)


def test_the_hosts_tree_is_not_changed_by_mount_points_in_volumes(
    runtime: Runtime, bundle: MakeBundle, workspace: Path
) -> None:
    (workspace / "empty").mkdir()
    made = bundle()
    made.mounts += [bind(workspace / "empty", "/v", "ro")]
    accepts(runtime.run(made))
    assert list((workspace / "empty").iterdir()) == []
    made.mounts += [mount("/v/new", "tmpfs", "tmpfs")]
    done = runtime.run(made)
    assert (done.returncode == 0) == runtime.deviates("mount-point-in-read-only-volume")
    assert bool(list((workspace / "empty").iterdir())) == runtime.deviates("mount-point-in-read-only-volume")


def test_the_root_may_be_an_absolute_path_and_must_exist(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.config["root"]["path"] = str(made.rootfs)
    accepts(runtime.run(made))
    made.config["root"]["path"] = "/no/such/root"
    refuses(runtime, runtime.run(made), "/no/such/root")
