"""R21, R26, R32, R35: ids, parameters, cgroups and namespaces named to lead out of the container."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.bundles import bind, mount
from tests.runtime.checks import accepts, refuses
from tests.runtime.runtimes import cgroup2_root
from tests.runtime.security.attacks import fingerprint, victim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

UP = "../../../../../../../../../.."
CANARY = Path("/proc/sys/vm/swappiness")


# --- R21: kernel parameters ----------------------------------------------------------------------


@pytest.fixture
def swappiness() -> Iterator[str]:
    """Give a parameter of the whole host, and put it back if an attack succeeds."""
    before = CANARY.read_text()
    yield before
    if CANARY.read_text() != before:
        CANARY.write_text(before)


@pytest.mark.parametrize(
    "name",
    [
        "vm.swappiness",
        "vm/swappiness",
        "/proc/sys/vm/swappiness",
        "net/../vm/swappiness",
        "net.ipv4.ip_forward/../../../vm/swappiness",
        "net/../../sys/vm/swappiness",
        "fs.mqueue/../../vm/swappiness",
        "kernel.msgmax/../../vm/swappiness",
        "net.ipv4.ip_forward\nvm.swappiness",
        "+vm.swappiness",
        "net.ipv4.ip_forward ",
    ],
)
def test_no_name_of_a_parameter_leads_to_the_hosts(
    runtime: Runtime, bundle: MakeBundle, swappiness: str, name: str
) -> None:
    made = bundle().args("true")
    made.linux["sysctl"] = {name: "13"}
    refuses(runtime, runtime.run(made))
    assert CANARY.read_text() == swappiness


def test_a_value_sets_no_second_parameter(runtime: Runtime, bundle: MakeBundle, swappiness: str) -> None:
    made = bundle().args("cat", "/proc/sys/kernel/domainname")
    made.linux["sysctl"] = {"kernel.domainname": "a\nvm.swappiness=13"}
    runtime.run(made)
    assert CANARY.read_text() == swappiness


# --- R26: ids ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["../decoy", "./../decoy", "{folder}/decoy", "{name}/../../decoy", "link/../decoy"]
)
def test_no_id_leads_any_command_out_of_the_state_root(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, form: str
) -> None:
    """A copy of a real state lies outside: whatever believes in it acts on the container."""
    name = runtime.sleeping(bundle())
    shutil.copytree(runtime.root / name, workspace / "decoy", ignore=lambda _, names: [
        entry for entry in names if entry in {"start", "result", "exec.fifo", "notify"}
    ])  # fmt: skip
    before = fingerprint(workspace / "decoy")
    evil = form.format(folder=workspace, name=name)
    for argv in (["state", evil], ["start", evil], ["pause", evil], ["resume", evil], ["ps", evil]):
        refused = runtime.call(*argv)
        assert refused.returncode != 0
        assert not refused.stdout
    assert runtime.call("exec", evil, "true").returncode != 0
    assert runtime.call("update", "--pids-limit", "7", evil).returncode != 0
    assert runtime.call("kill", evil, "KILL").returncode != 0
    runtime.call("delete", "--force", evil)
    assert fingerprint(workspace / "decoy") == before
    assert runtime.status(name) == "running"


@pytest.mark.parametrize(
    "name", ["..", ".", "a\0b", "a\x1b[2J", "-x", "--root", "$(touch evil)", "a b", "a;b"]
)
def test_no_id_makes_anything_outside_of_the_state_root(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, name: str
) -> None:
    made = bundle().args("true").save()
    before = {path.name for path in workspace.iterdir()}
    if "\0" in name:
        with pytest.raises(ValueError, match="null byte"):
            runtime.call("create", "--bundle", str(made.path), name)
        return
    done = runtime.call("create", "--bundle", str(made.path), "--", name)
    if name.startswith("-") and runtime.deviates("id-like-a-flag"):
        assert done.returncode == 0
        runtime.call("delete", "--force", "--", name)
        return
    refuses(runtime, done)
    assert ("\x1b" in done.stderr) == ("\x1b" in name and runtime.deviates("own-words"))
    left = {path.name for path in workspace.iterdir()} - before
    assert not [entry for entry in left if not entry.startswith("call-")]
    assert [entry.name for entry in runtime.root.iterdir() if not entry.name.startswith(".")] == []


# --- R32: the host's own mount namespace -----------------------------------------------------------


@pytest.mark.parametrize("path", [None, "/proc/self/ns/mnt"])
def test_the_hosts_mount_namespace_is_no_containers(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, path: str | None
) -> None:
    """All calls happen in a private copy of the host's mounts: an attack that succeeds must not matter."""
    top = victim(workspace)
    before, mounts = fingerprint(top), Path("/proc/self/mountinfo").read_text()
    made = bundle().without_namespace("mount").args("true")
    if path:
        made.namespace("mount", path)
    made.mounts += [bind(top, "/v"), mount(f"/v/{top.name}", "tmpfs", "tmpfs")]
    enclosed = ["unshare", "--mount", "--propagation", "private"]
    script = '"$@"; code=$?; test -x /usr/bin/env || echo the root is gone; exit $code'
    real = runtime.argv
    runtime.argv = lambda *words: [*enclosed, "sh", "-c", script, "sh", *real(*words)]  # type: ignore[method-assign]
    try:
        done = runtime.run(made)
    finally:
        runtime.argv = real  # type: ignore[method-assign]
    if path and runtime.deviates("hosts-mount-namespace"):
        assert done.returncode == 0 or "no such file or directory" in done.stderr.lower()
    else:
        assert (done.returncode == 0) == (not path and runtime.deviates("no-mount-namespace")), done.stderr
    assert Path("/proc/self/mountinfo").read_text() == mounts
    if runtime.kind == "ours":
        assert "gone" not in done.stdout
        assert fingerprint(top) == before


# --- R35: cgroups --------------------------------------------------------------------------------


def remove_empty(group: Path, tree: Path) -> None:
    """Remove an empty cgroup, and the ones above it that are empty then."""
    while group != tree and group.exists() and not any(path.is_dir() for path in group.iterdir()):
        group.rmdir()
        group = group.parent


@pytest.mark.parametrize(
    "form",
    ["{up}{out}/evil", "/{up}{out}/evil", "../evil", "{id}/../../evil", "..", "/..", "{id}/..//../{id}"],
)
def test_no_cgroups_path_leads_out_of_the_tree(
    runtime: Runtime, bundle: MakeBundle, workspace: Path, form: str
) -> None:
    tree = cgroup2_root()
    made = bundle().args("true")
    made.linux["cgroupsPath"] = form.format(up=UP, out=workspace, id=made.id)
    places = (tree.parent, Path("/sys/fs"), workspace.parent / "evil")
    around = [set(place.glob("*")) for place in places]
    done = runtime.run(made)
    runtime.delete(made.id, force=True)
    made.linux["cgroupsPath"] = f"/{made.id}"
    if runtime.deviates("cgroups-path-dots"):
        remove_empty(tree / workspace.relative_to("/"), tree)  # the way to evil: delete removes only evil
    else:
        refuses(runtime, done, "cgroupsPath")
    if (workspace / "evil").exists() and runtime.deviates("cgroups-path-out"):
        (workspace / "evil").rmdir()
    after = [set(place.glob("*")) for place in places]
    assert after == around
    assert not (workspace / "evil").exists()


def test_no_annotation_leads_out_of_the_tree(runtime: Runtime, bundle: MakeBundle, workspace: Path) -> None:
    made = bundle().args("cat", "/proc/self/cgroup")
    made.namespace("cgroup")
    made.config["annotations"] = {
        "run.oci.systemd.subgroup": f"{UP}{workspace}/evil",
        "run.oci.delegate-cgroup": f"{UP}{workspace}/evil",
        "org.systemd.property.Slice": "'../../evil.slice'",
    }
    runtime.run(made)
    assert not (workspace / "evil").exists()
    assert "evil" not in json.dumps([path.name for path in cgroup2_root().iterdir()])
    accepts(runtime.run(bundle()))
