"""What a config may not say, member by member, and that the refusal names the member.

The changes are made to a config in which every member occurs, so that no other rule is in the way.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from minicontainer.errors import SpecError
from minicontainer.oci.check import (
    check_config,
    check_process,
    check_resources,
    unknown_capabilities,
)
from minicontainer.oci.identifier import check_id
from tests.oci.configs import REAL, Config, full, full_resources

ABSENT = object()
MAPS = ("annotations", "sysctl", "unified", "netDevices", "rdma", "timeOffsets")
ID = "from 0 to 4294967294"

WRONG_TYPES = [
    ("ociVersion", ABSENT, "is required"),
    ("ociVersion", None, "got null"),
    ("ociVersion", 1, "got the number 1"),
    ("ociVersion", "2.0.0", "a version of the runtime specification 1.x"),
    ("ociVersion", "1.2", "got the string"),
    ("ociVersion", "1.x.0", "got the string"),
    ("ociVersion", "10.0.0", "got the string"),
    ("ociVersion", "1.0.²", "got the string"),
    ("root", ABSENT, "root must be specified"),
    ("root", None, "root must be specified"),
    ("root", "rootfs", "expected an object, got the string"),
    ("root.path", ABSENT, "is required"),
    ("root.path", "", "a path that is not empty"),
    ("root.path", ["rootfs"], "got a list"),
    ("root.readonly", 1, "expected true or false, got the number 1"),
    ("root.readonly", "yes", "expected true or false"),
    ("root.readonly", None, "got null"),
    ("hostname", 5, "expected a string, got the number 5"),
    ("hostname", None, "expected a string, got null"),
    ("hostname", "h" * 65, "longer than 64 bytes"),
    ("hostname", "é" * 33, "longer than 64 bytes"),
    ("domainname", {}, "expected a string, got an object"),
    ("domainname", "d" * 65, "longer than 64 bytes"),
    ("mounts", {}, "expected a list, got an object"),
    ("mounts", "proc", "expected a list"),
    ("mounts[1]", None, "expected an object, got null"),
    ("mounts[1]", [], "expected an object, got a list"),
    ("mounts[1].destination", ABSENT, "is required"),
    ("mounts[1].destination", "", "a path"),
    ("mounts[1].type", 1, "expected a string"),
    ("mounts[1].type", None, "got null"),
    ("mounts[1].source", False, "got false"),
    ("mounts[1].options", "ro", "expected a list of strings"),
    ("mounts[1].options[1]", 5, "expected a string, got the number 5"),
    ("mounts[1].options[0]", None, "expected a string, got null"),
    ("annotations", [], "expected an object with strings"),
    ('annotations["org.example.key"]', 1, "expected a string, got the number 1"),
    ('annotations["org.example.key"]', True, "got true"),
    ('annotations["org.example.key"]', None, "got null"),
    ("hooks", [], "expected an object"),
    ("hooks.prestart", {}, "expected a list"),
    ("hooks.createRuntime[0]", "/bin/hook", "expected an object"),
    ("hooks.createContainer[0].path", ABSENT, "is required"),
    ("hooks.startContainer[0].path", "hook", "an absolute path"),
    ("hooks.poststart[0].args", "hook", "a list of strings"),
    ("hooks.poststart[0].env[0]", 1, "expected a string"),
    ("hooks.poststop[0].timeout", 0, "an integer from 1"),
    ("hooks.poststop[0].timeout", -1, "an integer from 1"),
    ("hooks.poststop[0].timeout", 1.5, "got the number 1.5"),
    ("hooks.poststop[0].timeout", "1", "got the string"),
]

PROCESS = [
    ("process", [], "expected an object, got a list"),
    ("process.terminal", "true", "expected true or false"),
    ("process.consoleSize", [25, 80], "expected an object"),
    ("process.consoleSize.height", ABSENT, "is required"),
    ("process.consoleSize.width", -1, "from 0 to 65535"),
    ("process.consoleSize.width", 65536, "from 0 to 65535"),
    ("process.user", None, "expected an object, got null"),
    ("process.user", "root", "expected an object"),
    ("process.user", 0, "expected an object"),
    *(
        ("process.user.uid", value, ID)
        for value in (4294967295, 4294967296, -1, "root", "1000:", "0:0\nroot", 2**63, "0", 0.0, None, [0])
    ),
    ("process.user.uid", True, "got true"),
    ("process.user.gid", 4294967295, ID),
    ("process.user.gid", False, "got false"),
    ("process.user.gid", "0", ID),
    ("process.user.umask", 2**32, "from 0 to 4294967295"),
    ("process.user.umask", "022", "got the string"),
    ("process.user.additionalGids", 5, "expected a list"),
    ("process.user.additionalGids[1]", 4294967295, ID),
    ("process.user.additionalGids[1]", "wheel", ID),
    ("process.user.additionalGids[0]", None, "got null"),
    ("process.user.username", 1, "expected a string"),
    ("process.args", ABSENT, "args must not be empty"),
    ("process.args", None, "args must not be empty"),
    ("process.args", [], "args must not be empty"),
    ("process.args", "sh", "expected a list of strings"),
    ("process.args[0]", 1, "expected a string"),
    ("process.env", {"A": "b"}, "expected a list of strings"),
    ("process.env[1]", None, "expected a string"),
    ("process.env[1]", "TERM", "expected NAME=VALUE"),
    ("process.env[0]", "=x", "expected NAME=VALUE"),
    ("process.cwd", ABSENT, "is required"),
    ("process.cwd", None, "got null"),
    ("process.cwd", "", "Cwd must be an absolute path"),
    ("process.cwd", "tmp", "Cwd must be an absolute path"),
    ("process.capabilities", ["CAP_KILL"], "expected an object"),
    ("process.capabilities.bounding", "CAP_KILL", "expected a list of strings"),
    ("process.capabilities.ambient[0]", 5, "expected a string"),
    ("process.rlimits", {}, "expected a list"),
    ("process.rlimits[0].type", ABSENT, "is required"),
    ("process.rlimits[0].type", "RLIMIT_NONE", 'one of "RLIMIT_AS", "RLIMIT_CORE"'),
    ("process.rlimits[0].type", "NOFILE", "one of"),
    ("process.rlimits[0].soft", -1, "from 0 to 18446744073709551615"),
    ("process.rlimits[0].hard", 2**64, "from 0 to 18446744073709551615"),
    ("process.rlimits[0].hard", "unlimited", "got the string"),
    ("process.rlimits[0].soft", 1025, "must not be above the hard limit"),
    ("process.noNewPrivileges", 0, "expected true or false"),
    ("process.apparmorProfile", [], "expected a string"),
    ("process.selinuxLabel", 1, "expected a string"),
    ("process.oomScoreAdj", 1001, "from -1000 to 1000"),
    ("process.oomScoreAdj", -1001, "from -1000 to 1000"),
    ("process.scheduler.policy", ABSENT, "is required"),
    ("process.scheduler.policy", "SCHED_FAST", "one of"),
    ("process.scheduler.nice", 2**31, "an integer from"),
    ("process.scheduler.flags[0]", "SCHED_FLAG_FAST", "one of"),
    ("process.scheduler.runtime", -1, "an integer from 0"),
    ("process.scheduler.priority", 1, "SCHED_FIFO or SCHED_RR"),
    ("process.ioPriority.class", ABSENT, "is required"),
    ("process.ioPriority.class", "IOPRIO_CLASS_NONE", "one of"),
    ("process.ioPriority.priority", 8, "from 0 to 7"),
    ("process.execCPUAffinity.initial", "all", "a list of CPU numbers"),
    ("process.execCPUAffinity.final", 3, "a list of CPU numbers"),
]

LINUX = [
    ("linux", [], "expected an object"),
    ("linux.namespaces", ABSENT, "without a mount namespace"),
    ("linux.namespaces", [{"type": "pid"}], "without a mount namespace"),
    ("linux.namespaces", {"mount": ""}, "expected a list"),
    ("linux.namespaces[0]", "cgroup", "expected an object"),
    ("linux.namespaces[0].type", ABSENT, "is required"),
    ("linux.namespaces[0].type", "net", 'one of "cgroup", "ipc", "mount", "network"'),
    ("linux.namespaces[0].type", "", "one of"),
    ("linux.namespaces[7].type", "pid", 'the namespace "pid" is listed twice'),
    ("linux.namespaces[0].path", "proc/1/ns/cgroup", "an absolute path"),
    ("linux.uidMappings", {}, "expected a list"),
    ("linux.uidMappings[0].containerID", ABSENT, "is required"),
    ("linux.uidMappings[0].hostID", 4294967295, ID),
    ("linux.gidMappings[0].hostID", "1000", ID),
    ("linux.gidMappings[0].size", 0, "from 1 to"),
    ("linux.gidMappings[0].size", 2**32 - 1, "runs past the last id"),
    ("linux.sysctl", ["net.ipv4.ip_forward"], "an object with strings"),
    ('linux.sysctl["net.ipv4.ip_forward"]', 1, "expected a string, got the number 1"),
    ("linux.cgroupsPath", 1, "expected a string"),
    ("linux.cgroupsPath", "../../..", 'must not contain ".."'),
    ("linux.cgroupsPath", "/mini/../../web", 'must not contain ".."'),
    ("linux.cgroupsPath", "machine.slice:mini:../../web", 'must not contain ".."'),
    ("linux.cgroupsPath", "..:mini:web", 'must not contain ".."'),
    ("linux.devices[0].path", "dev/fuse", "an absolute path"),
    ("linux.devices[0].path", ABSENT, "is required"),
    ("linux.devices[0].type", "char", 'one of "b", "c", "p", "u"'),
    ("linux.devices[0].type", "a", "one of"),
    ("linux.devices[0].major", ABSENT, "is required"),
    ("linux.devices[0].minor", ABSENT, "is required"),
    ("linux.devices[0].major", -1, "from 0 to 4095"),
    ("linux.devices[0].minor", 2**20, "from 0 to 1048575"),
    ("linux.devices[0].fileMode", "0666", "got the string"),
    ("linux.devices[0].uid", 4294967295, ID),
    ("linux.netDevices", [], "expected an object"),
    ('linux.netDevices["eth1"]', "lan0", "expected an object"),
    ('linux.netDevices["eth1"].name', "a/b", "is not a name that a network interface can have"),
    ('linux.netDevices["eth1"].name', "sixteen-letters-", "is not a name"),
    ("linux.rootfsPropagation", "public", "one of"),
    ("linux.rootfsPropagation", None, "got null"),
    ("linux.maskedPaths[0]", "proc/kcore", "an absolute path"),
    ("linux.readonlyPaths", "/proc/sys", "expected a list"),
    ("linux.readonlyPaths[1]", 1, "an absolute path"),
    ("linux.mountLabel", 1, "expected a string"),
    ("linux.intelRdt.closID", "..", "the name of a directory"),
    ("linux.intelRdt.closID", "a/b", "the name of a directory"),
    ("linux.intelRdt.enableCMT", "no", "expected true or false"),
    ("linux.memoryPolicy.mode", "MPOL_FAST", "one of"),
    ("linux.memoryPolicy.flags[0]", "MPOL_F_FAST", "one of"),
    ("linux.personality.domain", ABSENT, "is required"),
    ("linux.personality.domain", "LINUX64", "one of"),
    ("linux.timeOffsets", [], "expected an object"),
    ('linux.timeOffsets["boottime"]', 5, "expected an object"),
    ('linux.timeOffsets["boottime"].secs', 2**63, "an integer from"),
    ('linux.timeOffsets["monotonic"].nanosecs', 10**9, "from 0 to 999999999"),
    ('linux.timeOffsets["monotonic"].nanosecs', -1, "from 0 to"),
]

SECCOMP = [
    ("linux.seccomp", [], "expected an object"),
    ("linux.seccomp.defaultAction", ABSENT, "is required"),
    ("linux.seccomp.defaultAction", "ALLOW", "one of"),
    ("linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY", "cannot be used as default action"),
    ("linux.seccomp.defaultErrnoRet", "EPERM", "got the string"),
    ("linux.seccomp.defaultErrnoRet", 65536, "from 0 to 65535"),
    ("linux.seccomp.architectures[1]", "x86", "one of"),
    ("linux.seccomp.flags[0]", "SECCOMP_FILTER_FLAG_NONE", "one of"),
    ("linux.seccomp.syscalls", {}, "expected a list"),
    ("linux.seccomp.syscalls[0].names", ABSENT, "is required"),
    ("linux.seccomp.syscalls[0].names", [], "at least one string"),
    ("linux.seccomp.syscalls[0].names", None, "is required"),
    ("linux.seccomp.syscalls[0].names[1]", 1, "expected a string"),
    ("linux.seccomp.syscalls[0].action", ABSENT, "is required"),
    ("linux.seccomp.syscalls[0].action", "SCMP_ACT_DENY", "one of"),
    ("linux.seccomp.syscalls[0].errnoRet", 1, "SCMP_ACT_ALLOW cannot return an errno"),
    ("linux.seccomp.syscalls[1].errnoRet", -1, "from 0 to 65535"),
    ("linux.seccomp.syscalls[1].args[0].index", 6, "from 0 to 5"),
    ("linux.seccomp.syscalls[1].args[0].value", 2**64, "from 0 to"),
    ("linux.seccomp.syscalls[1].args[0].value", -1, "from 0 to"),
    ("linux.seccomp.syscalls[1].args[0].op", "==", "one of"),
    ("linux.seccomp.syscalls[1].args[0].op", ABSENT, "is required"),
]

RESOURCES = [
    ("devices", {}, "expected a list"),
    ("devices[0].allow", ABSENT, "is required"),
    ("devices[0].allow", "yes", "expected true or false"),
    ("devices[0].type", "p", 'one of "", "a", "b", "c"'),
    ("devices[0].major", -2, "from -1 to"),
    ("devices[0].access", "rwx", "some of the letters r, w and m"),
    ("memory", 536870912, "expected an object"),
    ("memory.limit", "512M", "got the string"),
    ("memory.limit", -2, "from -1 to"),
    ("memory.swap", 2**63, "from -1 to 9223372036854775807"),
    ("memory.swappiness", -1, "from 0 to"),
    ("memory.disableOOMKiller", 1, "expected true or false"),
    ("cpu.shares", -1, "from 0 to"),
    ("cpu.quota", "50%", "got the string"),
    ("cpu.cpus", [0, 1], "expected a string"),
    ("cpu.idle", True, "got true"),
    ("pids.limit", -2, "from -1 to"),
    ("pids.limit", 1e3, "got the number 1000.0"),
    ("blockIO.weight", 65536, "from 0 to 65535"),
    ("blockIO.weightDevice[0].major", ABSENT, "is required"),
    ("blockIO.throttleReadBpsDevice[0].rate", -1, "from 0 to"),
    ("blockIO.throttleWriteIOPSDevice[0].minor", "0", "an integer"),
    ("hugepageLimits[0].pageSize", "2mb", "a page size"),
    ("hugepageLimits[0].pageSize", "../memory.max", "a page size"),
    ("hugepageLimits[0].limit", ABSENT, "is required"),
    ("network.classID", 2**32, "from 0 to"),
    ("network.priorities[0].name", ABSENT, "is required"),
    ('rdma["mlx5_1"]', None, "expected an object, got null"),
    ('rdma["mlx5_1"].hcaHandles', -1, "from 0 to"),
    ("unified", [], "an object with strings"),
    ('unified["memory.high"]', 1073741824, "expected a string"),
]


def change(value: Any, path: str, new: object) -> None:
    """Put `new` where `path` points to, or remove what is there."""
    steps = [
        int(step[1:-1]) if re.fullmatch(r"\[\d+\]", step) else step.strip('[]"')
        for step in re.findall(r'\["[^"]*"\]|\[\d+\]|[^.\[\]]+', path)
    ]
    for step in steps[:-1]:
        value = value[step]
    if new is ABSENT:
        del value[steps[-1]]
    else:
        value[steps[-1]] = new


def refusal(path: str, new: object, config: Config | None = None) -> SpecError:
    config = config or full()
    change(config, path, new)
    with pytest.raises(SpecError) as raised:
        check_config(config)
    return raised.value


@pytest.mark.parametrize(("path", "new", "words"), WRONG_TYPES + PROCESS + LINUX + SECCOMP)
def test_a_wrong_member_is_refused_and_named(path: str, new: object, words: str) -> None:
    problem = refusal(path, new)
    assert problem.path == path
    assert words in problem.problem
    assert_no_caller_is_misled(problem)


@pytest.mark.parametrize(("path", "new", "words"), RESOURCES)
def test_a_wrong_resource_is_refused_in_a_config_and_in_an_update(path: str, new: object, words: str) -> None:
    problem = refusal(f"linux.resources.{path}", new)
    assert problem.path == f"linux.resources.{path}"
    assert words in problem.problem
    resources = full_resources()
    change(resources, path, new)
    with pytest.raises(SpecError) as raised:
        check_resources(resources)
    assert raised.value.path == f"resources.{path}"


def assert_no_caller_is_misled(problem: SpecError) -> None:
    """Podman turns these words into exit 126 and 127, whatever they are about."""
    for words in (
        "no such file or directory",
        "permission denied",
        "executable file not found",
        "not permitted",
    ):
        assert words not in str(problem).lower()
    assert "\n" not in str(problem)
    assert str(problem).isascii()


def test_a_null_config_is_refused_in_the_words_of_runc() -> None:
    with pytest.raises(SpecError, match=r"^config cannot be null$"):
        check_config(None)


@pytest.mark.parametrize("value", [[], "config", 5, True])
def test_a_config_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match="expected an object, got "):
        check_config(value)


@pytest.mark.parametrize("caller", REAL)
def test_a_config_that_a_caller_really_writes_is_accepted(caller: str) -> None:
    check_config(REAL[caller]())


def test_a_config_without_a_process_is_accepted() -> None:
    config = full()
    del config["process"]
    check_config(config)


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.2.1", "1.3.0-rc.1", "1.99.0+build.5"])
def test_every_version_one_is_accepted(version: str) -> None:
    check_config(full() | {"ociVersion": version})


def objects(value: Any, name: str = "") -> list[Config]:
    """List all objects with fixed members; in a map every key has a meaning."""
    if isinstance(value, list):
        return [found for element in value for found in objects(element)]
    if not isinstance(value, dict):
        return []
    own = [] if name in MAPS else [value]
    return own + [found for key, element in value.items() for found in objects(element, key)]


def test_unknown_members_are_accepted_everywhere() -> None:
    config = full()
    places = objects(config)
    for place in places:
        place["x-unknown"] = {"deep": [None, 1.5, {"uid": "root"}]}
    check_config(config)
    assert len(places) > 60


@pytest.mark.parametrize(
    "path",
    [
        *("mounts", "mounts[1].options", "hooks", "hooks.poststop", "annotations", "process", "process.env"),
        *("process.capabilities", "process.capabilities.ambient", "process.oomScoreAdj", "process.rlimits"),
        *("process.user.umask", "process.user.additionalGids", "process.scheduler", "process.consoleSize"),
        *("linux.resources", "linux.resources.cpu", "linux.resources.cpu.shares", "linux.seccomp"),
        *("linux.sysctl", "linux.devices", "linux.devices[0].fileMode", "linux.maskedPaths"),
        *("linux.timeOffsets", "linux.personality", "linux.intelRdt", "hooks.poststop[0].timeout"),
    ],
)
def test_null_stands_for_an_absent_pointer_list_or_map(path: str) -> None:
    config = full()
    change(config, path, None)
    check_config(config)


def test_a_user_that_is_absent_is_root_as_in_go() -> None:
    config = full()
    del config["process"]["user"]
    check_config(config)


def test_the_names_of_a_host_need_a_uts_namespace() -> None:
    for name in ("hostname", "domainname"):
        config = full()
        config["hostname"] = config["domainname"] = ""
        config["linux"]["namespaces"] = [
            {"type": "mount"},
            {"type": "user"},
            {"type": "time"},
            {"type": "network"},
        ]
        check_config(config)
        problem = refusal(name, "web", config)
        assert str(problem) == f"{name}: unable to set {name} without a private UTS namespace"


def test_a_domainname_and_its_sysctl_must_agree() -> None:
    config = full()
    config["linux"]["sysctl"] = {"kernel.domainname": "example.org"}
    check_config(config)
    problem = refusal("linux.sysctl", {"kernel/domainname": "example.com"}, config)
    assert str(problem) == 'linux.sysctl["kernel/domainname"]: contradicts domainname'


def without_namespace(kind: str) -> Config:
    config = full()
    listed = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [namespace for namespace in listed if namespace["type"] != kind]
    return config


@pytest.mark.parametrize(
    ("kind", "path"),
    [("user", "linux.uidMappings"), ("time", "linux.timeOffsets"), ("network", "linux.netDevices")],
)
def test_what_belongs_to_a_namespace_needs_that_namespace(kind: str, path: str) -> None:
    with pytest.raises(SpecError, match=f"linux.namespaces lists no {kind} namespace") as raised:
        check_config(without_namespace(kind))
    assert raised.value.path == path


def test_group_mappings_alone_need_a_user_namespace_too() -> None:
    problem = refusal("linux.uidMappings", [], without_namespace("user"))
    assert problem.path == "linux.gidMappings"


def test_a_new_user_namespace_needs_mappings_and_a_joined_one_does_not() -> None:
    config = full()
    del config["linux"]["uidMappings"]
    problem = refusal("linux.gidMappings", ABSENT, config)
    assert str(problem) == "linux.uidMappings: a new user namespace needs mappings, or a path to join"
    config["linux"]["namespaces"][6]["path"] = "/proc/1/ns/user"
    check_config(config)


def test_the_clocks_of_a_joined_time_namespace_cannot_be_set() -> None:
    problem = refusal("linux.namespaces[5].path", "/proc/1/ns/time")
    assert problem.path == "linux.timeOffsets"


@pytest.mark.parametrize("side", ["containerID", "hostID"])
def test_mappings_that_overlap_are_refused(side: str) -> None:
    config = full()
    other = "hostID" if side == "containerID" else "containerID"
    config["linux"]["uidMappings"] = [
        {side: 1000, other: 0, "size": 10},
        {side: 2000, other: 100, "size": 10},
        {side: 1009, other: 200, "size": 1},
    ]
    with pytest.raises(SpecError) as raised:
        check_config(config)
    assert str(raised.value) == f"linux.uidMappings[2].{side}: overlaps the range of linux.uidMappings[0]"


def test_mappings_may_touch_and_may_reach_the_last_id() -> None:
    config = full()
    config["linux"]["uidMappings"] = [
        {"containerID": 0, "hostID": 0, "size": 5},
        {"containerID": 5, "hostID": 5, "size": 2**32 - 6},
    ]
    check_config(config)


@pytest.mark.parametrize("missing", ["uidMappings", "gidMappings"])
def test_an_id_mapped_mount_needs_both_mappings(missing: str) -> None:
    config = full()
    del config["mounts"][-1][missing]
    with pytest.raises(SpecError) as raised:
        check_config(config)
    assert raised.value.path == f"mounts[{len(config['mounts']) - 1}].{missing}"


def test_an_rlimit_may_be_given_once() -> None:
    config = full()
    config["process"]["rlimits"] *= 2
    with pytest.raises(SpecError) as raised:
        check_config(config)
    assert str(raised.value) == "process.rlimits[1].type: RLIMIT_NOFILE is listed twice"


@pytest.mark.parametrize(
    ("scheduler", "member"),
    [
        ({"policy": "SCHED_OTHER", "nice": 20}, "nice"),
        ({"policy": "SCHED_BATCH", "nice": -21}, "nice"),
        ({"policy": "SCHED_OTHER", "priority": 1}, "priority"),
        ({"policy": "SCHED_FIFO", "priority": 1, "runtime": 1}, "runtime"),
        ({"policy": "SCHED_RR", "deadline": 1}, "deadline"),
        ({"policy": "SCHED_IDLE", "period": 1}, "period"),
    ],
)
def test_a_scheduler_takes_only_the_values_of_its_policy(scheduler: Config, member: str) -> None:
    assert refusal("process.scheduler", scheduler).path == f"process.scheduler.{member}"


@pytest.mark.parametrize(
    "scheduler",
    [
        {"policy": "SCHED_OTHER", "nice": 19},
        {"policy": "SCHED_FIFO", "priority": 99},
        {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3},
        {"policy": "SCHED_IDLE", "nice": 100},
    ],
)
def test_a_scheduler_with_values_of_its_policy_is_accepted(scheduler: Config) -> None:
    config = full()
    config["process"]["scheduler"] = scheduler
    check_config(config)


def test_metadata_for_a_seccomp_agent_needs_the_agent() -> None:
    assert refusal("linux.seccomp.listenerPath", ABSENT).path == "linux.seccomp.listenerMetadata"


def test_a_default_errno_needs_an_action_that_returns_it() -> None:
    problem = refusal("linux.seccomp.defaultAction", "SCMP_ACT_KILL")
    assert str(problem) == "linux.seccomp.defaultErrnoRet: SCMP_ACT_KILL cannot return an errno"


@pytest.mark.parametrize("name", ["../memory.max", "a/b", "memory", "..", ".", ""])
def test_a_unified_setting_names_a_file_of_a_controller(name: str) -> None:
    with pytest.raises(SpecError) as raised:
        check_resources({"unified": {name: "1"}})
    assert raised.value.path == f'resources.unified["{name}"]'


def test_an_annotation_needs_a_key() -> None:
    assert refusal("annotations", {"": "x"}).path == 'annotations[""]'


def test_a_clock_that_the_kernel_does_not_know_is_refused() -> None:
    problem = refusal("linux.timeOffsets", {"realtime": {"secs": 1}})
    assert str(problem) == (
        'linux.timeOffsets["realtime"]: expected one of "boottime", "monotonic", got the string "realtime"'
    )


def test_a_relative_rootfs_begins_at_the_bundle_and_is_accepted() -> None:
    check_config(full() | {"root": {"path": "../rootfs"}})


@pytest.mark.parametrize("value", [None, [], "sh"])
def test_a_process_file_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match=r"^process: "):
        check_process(value)


@pytest.mark.parametrize("value", [None, [], "sh"])
def test_a_resources_file_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match=r"^resources: "):
        check_resources(value)


def test_an_empty_resources_file_asks_for_nothing() -> None:
    check_resources({})


def test_a_long_value_is_cut_and_a_strange_one_escaped() -> None:
    problem = refusal("linux.rootfsPropagation", "\x1b[31m\n\u2028" + "x" * 1000)
    assert r"\u001b[31m\n\u2028xxx" in problem.problem
    assert "..." in problem.problem
    assert len(problem.problem) < 300
    assert_no_caller_is_misled(problem)


def test_a_number_of_thousands_of_digits_is_not_spelled_out() -> None:
    assert "a number of very many digits" in refusal("process.user.uid", 10**5000).problem


def test_unknown_capabilities_are_named_and_no_error() -> None:
    config = full()
    config["process"]["capabilities"]["bounding"] += ["CAP_TEA", "cap_kill"]
    config["process"]["capabilities"]["ambient"] = None
    config["process"]["capabilities"]["permitted"] = ["CAP_TEA"]
    check_config(config)
    assert unknown_capabilities(config) == ["CAP_TEA", "cap_kill"]
    assert unknown_capabilities(full()) == []
    assert unknown_capabilities({"process": {"cwd": "/"}}) == []
    assert unknown_capabilities({}) == []


@pytest.mark.parametrize("name", ["web", "a", "A.b_c+d-e", "0", "...", "_", "+", ".a", "x" * 1024])
def test_an_id_of_safe_characters_is_accepted(name: str) -> None:
    check_id(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../evil",
            "/abs",
            ".",
            "..",
            "x\n",
            "\nx",
            "-x",
            "a b",
            " ",
            "x" * 1025,
            "x" * 2000,
            "a/b",
            "a\\b",
        ),
        *("a:b", "ä", "x\0", "a*b", "$HOME", "\ud800", "٣"),
    ],
)
def test_an_id_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(
        SpecError, match=r"^invalid container ID format: .* cannot be a container id$"
    ) as raised:
        check_id(name)
    assert_no_caller_is_misled(raised.value)


def test_an_empty_id_is_refused_in_the_words_of_runc() -> None:
    with pytest.raises(SpecError, match=r"^container id cannot be empty$"):
        check_id("")
