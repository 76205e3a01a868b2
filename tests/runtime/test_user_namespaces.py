"""User namespaces: mapped ids, what root inside may do, and files that keep or shift their owners.

Implements: runtime-spec, config-linux.md "User namespace mappings" and config.md mount "uidMappings";
user_namespaces(7).
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.bundles import bind
from tests.runtime.checks import accepts, refuses

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2", "userns")

SHIFT = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def test_the_maps_are_the_configs(runtime: Runtime, bundle: MakeBundle) -> None:
    made = (
        bundle()
        .map_users()
        .shell("cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups; id -u")
    )
    words = runtime.output(made).split()
    assert words == ["0", "100000", "65536"] * 2 + ["allow", "0"]


def test_several_ranges_are_mapped(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().map_users().shell("cat /proc/self/uid_map")
    made.linux["uidMappings"] = [
        {"containerID": 0, "hostID": 100000, "size": 10},
        {"containerID": 10, "hostID": 200000, "size": 10},
    ]
    assert runtime.output(made).split() == ["0", "100000", "10", "10", "200000", "10"]


def test_root_inside_owns_what_the_mapped_id_owns_outside(runtime: Runtime, bundle: MakeBundle) -> None:
    made = (
        bundle().map_users().capabilities("CHOWN").shell("stat -c %u /etc/passwd; touch /new; chown 5 /new")
    )
    assert runtime.output(made) == "0\n"
    assert (made.rootfs / "new").stat().st_uid == 100005


def test_another_user_inside_is_mapped_too(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().map_users().shell("id -u; touch /tmp/mine")
    made.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [50]}
    assert runtime.output(made) == "1000\n"
    assert (made.rootfs / "tmp/mine").stat().st_uid == 101000


def test_root_inside_is_nobody_outside(runtime: Runtime, bundle: MakeBundle, workspace: Path) -> None:
    (workspace / "private").mkdir(mode=0o700)
    (workspace / "private/secret").write_text("host's")
    made = bundle().map_users().shell("cat /host/secret; ls -ldn /host")
    made.mounts.append(bind(workspace / "private", "/host"))
    done = runtime.run(made)
    assert "host's" not in done.stdout
    assert "65534" in done.stdout


def test_exec_joins_the_user_namespace(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle().map_users())
    done = runtime.exec(name, "cat", "/proc/self/uid_map")
    accepts(done)
    assert done.stdout.split() == ["0", "100000", "65536"]


def test_the_terminal_and_the_devices_work(runtime: Runtime, bundle: MakeBundle) -> None:
    made = (
        bundle()
        .map_users()
        .shell("echo x > /dev/null; head -c 3 /dev/zero | od -An -c; ls -ld /dev/pts /dev/fd")
    )
    text = runtime.output(made)
    assert text.count(r"\0") == 3


def test_sys_can_be_the_hosts_where_the_network_is(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().map_users().without_namespace("network").without_mount("/sys").args("ls", "/sys/kernel")
    made.mounts.append(bind("/sys", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro"))
    done = runtime.run(made)
    accepts(done)


@pytest.mark.parametrize("field", ["uidMappings", "gidMappings"])
def test_a_new_user_namespace_needs_mappings(runtime: Runtime, bundle: MakeBundle, field: str) -> None:
    made = bundle().map_users()
    del made.linux[field]
    done = runtime.create(made)
    if field == "uidMappings" and runtime.deviates("no-uid-mappings"):
        accepts(done)
    else:
        refuses(runtime, done)


def test_a_user_namespace_can_be_joined(runtime: Runtime, bundle: MakeBundle) -> None:
    first = bundle().map_users()
    name = runtime.sleeping(first)
    second = bundle().map_users().namespace("user", f"/proc/{runtime.pid(name)}/ns/user")
    del second.linux["uidMappings"], second.linux["gidMappings"]
    assert runtime.output(second.args("cat", "/proc/self/uid_map")).split() == ["0", "100000", "65536"]


def shifted(bundle: MakeBundle, **mapping: Any) -> Bundle:
    """Make a container with a volume whose file 7 belongs to uid 7 of the host, mounted with `mapping`."""
    made = bundle()
    volume = made.path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    (volume / "seven").write_text("7")
    os.chown(volume / "seven", 7, 7)
    made.mounts.append(bind(volume, "/volume", "bind") | mapping)
    return made


@pytest.mark.requires("kernel:5.12")
def test_a_mount_can_shift_owners_without_a_user_namespace(runtime: Runtime, bundle: MakeBundle) -> None:
    mapping = [{"containerID": 0, "hostID": 1000, "size": 100}]
    made = shifted(bundle, uidMappings=mapping, gidMappings=copy.deepcopy(mapping))
    made.shell("stat -c %u /volume/seven")
    assert runtime.output(made) == "1007\n"


@pytest.mark.requires("kernel:5.12")
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_a_mount_can_keep_owners_in_a_user_namespace(
    runtime: Runtime, bundle: MakeBundle, option: str
) -> None:
    made = shifted(bundle, uidMappings=SHIFT, gidMappings=SHIFT).map_users()
    made.mounts[-1]["options"] += ["rbind", option]
    made.shell("stat -c %u /volume/seven; touch /volume/new")
    assert runtime.output(made) == "7\n"
    assert (made.path / "volume/new").stat().st_uid == 0


@pytest.mark.requires("kernel:5.12")
def test_an_idmap_without_mappings_takes_the_containers(runtime: Runtime, bundle: MakeBundle) -> None:
    made = shifted(bundle).map_users()
    made.mounts[-1]["options"].append("idmap")
    made.shell("stat -c %u /volume/seven")
    assert runtime.output(made) == "7\n"
