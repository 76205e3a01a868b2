"""Configs as callers really write them, and one in which every member of the specification occurs.

Written by hand after recordings of podman, containerd and cri-o: each keeps the peculiarities of its caller,
with neutral names. A function makes a fresh one each time, because tests change them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from minicontainer.oci import words
from minicontainer.oci.docker_profile import default_seccomp
from minicontainer.oci.example import example_config, rootless_config

Config = dict[str, Any]

DOCKER_CAPABILITIES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
]


def with_docker_seccomp() -> Config:
    """Make the default config with Docker's default seccomp profile."""
    config = example_config()
    config["linux"]["seccomp"] = default_seccomp(DOCKER_CAPABILITIES, "x86_64", (6, 1))
    return config


def podman() -> Config:
    """Make what podman 5 writes as root: nulls, tmpcopyup, rshared, odd devices, all annotations."""
    config = example_config()
    config["ociVersion"] = "1.2.1"
    config["process"]["terminal"] = False
    config["process"]["user"] = {"uid": 0, "gid": 0, "umask": 18, "additionalGids": [0]}
    config["process"]["capabilities"] = {
        "bounding": DOCKER_CAPABILITIES,
        "effective": DOCKER_CAPABILITIES,
        "permitted": DOCKER_CAPABILITIES,
    }
    config["process"]["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "hard": 1048576, "soft": 1048576},
        {"type": "RLIMIT_NPROC", "hard": 2**64 - 1, "soft": 2**64 - 1},
    ]
    config["process"]["oomScoreAdj"] = 0
    config["hostname"] = "4c5b8b1f3d52"
    config["mounts"] += [
        {"destination": "/dev/console", "type": "bind", "source": "/run/console", "options": None},
        {
            "destination": "/etc/hosts",
            "type": "bind",
            "source": "/run/containers/hosts",
            "options": ["bind", "rprivate"],
        },
        {
            "destination": "/run",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["rw", "rprivate", "nosuid", "nodev", "tmpcopyup"],
        },
        {
            "destination": "/data",
            "type": "overlay",
            "source": "overlay",
            "options": ["lowerdir=/a:/b", "upperdir=/u", "workdir=/w", "private"],
        },
        {
            "destination": "/shared",
            "type": "bind",
            "source": "/srv",
            "options": ["rbind", "rshared", "idmap"],
        },
        {"destination": "/dev/pts2", "type": "devpts", "source": "devpts", "options": ["newinstance"]},
    ]
    config["annotations"] = {
        "io.container.manager": "libpod",
        "org.opencontainers.image.stopSignal": "15",
        "run.oci.hooks.stderr": "/dev/null",
        "run.oci.keep_original_groups": "1",
    }
    config["linux"]["rootfsPropagation"] = "shared"
    config["linux"]["cgroupsPath"] = "machine.slice:libpod:4c5b8b1f3d52"
    config["linux"]["maskedPaths"] += ["/proc/acpi", "/sys/devices/virtual/powercap"]
    config["linux"]["sysctl"] = {"net.ipv4.ping_group_range": "0 0"}
    config["linux"]["resources"] = {
        "devices": [{"allow": False, "access": "rwm"}, {"allow": False, "access": "rwm"}],
        "pids": {"limit": 2048},
    }
    config["linux"]["namespaces"][1]["path"] = "/run/netns/netns-0000"
    config["linux"]["seccomp"] = default_seccomp(DOCKER_CAPABILITIES, "x86_64", (6, 1))
    return config


def podman_rootless() -> Config:
    """Make what podman writes as an ordinary user: no mappings, no cgroup."""
    config = podman()
    config["ociVersion"] = "1.0.2-dev"
    del config["linux"]["cgroupsPath"]
    config["linux"]["resources"] = {}
    config["process"]["capabilities"] = {"bounding": DOCKER_CAPABILITIES}
    config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [1000]}
    return config


def podman_keep_id() -> Config:
    """Make what `podman run --userns keep-id` writes: three ranges around the user's own id."""
    config = podman_rootless()
    ranges = [
        {"containerID": 0, "hostID": 1, "size": 1000},
        {"containerID": 1000, "hostID": 0, "size": 1},
        {"containerID": 1001, "hostID": 1001, "size": 64536},
    ]
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = ranges
    config["linux"]["gidMappings"] = copy.deepcopy(ranges)
    return config


def containerd() -> Config:
    """Make what containerd writes for `ctr run`: cpu shares of 1024, device rules, groups by number."""
    config = example_config()
    config["process"]["user"] = {"uid": 0, "gid": 0, "additionalGids": [0, 1, 2, 3, 4, 6, 10]}
    config["process"]["apparmorProfile"] = ""
    config["linux"]["cgroupsPath"] = "/default/web"
    config["linux"]["resources"] = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": True, "type": "c", "major": 136, "access": "rwm"},
        ],
        "cpu": {"shares": 1024},
        "memory": {},
    }
    config["mounts"].append(
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}
    )
    return config


def docker() -> Config:
    """Make what dockerd writes: a weight of 0, nulls for lists, a hook, a listener that is not there."""
    config = with_docker_seccomp()
    config["hooks"] = {
        "prestart": [{"path": "/proc/1/exe", "args": ["libnetwork-setkey", "-exec-root=/run/docker", "id"]}],
        "poststop": None,
    }
    config["process"]["consoleSize"] = {"height": 0, "width": 0}
    config["process"]["oomScoreAdj"] = None
    config["linux"]["uidMappings"] = None
    config["linux"]["resources"] = {
        "devices": [{"allow": False, "access": "rwm", "major": None, "minor": None}],
        "memory": {"disableOOMKiller": False, "swappiness": None},
        "cpu": {"shares": 0, "quota": -1},
        "pids": {"limit": 0},
        "blockIO": {"weight": 0},
        "hugepageLimits": None,
    }
    config["linux"]["intelRdt"] = None
    return config


def kubernetes() -> Config:
    """Make what a pod's container gets: the sandbox's namespaces, unified settings, a path and mappings."""
    config = with_docker_seccomp()
    mappings = [{"containerID": 0, "hostID": 65536, "size": 65536}]
    config["linux"]["namespaces"] = [
        {"type": "pid"},
        {"type": "ipc", "path": "/proc/4242/ns/ipc"},
        {"type": "uts", "path": "/proc/4242/ns/uts"},
        {"type": "network", "path": "/proc/4242/ns/net"},
        {"type": "user", "path": "/proc/4242/ns/user"},
        {"type": "mount"},
        {"type": "cgroup"},
    ]
    config["linux"]["uidMappings"] = mappings
    config["linux"]["gidMappings"] = mappings
    config["linux"]["cgroupsPath"] = "kubepods-burstable-pod1.slice:cri-containerd:web"
    config["linux"]["resources"] = {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": 134217728, "swap": 134217728},
        "cpu": {"shares": 102, "quota": 20000, "period": 100000, "cpus": "0-1", "mems": ""},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 0}],
        "unified": {"memory.oom.group": "1", "memory.min": "0"},
    }
    config["annotations"] = {"io.kubernetes.cri.container-type": "container"}
    return config


def rootless() -> Config:
    """Make the config of `spec --rootless`."""
    return rootless_config(1000, 1001)


def full() -> Config:
    """Make a config in which every member that the table knows occurs with a right value."""
    config = example_config()
    config["domainname"] = "example.org"
    config["annotations"] = {"org.example.key": "value", "org.example.other": ""}
    config["hooks"] = {
        name: [{"path": "/bin/hook", "args": ["hook", name], "env": ["A=b"], "timeout": 5}]
        for name in words.HOOKS
    }
    config["mounts"].append(
        {
            "destination": "/mapped",
            "type": "bind",
            "source": "/srv",
            "options": ["rbind", "ridmap"],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
        }
    )
    config["process"] |= _full_process()
    config["linux"] |= _full_linux()
    return config


def _full_process() -> Config:
    return {
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 1000, "gid": 1000, "umask": 18, "additionalGids": [1000, 5], "username": "u"},
        "capabilities": {kind: ["CAP_KILL"] for kind in words.CAPABILITY_SETS},
        "apparmorProfile": "minicontainer-default",
        "oomScoreAdj": 100,
        "scheduler": {
            "policy": "SCHED_DEADLINE",
            "nice": 0,
            "priority": 0,
            "flags": ["SCHED_FLAG_RESET_ON_FORK"],
            "runtime": 10000000,
            "deadline": 20000000,
            "period": 20000000,
        },
        "selinuxLabel": "system_u:system_r:container_t:s0",
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "0-1", "final": "0, 2-3"},
    }


def _full_linux() -> Config:
    ranges = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    return {
        "namespaces": [{"type": kind, "path": ""} for kind in words.NAMESPACES],
        "uidMappings": ranges,
        "gidMappings": copy.deepcopy(ranges),
        "sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1"},
        "cgroupsPath": "/mini/web",
        "devices": [
            {
                "path": "/dev/fuse",
                "type": "c",
                "major": 10,
                "minor": 229,
                "fileMode": 438,
                "uid": 0,
                "gid": 0,
            },
            {"path": "/dev/pipe", "type": "p"},
        ],
        "netDevices": {"eth1": {"name": "lan0"}, "eth2": {}},
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/agent.sock",
            "listenerMetadata": "about",
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 1,
                    "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
                },
            ],
        },
        "rootfsPropagation": "rslave",
        "mountLabel": "system_u:object_r:container_file_t:s0",
        "intelRdt": {
            "closID": "group",
            "schemata": ["L3:0=f"],
            "l3CacheSchema": "L3:0=f",
            "memBwSchema": "MB:0=70",
            "enableCMT": False,
            "enableMBM": False,
            "enableMonitoring": True,
        },
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "personality": {"domain": "LINUX", "flags": []},
        "timeOffsets": {
            "monotonic": {"secs": 86400, "nanosecs": 5},
            "boottime": {"secs": -5, "nanosecs": 0},
        },
        "resources": full_resources(),
    }


def full_resources() -> Config:
    """Make resources in which every member occurs."""
    throttles = [{"major": 8, "minor": 0, "rate": 1048576}]
    return {
        "devices": [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
        "memory": {
            "limit": 536870912,
            "reservation": 268435456,
            "swap": -1,
            "kernel": -1,
            "kernelTCP": -1,
            "swappiness": 60,
            "disableOOMKiller": False,
            "useHierarchy": True,
            "checkBeforeUpdate": True,
        },
        "cpu": {
            "shares": 512,
            "quota": -1,
            "burst": 1000,
            "period": 100000,
            "realtimeRuntime": 95000,
            "realtimePeriod": 100000,
            "cpus": "0-1",
            "mems": "0",
            "idle": 1,
        },
        "pids": {"limit": 100},
        "blockIO": {
            "weight": 100,
            "leafWeight": 10,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
            "throttleReadBpsDevice": throttles,
            "throttleWriteBpsDevice": copy.deepcopy(throttles),
            "throttleReadIOPSDevice": copy.deepcopy(throttles),
            "throttleWriteIOPSDevice": copy.deepcopy(throttles),
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 9437184}],
        "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
        "unified": {"memory.high": "1073741824", "io.max": "8:0 rbps=1"},
    }


REAL: dict[str, Callable[[], Config]] = {
    "spec": example_config,
    "spec --rootless": rootless,
    "the default profile": with_docker_seccomp,
    "podman": podman,
    "podman as a user": podman_rootless,
    "podman --userns keep-id": podman_keep_id,
    "containerd": containerd,
    "docker": docker,
    "kubernetes": kubernetes,
    "every member": full,
}
