"""Devices: the default ones, listed ones, and the filter that decides what may be opened.

Implements: runtime-spec, config-linux.md "Devices", "Default Devices" and "Allowed Device list".
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.checks import accepts, refuses

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

DENY_ALL = {"allow": False, "access": "rwm"}
KMSG: dict[str, Any] = {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}
OPEN_KMSG = "head -c 0 /dev/kmsg && echo opened"


def test_the_default_devices_and_links_are_there(runtime: Runtime, bundle: MakeBundle) -> None:
    nodes = "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' $d; done"
    links = "for l in fd stdin stdout stderr ptmx; do readlink $l; done"
    script = f"cd /dev; {nodes}; {links}"
    lines = runtime.output(bundle().shell(script)).splitlines()
    assert lines[:6] == [
        "null 1:3 666", "zero 1:5 666", "full 1:7 666", "random 1:8 666", "urandom 1:9 666", "tty 5:0 666",
    ]  # fmt: skip
    assert lines[6:10] == ["/proc/self/fd", *(f"/proc/self/fd/{number}" for number in range(3))]
    assert lines[10] in {"pts/ptmx", "/dev/pts/ptmx"}


def test_a_read_only_dev_still_gets_its_devices(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("echo x > /dev/null && stat -c %t:%T /dev/mine; readlink /dev/fd; touch /dev/new")
    next(entry for entry in made.mounts if entry["destination"] == "/dev")["options"].append("ro")
    made.linux["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}]
    done = runtime.run(made)
    assert done.stdout.split() == ["1:5", "/proc/self/fd"]
    assert "Read-only file system" in done.stderr


def test_the_default_devices_work_under_a_deny_all_rule(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell(
        "echo x > /dev/null; head -c 2 /dev/zero | wc -c; head -c 2 /dev/urandom | wc -c; echo x > /dev/full"
    )
    made.linux["resources"]["devices"] = [DENY_ALL, DENY_ALL]
    done = runtime.run(made)
    assert done.stdout.split() == ["2", "2"]
    assert "No space left" in done.stderr


def test_a_listed_device_is_made_as_asked_regardless_of_umask(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("stat -c '%F %t:%T %a %u %g' /dev/mine /dev/sub/pipe /dev/block")
    made.linux["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o622, "uid": 5, "gid": 6},
        {"path": "/dev/sub/pipe", "type": "p", "fileMode": 0o600},
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 0, "fileMode": 0o640},
    ]
    lines = runtime.output(made, umask=0o077).splitlines()
    assert lines == [
        "character special file 1:5 622 5 6",
        "fifo 0:0 600 0 0",
        "block special file 7:0 640 0 0",
    ]


def test_a_listed_device_may_be_a_default_one(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("stat -c '%t:%T' /dev/null; echo x > /dev/null")
    made.linux["devices"] = [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]
    if runtime.deviates("listed-default-device"):
        assert runtime.run(made).returncode == 1
    else:
        assert runtime.output(made) == "1:3\n"


def test_a_device_of_an_unknown_kind_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["devices"] = [{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]
    done = runtime.create(made)
    if runtime.deviates("unknown-device-kind"):
        accepts(done)
    else:
        refuses(runtime, done)


def test_what_no_rule_allows_cannot_be_opened(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("SYSLOG", "MKNOD").shell(OPEN_KMSG)
    made.linux["devices"] = [KMSG]
    done = runtime.run(made)
    assert "Operation not permitted" in done.stderr
    made.linux["resources"]["devices"] = [
        DENY_ALL,
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
    ]
    assert runtime.output(made) == "opened\n"


@pytest.mark.vm
def test_the_last_rule_that_matches_decides(runtime: Runtime, bundle: MakeBundle) -> None:
    allow: dict[str, Any] = {"allow": True, "type": "c", "major": 1, "access": "rw"}
    for rules, opens in (
        ([DENY_ALL, allow, {**allow, "allow": False, "minor": 11}], False),
        ([DENY_ALL, {**allow, "allow": False, "minor": 11}, allow], True),
        ([{"allow": True, "access": "rwm"}], True),
    ):
        made = bundle().capabilities("SYSLOG").shell(OPEN_KMSG)
        made.linux["devices"] = [KMSG]
        made.linux["resources"]["devices"] = rules
        assert (runtime.run(made).stdout == "opened\n") == opens, rules


def test_any_device_can_be_made_but_not_opened(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("MKNOD", "SYSLOG")
    made.shell("mknod /tmp/kmsg c 1 11 && mknod /tmp/disk b 254 0 && echo made; cat /tmp/kmsg /tmp/disk")
    done = runtime.run(made)
    assert done.stdout == "made\n"
    assert done.stderr.count("Operation not permitted") == 2


@pytest.mark.vm
def test_an_update_keeps_the_default_devices_and_the_denials(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("SYSLOG")
    made.linux["devices"] = [KMSG]
    name = runtime.sleeping(made)
    for _ in range(2):
        accepts(runtime.call("update", "--resources", "-", name, text=json.dumps({"devices": [DENY_ALL]})))
        done = runtime.exec(name, "sh", "-c", f"echo x > /dev/null && echo null; {OPEN_KMSG}")
        assert done.stdout == "null\n"


def test_a_device_is_bound_where_it_cannot_be_made(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().map_users()
    made.linux["devices"] = [{"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}]
    made.shell("stat -c '%t:%T' /dev/null /dev/zero; head -c 2 /dev/zero | wc -c")
    read = "0" if runtime.deviates("listed-default-device") else "2"
    assert runtime.output(made).split() == ["1:3", "1:5", read]


def test_devices_of_the_root_file_system_are_covered(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("stat -c '%t:%T' /dev/null")
    os.mknod(made.rootfs / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    assert runtime.output(made) == "1:3\n"
