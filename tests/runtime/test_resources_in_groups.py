"""Making a limited group: where it lies, which controllers it is handed, what an update changes."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from minicontainer.errors import Conflict, KernelError, NotFound, SpecError, Unsupported
from minicontainer.runtime import cgroup, cgroup_limits, cgroup_paths, cgroup_processes
from tests.runtime.cgroup_tree import FakeTree

MIB = 1 << 20
ALL = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "misc")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTree:
    """Give a tree with every controller, and no device filters."""
    monkeypatch.setattr(cgroup_limits, "filter_devices", lambda *_: None)
    return FakeTree(tmp_path, monkeypatch, *ALL)


def limited(resources: dict[str, Any], path: str = "/mini/c") -> cgroup.Group:
    """Make a group with these limits."""
    group = cgroup.create_group(path, resources)
    assert group is not None
    cgroup_limits.apply_resources(group, resources)
    return group


# --- where it lies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "systemd", "path"),
    [
        ("", False, "/minicontainer/c1"),
        ("/libpod_parent/libpod-1", False, "/libpod_parent/libpod-1"),
        ("//a/./b/", False, "/a/b"),
        ("pod/c", False, "/user.slice/pod/c"),
        ("", True, "/system.slice/minicontainer-c1.scope"),
        ("machine.slice:libpod:1", True, "/machine.slice/libpod-1.scope"),
        ("kubepods-besteffort-pod1.slice:cri:2", True,
         "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-2.scope"),
        ("-.slice:x:3", True, "/x-3.scope"),
        (":x:4", True, "/system.slice/x-4.scope"),
    ],
)  # fmt: skip
def test_the_path_is_the_one_that_runc_takes(
    monkeypatch: pytest.MonkeyPatch, asked: str, systemd: bool, path: str
) -> None:
    monkeypatch.setattr(cgroup_paths, "own_cgroup", lambda: "/user.slice/session-1.scope")
    monkeypatch.setattr(cgroup_paths, "in_user_namespace", lambda: False)
    assert cgroup_paths.cgroup_path({"linux": {"cgroupsPath": asked}}, "c1", systemd) == path


def test_in_a_user_namespace_the_default_lies_beside_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup_paths, "own_cgroup", lambda: "/user.slice/session-1.scope")
    monkeypatch.setattr(cgroup_paths, "in_user_namespace", lambda: True)
    assert cgroup_paths.cgroup_path({}, "c1", False) == "/user.slice/c1"


@pytest.mark.parametrize(
    ("asked", "systemd"),
    [
        ("../../etc", False), ("/a/../../b", False), ("..", False), ("/", False), ("/./", False),
        ("/a/b", True), ("a.slice:b", True), ("a.slice:b:c:d", True), ("a.slice:b:", True),
        ("a/b.slice:c:d", True), ("a--b.slice:c:d", True), ("-a.slice:c:d", True), ("a:c:d", True),
        (".slice:c:d", True), ("..:c:d", True), ("a.slice:c:d.slice", True), ("a.slice:../c:d", True),
    ],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused(asked: str, systemd: bool) -> None:
    with pytest.raises(SpecError, match=r"linux\.cgroupsPath"):
        cgroup_paths.cgroup_path({"linux": {"cgroupsPath": asked}}, "c1", systemd)


# --- making -------------------------------------------------------------------------------------------------


def test_exactly_the_controllers_asked_for_are_handed_down(tree: FakeTree) -> None:
    limited({"memory": {"limit": MIB}, "pids": {"limit": 5}, "cpu": {"shares": 1024}}, "/a/b/c").close()
    assert tree.writes == [
        ("/", "cgroup.subtree_control", "+memory +pids"),
        ("/a", "cgroup.subtree_control", "+memory +pids"),
        ("/a/b", "cgroup.subtree_control", "+memory +pids"),
        ("/a/b/c", "pids.max", "5"),
        ("/a/b/c", "memory.max", str(MIB)),
    ]


def test_what_is_handed_down_already_is_not_written_again(tree: FakeTree) -> None:
    (tree.top / "cgroup.subtree_control").write_text("memory io\n")
    limited({"memory": {"limit": MIB}}).close()
    assert [write[0] for write in tree.writes if write[1] == "cgroup.subtree_control"] == ["/mini"]


def test_a_container_without_limits_is_handed_nothing(tree: FakeTree) -> None:
    group = limited({"cpu": {"shares": 1024}, "memory": {"limit": -1}, "pids": {"limit": -1}})
    assert (group.path, group.made) == ("/mini/c", ["/mini", "/mini/c"])
    group.close()
    assert tree.writes == []


@pytest.mark.parametrize(
    ("resources", "name"),
    [
        ({"memory": {"limit": MIB}}, "memory"),
        ({"pids": {"limit": 5}, "cpu": {"quota": 100}}, "cpu"),
        ({"rdma": {"mlx": {"hcaObjects": 1}}}, "rdma"),
        ({"unified": {"misc.max": "sev 1"}}, "misc"),
    ],
)
def test_a_missing_controller_is_named_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resources: dict[str, Any], name: str
) -> None:
    tree = FakeTree(tmp_path, monkeypatch, "pids")
    with pytest.raises(Unsupported, match=f"controller {name} is not available"):
        cgroup.create_group("/mini/c", resources)
    assert (tree.groups(), tree.writes) == ([], [])


def test_without_a_tree_only_limits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup_paths, "_root", [None])
    assert cgroup.create_group("/mini/c", {"cpu": {"shares": 1024}}) is None
    with pytest.raises(Unsupported, match="controller pids is not available"):
        cgroup.create_group("/mini/c", {"pids": {"limit": 5}})
    cgroup.remove_group("/mini/c", ["/mini/c"])
    cgroup_processes.kill_group("/mini/c")
    assert cgroup_processes.processes("/mini/c") == []
    assert cgroup_processes.group_for_exec("/mini/c", 1) == -1
    with pytest.raises(NotFound, match="does not exist"):
        cgroup_processes.freeze("/mini/c")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_tree_that_is_not_ours_is_done_without(
    tree: FakeTree, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(directory: int, name: str) -> None:
        raise KernelError(number, "mkdirat", (directory, name))

    monkeypatch.setattr("minicontainer.linux.cgroups.make_group", refuse)
    assert cgroup.create_group("/mini/c", {}) is None
    with pytest.raises(KernelError):
        cgroup.create_group("/mini/c", {}, required=True)
    with pytest.raises(KernelError):
        cgroup.create_group("/mini/c", {"pids": {"limit": 5}})
    assert tree.groups() == []


def test_a_group_that_cannot_be_handed_its_controllers_is_not_left(tree: FakeTree) -> None:
    tree.refused["cgroup.subtree_control", "+memory"] = errno.EBUSY
    with pytest.raises(KernelError):
        cgroup.create_group("/mini/c", {"memory": {"limit": MIB}})
    assert tree.groups() == []


def test_what_was_there_before_is_used_and_stays(tree: FakeTree) -> None:
    (tree.top / "pod/c").mkdir(parents=True)
    tree.fill(tree.top / "pod", [])
    tree.fill(tree.top / "pod/c", [])
    group = cgroup.create_group("/pod/c", {})
    assert group is not None
    group.close()
    assert group.made == []
    cgroup.remove_group("/pod/c", group.made)
    assert tree.groups() == ["/pod", "/pod/c"]


def test_a_group_with_processes_or_a_frozen_one_is_refused(tree: FakeTree) -> None:
    (tree.top / "used").mkdir()
    tree.fill(tree.top / "used", [])
    (tree.top / "used/cgroup.procs").write_text("41\n42\n")
    with pytest.raises(Conflict, match=r"container's cgroup is not empty: 2 process\(es\) found"):
        cgroup.create_group("/used", {})
    (tree.top / "used/cgroup.procs").write_text("")
    (tree.top / "used/cgroup.freeze").write_text("1\n")
    with pytest.raises(Conflict, match="unexpectedly frozen"):
        cgroup.create_group("/used", {})
    assert tree.groups() == ["/used"]


def test_what_will_be_made_can_be_noted_first(tree: FakeTree) -> None:
    (tree.top / "a").mkdir()
    tree.fill(tree.top / "a", [])
    planned = cgroup.planned_groups("/a/b/c")
    assert planned == ["/a/b", "/a/b/c"]
    assert tree.groups() == ["/a"]
    limited({}, "/a/b/c").close()
    cgroup.remove_group("/a/b/c", planned)
    cgroup.remove_group("/a/b/c", planned)
    assert tree.groups() == ["/a"]


def test_the_default_parent_goes_with_the_last_container(tree: FakeTree) -> None:
    groups = [limited({}, f"/minicontainer/{name}") for name in ("one", "two")]
    for group in groups:
        group.close()
        cgroup.remove_group(group.path, group.made)
    assert tree.groups() == []


# --- limits -------------------------------------------------------------------------------------------------


def test_no_swap_is_fine_where_there_is_no_swap(tree: FakeTree) -> None:
    group = cgroup.create_group("/c", {"memory": {"limit": MIB}})
    assert group is not None
    (tree.top / "c/memory.swap.max").unlink()
    cgroup_limits.apply_resources(group, {"memory": {"limit": MIB, "swap": MIB}})
    assert tree.limits() == [("memory.max", str(MIB))]
    with pytest.raises(Unsupported, match=r"memory\.swap\.max is not available"):
        cgroup_limits.apply_resources(group, {"memory": {"limit": MIB, "swap": 2 * MIB}})
    group.close()


def test_reserved_huge_pages_are_limited_where_the_kernel_can(tree: FakeTree) -> None:
    limited({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}).close()
    assert tree.limits() == [("hugetlb.2MB.max", "0")]
    with pytest.raises(Unsupported, match=r"hugetlb\.1GB\.max is not available"):
        limited({"hugepageLimits": [{"pageSize": "1GB", "limit": 0}]}, "/d").close()


def test_bfq_is_used_where_it_schedules(tree: FakeTree) -> None:
    group = cgroup.create_group("/c", {"blockIO": {"weight": 500}})
    assert group is not None
    (tree.top / "c/io.bfq.weight").write_text("default 100\n")
    cgroup_limits.apply_resources(group, {"blockIO": {"weight": 500}})
    group.close()
    assert tree.limits() == [("io.bfq.weight", "500")]


def test_a_burst_above_the_old_quota_is_written_after_the_new_one(tree: FakeTree) -> None:
    tree.refused["cpu.max.burst", "900"] = errno.EINVAL
    limited({"cpu": {"quota": 5000, "burst": 900}}).close()
    assert tree.limits() == [("cpu.max", "5000 100000"), ("cpu.max.burst", "900")]


def test_a_value_that_the_kernel_refuses_stays_an_error(tree: FakeTree) -> None:
    tree.refused["cpuset.cpus", "99"] = errno.EINVAL
    with pytest.raises(KernelError) as caught:
        limited({"cpu": {"cpus": "99"}})
    assert caught.value.errno == errno.EINVAL


# --- update -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "then", "writes"),
    [
        ({"cpu": {"quota": 5000, "period": 20000}}, {"cpu": {"quota": 7000}}, [("cpu.max", "7000 20000")]),
        ({"cpu": {"quota": 5000, "period": 20000}}, {"cpu": {"period": 50000}}, [("cpu.max", "5000 50000")]),
        ({"cpu": {"shares": 2048}}, {"cpu": {"shares": 1024}}, [("cpu.weight", "100")]),
        ({"cpu": {"shares": 2048}}, {"cpu": {"period": 50000}}, [("cpu.max", "max 50000")]),
        (
            {"memory": {"limit": MIB, "swap": 3 * MIB}},
            {"memory": {"limit": 2 * MIB}},
            [("memory.swap.max", str(MIB)), ("memory.max", str(2 * MIB))],
        ),
        (
            {"memory": {"limit": MIB, "swap": MIB}},
            {"memory": {"limit": 2 * MIB}},
            [("memory.swap.max", "0"), ("memory.max", str(2 * MIB))],
        ),
        ({"memory": {"limit": MIB}}, {"memory": {"limit": 2 * MIB}}, [("memory.max", str(2 * MIB))]),
        (
            {"memory": {"limit": MIB}},
            {"memory": {"swap": 2 * MIB}},
            [("memory.swap.max", str(MIB)), ("memory.max", str(MIB))],
        ),
        (
            {"memory": {"limit": MIB}},
            {"memory": {"limit": -1}},
            [("memory.swap.max", "max"), ("memory.max", "max")],
        ),
        ({"pids": {"limit": 9}}, {"pids": {"limit": -1}}, [("pids.max", "max")]),
        ({}, {"cpu": {"shares": 1024}, "pids": {"limit": -1}}, []),
        ({}, {"devices": [{"allow": False, "access": "rwm"}]}, []),
    ],
)
def test_an_update_changes_what_it_says_and_nothing_else(
    tree: FakeTree, first: dict[str, Any], then: dict[str, Any], writes: list[tuple[str, str]]
) -> None:
    group = limited(first)
    tree.writes.clear()
    cgroup_limits.apply_resources(group, then, update=True)
    group.close()
    assert tree.writes == [("/mini/c", *write) for write in writes]


def test_an_update_can_limit_what_was_never_limited(tree: FakeTree) -> None:
    group = limited({})
    cgroup_limits.apply_resources(group, {"pids": {"limit": 7}}, update=True)
    group.close()
    assert tree.writes == [
        ("/", "cgroup.subtree_control", "+pids"),
        ("/mini", "cgroup.subtree_control", "+pids"),
        ("/mini/c", "pids.max", "7"),
    ]


def test_an_update_names_a_controller_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = FakeTree(tmp_path, monkeypatch)
    monkeypatch.setattr(cgroup_limits, "filter_devices", lambda *_: None)
    group = limited({})
    with pytest.raises(Unsupported, match="controller cpu is not available"):
        cgroup_limits.apply_resources(group, {"cpu": {"shares": 512}}, update=True)
    group.close()
    assert tree.writes == []


@pytest.mark.parametrize(
    ("memory", "complaint"),
    [
        ({"limit": 4096}, "rejecting memory limit 4096 <= usage 4096"),
        ({"limit": 3000, "swap": 4000}, r"rejecting memory\+swap limit 4000 <= usage 4096"),
    ],
)
def test_a_limit_below_the_usage_is_refused_if_asked(
    tree: FakeTree, memory: dict[str, int], complaint: str
) -> None:
    group = limited({"memory": {"limit": 2 * MIB}})
    tree.writes.clear()
    with pytest.raises(SpecError, match=complaint):
        cgroup_limits.apply_resources(group, {"memory": {**memory, "checkBeforeUpdate": True}}, update=True)
    assert tree.writes == []
    cgroup_limits.apply_resources(group, {"memory": {"limit": MIB, "checkBeforeUpdate": True}}, update=True)
    group.close()
    assert tree.limits() == [("memory.max", str(MIB))]


def test_an_update_that_only_denies_leaves_the_device_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    from minicontainer.linux import device_filter

    told: list[tuple[str, int]] = []
    monkeypatch.setattr(device_filter, "attach_device_filter", lambda _, r: told.append(("attach", len(r))))
    monkeypatch.setattr(device_filter, "replace_device_filter", lambda _, r: told.append(("replace", len(r))))
    deny = {"allow": False, "access": "rwm"}
    fuse = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
    cgroup_limits.filter_devices(3, [deny], update=True)
    cgroup_limits.filter_devices(3, [], update=True)
    assert told == []
    cgroup_limits.filter_devices(3, [deny], update=False)
    cgroup_limits.filter_devices(3, [deny, fuse], update=True)
    always = len(device_filter.container_rules([]))
    assert told == [("attach", always + 1), ("replace", always + 2)]
