"""Masked and read-only paths, and the mounts of /proc and /sys that they cover.

Implements: runtime-spec, config-linux.md "Masked Paths" and "Readonly Paths".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")


def test_a_masked_file_is_the_null_device(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("stat -c '%t:%T' /etc/secret /proc/keys; cat /etc/secret; echo x > /etc/secret")
    (made.rootfs / "etc/secret").write_text("secret")
    made.linux["maskedPaths"].append("/etc/secret")
    assert runtime.output(made) == "1:3\n1:3\n"
    assert (made.rootfs / "etc/secret").read_text() == "secret"


def test_a_masked_folder_is_an_empty_read_only_tmpfs(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("ls -A /hidden; touch /hidden/new 2>&1; grep ' /hidden ' /proc/self/mountinfo")
    (made.rootfs / "hidden").mkdir()
    (made.rootfs / "hidden/treasure").write_text("secret")
    made.linux["maskedPaths"].append("/hidden")
    text = runtime.output(made)
    assert "treasure" not in text
    assert "Read-only file system" in text
    assert ("- tmpfs" in text) != runtime.deviates("masked-folder")


def test_a_missing_or_repeated_path_is_no_error(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["maskedPaths"] += ["/no/such/path", "/proc/kcore"]
    made.linux["readonlyPaths"] += ["/no/such/path", "/proc/sys"]
    accepts(runtime.run(made))


def test_a_read_only_path_cannot_be_written(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("SYS_ADMIN", "NET_ADMIN")
    made.shell("echo x > /proc/sys/kernel/hostname; touch /fixed/new; cat /fixed/old")
    (made.rootfs / "fixed").mkdir()
    (made.rootfs / "fixed/old").write_text("old")
    made.linux["readonlyPaths"].append("/fixed")
    done = runtime.run(made)
    assert done.stderr.count("Read-only file system") == 2
    assert done.stdout == "old"


def test_what_is_read_only_keeps_its_other_flags(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("cat", "/proc/self/mountinfo")
    next(entry for entry in made.mounts if entry["destination"] == "/proc")["options"] = [
        "nosuid",
        "noexec",
        "nodev",
    ]
    rows = {row.split()[4]: set(row.split()[5].split(",")) for row in runtime.output(made).splitlines()}
    assert {"ro", "nosuid", "noexec", "nodev"} <= rows["/proc/sys"]


def test_a_masked_link_is_resolved_inside_the_root(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("cat /proc/self/mountinfo")
    outside = made.path / "outside"
    outside.write_text("of the host")
    (made.rootfs / "link").symlink_to(outside)
    made.linux["maskedPaths"].append("/link")
    assert "outside" not in runtime.output(made)
    assert outside.read_text() == "of the host"


def test_sys_and_the_cgroups_are_read_only(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("SYS_ADMIN").namespace("cgroup")
    made.shell("mkdir /sys/fs/cgroup/new; echo 1 > /sys/kernel/uevent_seqnum")
    assert runtime.run(made).stderr.count("ead-only file system") == 2


def test_the_own_cgroup_is_the_root_of_the_mount(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().namespace("cgroup").shell("cat /sys/fs/cgroup/cgroup.procs; cat /proc/self/cgroup")
    text = runtime.output(made)
    assert text.splitlines()[0] == "1"
    assert "0::/\n" in text
