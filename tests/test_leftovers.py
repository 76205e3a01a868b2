"""`leaves_no_trace` must see what a careless test leaves, and wait for what the kernel takes down later."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leftovers, needs

pytest_plugins = ["pytester"]
ONCE = 0.0


def seen(*, deadline: float = ONCE, before: leftovers.Snapshot) -> str:
    """Give the complaint about what differs from `before`."""
    with pytest.raises(leftovers.LeftBehindError) as complaint:
        leftovers.demand_no_trace(before, deadline)
    return str(complaint.value)


def test_nothing_done_is_nothing_left() -> None:
    with leftovers.no_trace(deadline=ONCE):
        pass


def test_a_child_that_still_runs_is_left_behind() -> None:
    before = leftovers.take()
    with subprocess.Popen(["cat", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"cat runs\n")
        child.stdout.readline()
        complaint = seen(before=before)
        child.kill()
    assert complaint.startswith(f"left behind: process {child.pid} since tick ")
    assert complaint.endswith(": cat -")
    leftovers.demand_no_trace(before)


def test_an_orphan_is_ours_too_and_is_reaped_when_it_ends() -> None:
    before = leftovers.take()
    orphan = int(subprocess.check_output(["sh", "-c", "sleep 1000 > /dev/null & echo $!"]))
    assert f"left behind: process {orphan} since" in seen(before=before)
    os.kill(orphan, 9)
    leftovers.demand_no_trace(before)
    assert not Path(f"/proc/{orphan}").exists()


def test_a_process_in_a_snapshot_may_end() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        before = leftovers.take()
        child.kill()
    leftovers.demand_no_trace(before, ONCE)


def test_a_process_that_a_snapshot_has_overlooked_is_not_left_behind() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        (process,) = (name for name in leftovers.processes() if name.startswith(f"{child.pid} "))
        tick = leftovers.started(process)
        while (before := leftovers.take()).tick <= tick:
            time.sleep(0.001)
        before["process"].remove(process)
        leftovers.demand_no_trace(before, ONCE)
        before.tick = tick  # as if it had been started after the snapshot
        assert f"left behind: process {process}: sleep 1000" in seen(before=before)
        child.kill()


def test_what_vanishes_is_reported_as_well() -> None:
    before, after = leftovers.take(), leftovers.take()
    before["mount"].add("/there")
    assert leftovers.differences(before, after) == ["taken away: mount /there"]


def test_it_waits_for_what_ends_a_little_later() -> None:
    before = leftovers.take()
    with subprocess.Popen(["sleep", "1000"]) as child:
        threading.Timer(0.1, child.kill).start()
        leftovers.demand_no_trace(before)


def test_the_state_of_a_container_is_a_directory_and_the_interpreter_is_not_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "STATE", tmp_path)
    (tmp_path / "interpreter").mkdir()
    (tmp_path / "lock").touch()
    before = leftovers.take()
    assert before["container state"] == set()
    (tmp_path / "web").mkdir()
    assert seen(before=before) == "left behind: container state web"


def test_systemds_own_groups_do_not_count() -> None:
    assert leftovers.NOT_OURS.search("/system.slice/cron.service")
    assert leftovers.NOT_OURS.search("/user.slice/user-1000.slice/session-3.scope")
    assert not leftovers.NOT_OURS.search("/user.slice/user-1000.slice/session-3.scope/minicontainer/web")
    assert not leftovers.NOT_OURS.search("/machine.slice/libpod-web.scope")


@pytest.fixture
def mountpoint(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=False, capture_output=True)


@pytest.mark.requires("root")
def test_a_mount_is_left_behind_even_if_it_hides_the_same_one(mountpoint: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "leak", mountpoint], check=True)
    once = leftovers.take()
    subprocess.run(["mount", "-t", "tmpfs", "leak", mountpoint], check=True)
    assert f"left behind: mount {mountpoint} (tmpfs leak, / of it, mount" in seen(before=once)
    subprocess.run(["umount", mountpoint], check=True)
    leftovers.demand_no_trace(once)
    subprocess.run(["umount", mountpoint], check=True)
    assert f"taken away: mount {mountpoint}" in seen(before=once)


@pytest.mark.requires("root", "cgroup2")
def test_a_cgroup_is_left_behind() -> None:
    tree = needs.cgroup2_tree()
    assert tree
    group = tree / f"minicontainer-test-{os.getpid()}"
    before = leftovers.take()
    group.mkdir()
    try:
        assert f"left behind: cgroup /{group.name}" in seen(before=before).splitlines()
    finally:
        group.rmdir()
    leftovers.demand_no_trace(before)


@pytest.mark.requires("root", "cgroup2")
def test_a_cgroup_in_which_others_work_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = needs.cgroup2_tree()
    assert tree
    group = tree / f"minicontainer-test-{os.getpid()}"
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        group.mkdir()
        try:
            (group / "cgroup.procs").write_text(str(child.pid))
            assert not leftovers.is_of_others(f"/{group.name}")
            monkeypatch.setattr(leftovers, "descendants", lambda _: ())
            assert leftovers.is_of_others(f"/{group.name}")
        finally:
            child.kill()
            child.wait()
            group.rmdir()


@pytest.mark.requires("root", "tool:ip")
def test_network_links_and_namespaces_are_left_behind() -> None:
    link, namespace = f"mct{os.getpid()}", f"minicontainer-{os.getpid()}"
    before = leftovers.take()
    try:
        subprocess.run(["ip", "link", "add", link, "type", "veth", "peer", "name", f"{link}p"], check=True)
        subprocess.run(["ip", "netns", "add", namespace], check=True)
        complaint = seen(before=before)
    finally:
        subprocess.run(["ip", "link", "del", link], check=False)
        subprocess.run(["ip", "netns", "del", namespace], check=False)
    assert f"left behind: network link {link}\nleft behind: network link {link}p" in complaint
    assert f"left behind: network namespace {namespace}" in complaint


@pytest.mark.requires("root", "tool:nft")
def test_a_table_of_nftables_is_left_behind() -> None:
    table = f"minicontainer-test-{os.getpid()}"
    before = leftovers.take()
    subprocess.run(["nft", "add", "table", "inet", table], check=True)
    try:
        assert seen(before=before) == f"left behind: nftables table {table}"
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)
    leftovers.demand_no_trace(before)


def test_a_careless_test_fails_at_its_end(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
        "from tests.conftest import *\n"
        "leftovers.demand_no_trace.__defaults__ = leftovers.no_trace.__wrapped__.__defaults__ = (0.0,)\n"
        "needs.PLAIN['root'] = lambda: True\n"
    )
    pytester.makepyfile(
        """
        import atexit, subprocess, pytest
        @pytest.fixture
        def child(): atexit.register(subprocess.Popen(["sleep", "30"]).kill)
        @pytest.mark.requires("root")
        def test_careless(child): pass
        def test_not_watched(child): pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "ignore")
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_careless*", "*left behind: process *sleep 30"])
    result.assert_outcomes(passed=2, errors=2)
