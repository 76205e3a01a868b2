"""What the asking commands print: state, list, ps, events, features, spec, version.

Implements: runtime-spec, runtime.md "State" and features.md; runc's forms, which callers parse.
"""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.needs import unmet
from tests.runtime.checks import accepts

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")


def created(runtime: Runtime, bundle: MakeBundle) -> Bundle:
    """Make a container that waits for start."""
    made = bundle()
    made.config["annotations"] = {"org.example.colour": "blue"}
    accepts(runtime.create(made))
    return made


def check_state(runtime: Runtime, shown: dict[str, Any], made: Bundle) -> None:
    """Assert every field of one container's state."""
    assert shown.get("ociVersion", "1." if runtime.deviates("short-list") else "").startswith("1.")
    assert (shown["id"], shown["status"], shown["bundle"]) == (made.id, "created", str(made.path))
    assert Path(f"/proc/{shown['pid']}").exists()
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(
        shown["created"][:19] + "+00:00"
    )
    assert -5 < age.total_seconds() < 300
    assert "owner" in shown
    if runtime.deviates("short-list"):
        assert shown.get("rootfs", "rootfs") == "rootfs"
    else:
        assert shown["rootfs"] == str(made.rootfs)


def test_state_shows_a_container_in_full(runtime: Runtime, bundle: MakeBundle) -> None:
    made = created(runtime, bundle)
    shown = runtime.state(made.id)
    check_state(runtime, shown, made)
    assert shown["annotations"]["org.example.colour"] == "blue"


def test_the_pid_of_a_stopped_container_is_zero(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.started(bundle())
    runtime.wait_stopped(name)
    assert runtime.state(name)["pid"] == 0


def test_list_has_a_json_form(runtime: Runtime, bundle: MakeBundle) -> None:
    first, second = created(runtime, bundle), created(runtime, bundle)
    listed = {entry["id"]: entry for entry in json.loads(runtime.succeed("list", "--format", "json").stdout)}
    assert set(listed) == {first.id, second.id}
    check_state(runtime, listed[first.id], first)


def test_an_empty_list_is_still_json(runtime: Runtime) -> None:
    assert json.loads(runtime.succeed("list", "-f", "json").stdout) in ([], None)


def test_list_has_a_table_and_a_quiet_form(runtime: Runtime, bundle: MakeBundle) -> None:
    made = created(runtime, bundle)
    assert runtime.succeed("list", "-q").stdout == made.id + "\n"
    head, row = runtime.succeed("list").stdout.splitlines()
    assert head.replace("BUNDLE PATH", "BUNDLE").split()[1:] == [
        "PID",
        "STATUS",
        "BUNDLE",
        "CREATED",
        "OWNER",
    ]
    assert row.split()[:4] == [made.id, str(runtime.pid(made.id)), "created", str(made.path)]


def test_ps_gives_the_hosts_numbers_of_all_processes(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.started(bundle().shell("sleep 1000 & : > /ready; wait"))
    accepts(runtime.exec(name, "sh", "-c", "until test -e /ready; do sleep 0.05; done"))
    pids = json.loads(runtime.succeed("ps", "--format", "json", name).stdout)
    assert runtime.pid(name) in pids
    assert len(pids) == 2
    assert pids == sorted(pids)


def test_ps_gives_a_table_of_ps(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    lines = runtime.succeed("ps", name).stdout.splitlines()
    assert any(str(runtime.pid(name)) in line.split() for line in lines[1:])
    assert len(lines) == 2
    if runtime.deviates("ps-table"):
        assert lines[0].split() == ["PID"]
        return
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    words = runtime.succeed("ps", name, "-o", "pid,comm").stdout.split()
    assert words == ["PID", "COMMAND", str(runtime.pid(name)), "sleep"]


def test_events_gives_the_stats_of_the_cgroup(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    done = runtime.call("events", "--stats", name)
    if runtime.deviates("events"):
        assert done.returncode == 1
        return
    shown = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert (shown["type"], shown["id"]) == ("stats", name)
    assert {"cpu", "memory", "pids", "blkio", "hugetlb"} <= set(shown["data"])
    assert shown["data"]["cpu"]["usage"]["total"] > 0
    assert shown["data"]["pids"]["current"] == 1


def test_events_goes_on_until_the_container_ends(runtime: Runtime, bundle: MakeBundle) -> None:
    if runtime.deviates("events"):
        assert runtime.call("events", "x").returncode == 1
        return
    name = runtime.sleeping(bundle())
    if runtime.deviates("events-need-memory") and unmet("controller:memory"):
        assert runtime.call("events", name).returncode == 1
        return
    read, write = os.pipe()
    watching = runtime.spawn("events", "--interval", "1s", name, stdout=write)
    os.close(write)
    with os.fdopen(read) as lines:
        assert json.loads(lines.readline())["type"] == "stats"
        accepts(runtime.kill(name, "KILL"))
        assert all(json.loads(line)["id"] == name for line in lines)
    watching.wait(60)


def test_features_says_what_the_runtime_can(runtime: Runtime) -> None:
    shown = json.loads(runtime.succeed("features").stdout)
    assert shown["ociVersionMin"] == "1.0.0"
    assert shown["hooks"] == [
        "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
    ]  # fmt: skip
    assert {"ro", "rro", "rbind", "tmpcopyup"} <= set(shown["mountOptions"])
    assert {"cgroup", "ipc", "mount", "network", "pid", "user", "uts"} <= set(shown["linux"]["namespaces"])
    assert "CAP_SYS_ADMIN" in shown["linux"]["capabilities"]
    assert shown["linux"]["cgroup"]["v2"] is True
    assert shown["linux"]["seccomp"]["enabled"] is True
    assert shown["linux"]["mountExtensions"]["idmap"]["enabled"] is True
    assert shown["potentiallyUnsafeConfigAnnotations"]


def test_version_is_told_by_flag(runtime: Runtime) -> None:
    done = runtime.succeed("--version")
    assert "version" in done.stdout
    assert "spec: 1." in done.stdout


def test_spec_writes_a_config_that_runs(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    accepts(runtime.call("spec", "--bundle", str(made.path)))
    config = json.loads((made.path / "config.json").read_text())
    assert config["process"]["args"] == ["sh"]
    assert config["process"]["terminal"] is True
    config["process"] |= {"terminal": False, "args": ["true"]}
    config["linux"]["cgroupsPath"] = "/" + made.id
    made.config = config
    accepts(runtime.run(made))


def test_spec_overwrites_nothing(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().save()
    before = (made.path / "config.json").read_text()
    assert runtime.call("spec", "--bundle", str(made.path)).returncode == 1
    assert (made.path / "config.json").read_text() == before


def test_spec_has_a_rootless_form(runtime: Runtime, workspace: Path) -> None:
    accepts(runtime.call("spec", "--rootless", "--bundle", str(workspace)))
    config = json.loads((workspace / "config.json").read_text())
    kinds = {entry["type"] for entry in config["linux"]["namespaces"]}
    assert "user" in kinds
    assert ("network" in kinds) == runtime.deviates("rootless-network")
    assert ("uidMappings" not in config["linux"]) == runtime.deviates("rootless-network")


def test_checkpoint_is_not_supported_or_has_help(runtime: Runtime) -> None:
    done = runtime.call("checkpoint", "--help")
    assert (done.returncode == 0) == runtime.deviates("checkpoint")


def test_a_config_with_unknown_properties_runs(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.config["org.example.extension"] = {"deep": [1]}
    made.process["novelty"] = True
    made.linux["novelty"] = None
    accepts(runtime.run(made))


@pytest.mark.parametrize("version", ["1.0.2-dev", "1.2.1", "1.0.0"])
def test_any_version_one_of_the_spec_is_accepted(runtime: Runtime, bundle: MakeBundle, version: str) -> None:
    made = bundle()
    made.config["ociVersion"] = version
    accepts(runtime.run(made))
