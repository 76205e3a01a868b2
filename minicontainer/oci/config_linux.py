"""The member `linux` of config.json as types: namespaces, devices, seccomp and what else only Linux has.

Implements runtime-spec config-linux.md; `net_devices`, `memory_policy` and parts of `intel_rdt` are from 1.3.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from minicontainer.oci.config_resources import Int64, Resources, Uint16, Uint32, Uint64

AbsolutePath = Annotated[str, Meta(pattern=r"\A/")]
Id = Annotated[int, Meta(ge=0, le=2**32 - 2)]
"""A uid or gid; 4294967295 is -1, which means "leave it as it is" to setuid(2) and chown(2)."""

NamespaceType = Literal["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]
Propagation = Literal[
    "", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"
]
SeccompAction = Literal[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
]
SeccompOperator = Literal[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
]
SeccompFlag = Literal[
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
]
SeccompArchitecture = Literal[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
]
MemoryPolicyMode = Literal[
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
]
MemoryPolicyFlag = Literal["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]


class IdMapping(Struct, frozen=True, kw_only=True, rename="camel"):
    """A range of ids, as one line of /proc/PID/uid_map."""

    container_id: Id = field(name="containerID")
    host_id: Id = field(name="hostID")
    size: Annotated[int, Meta(ge=1, le=2**32 - 1)]


class Namespace(Struct, frozen=True, kw_only=True, rename="camel"):
    """A namespace that is made, or joined at `path`."""

    type: NamespaceType
    path: Annotated[str, Meta(pattern=r"\A(/|\Z)")] = ""


class Device(Struct, frozen=True, kw_only=True, rename="camel"):
    """A device node to make; `u` is an unbuffered character device, `p` a FIFO, which has no numbers."""

    path: AbsolutePath
    type: Literal["b", "c", "p", "u"]
    major: Annotated[int, Meta(ge=0, le=2**12 - 1)] = 0
    minor: Annotated[int, Meta(ge=0, le=2**20 - 1)] = 0
    file_mode: Uint32 | None = None
    uid: Id | None = None
    gid: Id | None = None


class NetDevice(Struct, frozen=True, kw_only=True, rename="camel"):
    """A network interface to move into the container, and its name there."""

    name: str = ""


class SyscallArg(Struct, frozen=True, kw_only=True, rename="camel"):
    """A comparison of one argument of a system call."""

    index: Annotated[int, Meta(ge=0, le=5)]
    value: Uint64
    value_two: Uint64 = 0
    op: SeccompOperator


class Syscall(Struct, frozen=True, kw_only=True, rename="camel"):
    """What happens to the named system calls."""

    names: Annotated[tuple[str, ...], Meta(min_length=1)]
    action: SeccompAction
    errno_ret: Uint16 | None = None
    args: tuple[SyscallArg, ...] | None = None


class Seccomp(Struct, frozen=True, kw_only=True, rename="camel"):
    """A filter of system calls."""

    default_action: SeccompAction
    default_errno_ret: Uint16 | None = None
    architectures: tuple[SeccompArchitecture, ...] | None = None
    flags: tuple[SeccompFlag, ...] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[Syscall, ...] | None = None


class IntelRdt(Struct, frozen=True, kw_only=True, rename="camel"):
    """Shares of cache and memory bandwidth (resctrl)."""

    clos_id: str = field(default="", name="closID")
    schemata: tuple[str, ...] | None = None
    l3_cache_schema: str = field(default="", name="l3CacheSchema")
    mem_bw_schema: str = ""
    enable_cmt: bool = field(default=False, name="enableCMT")
    enable_mbm: bool = field(default=False, name="enableMBM")
    enable_monitoring: bool = False


class MemoryPolicy(Struct, frozen=True, kw_only=True, rename="camel"):
    """The NUMA policy of set_mempolicy(2)."""

    mode: MemoryPolicyMode
    nodes: str = ""
    flags: tuple[MemoryPolicyFlag, ...] | None = None


class Personality(Struct, frozen=True, kw_only=True, rename="camel"):
    """The execution domain of personality(2); no flags are defined yet."""

    domain: Literal["LINUX", "LINUX32"]
    flags: tuple[str, ...] | None = None


class TimeOffset(Struct, frozen=True, kw_only=True, rename="camel"):
    """How far a clock of the container is from the host's."""

    secs: Int64 = 0
    nanosecs: Annotated[int, Meta(ge=0, le=10**9 - 1)] = 0


class Linux(Struct, frozen=True, kw_only=True, rename="camel"):
    """What only Linux has."""

    uid_mappings: tuple[IdMapping, ...] | None = None
    gid_mappings: tuple[IdMapping, ...] | None = None
    sysctl: dict[str, str] | None = None
    resources: Resources | None = None
    cgroups_path: str = ""
    namespaces: tuple[Namespace, ...] | None = None
    devices: tuple[Device, ...] | None = None
    net_devices: dict[str, NetDevice] | None = None
    seccomp: Seccomp | None = None
    rootfs_propagation: Propagation = ""
    masked_paths: tuple[AbsolutePath, ...] | None = None
    readonly_paths: tuple[AbsolutePath, ...] | None = None
    mount_label: str = ""
    intel_rdt: IntelRdt | None = None
    memory_policy: MemoryPolicy | None = None
    personality: Personality | None = None
    time_offsets: dict[Literal["boottime", "monotonic"], TimeOffset] | None = None
