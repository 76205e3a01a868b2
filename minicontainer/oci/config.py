"""config.json as types: the readable form of what `schema` says in its table.

`msgspec.json.decode(text, type=Spec)` refuses what `schema.CONFIG` refuses, and accepts what it accepts;
rules that tie several members together are in `check` only. Members that the specification does not know are
ignored, as it demands; null stands for an absent pointer, list or map, and for nothing else.

Implements runtime-spec config.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from minicontainer.oci.config_linux import AbsolutePath, Id, IdMapping, Linux
from minicontainer.oci.config_resources import Uint16, Uint32, Uint64

RlimitType = Literal[
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
]
SchedulerPolicy = Literal[
    "SCHED_OTHER",
    "SCHED_FIFO",
    "SCHED_RR",
    "SCHED_BATCH",
    "SCHED_ISO",
    "SCHED_IDLE",
    "SCHED_DEADLINE",
]
SchedulerFlag = Literal[
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
]
IOPriorityClass = Literal["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"]

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
CpuList = Annotated[str, Meta(pattern=r"\A[0-9, -]*\Z")]


class Box(Struct, frozen=True, kw_only=True, rename="camel"):
    """The size of a terminal in characters."""

    height: Uint16
    width: Uint16


class User(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whom the process runs as; ids are numbers, as the container sees them."""

    uid: Id = 0
    gid: Id = 0
    umask: Uint32 | None = None
    additional_gids: tuple[Id, ...] | None = None
    username: str = ""


class Capabilities(Struct, frozen=True, kw_only=True, rename="camel"):
    """The five sets of capabilities(7), by name."""

    bounding: tuple[str, ...] | None = None
    effective: tuple[str, ...] | None = None
    inheritable: tuple[str, ...] | None = None
    permitted: tuple[str, ...] | None = None
    ambient: tuple[str, ...] | None = None


class Rlimit(Struct, frozen=True, kw_only=True, rename="camel"):
    """One limit of setrlimit(2); 18446744073709551615 is "none"."""

    type: RlimitType
    soft: Uint64
    hard: Uint64


class Scheduler(Struct, frozen=True, kw_only=True, rename="camel"):
    """The attributes of sched_setattr(2); times are in nanoseconds."""

    policy: SchedulerPolicy
    nice: Int32 = 0
    priority: Int32 = 0
    flags: tuple[SchedulerFlag, ...] | None = None
    runtime: Uint64 = 0
    deadline: Uint64 = 0
    period: Uint64 = 0


class IOPriority(Struct, frozen=True, kw_only=True, rename="camel"):
    """The class and level of ioprio_set(2)."""

    class_: IOPriorityClass = field(name="class")
    priority: Annotated[int, Meta(ge=0, le=7)] = 0


class CpuAffinity(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where a process of `exec` runs: until it enters the container's cgroup, and from then on."""

    initial: CpuList = ""
    final: CpuList = ""


class Process(Struct, frozen=True, kw_only=True, rename="camel"):
    """A process in the container: the first one, or one of `exec`."""

    terminal: bool = False
    console_size: Box | None = None
    user: User = User()
    args: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    cwd: str
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] | None = None
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    oom_score_adj: Annotated[int, Meta(ge=-1000, le=1000)] | None = None
    scheduler: Scheduler | None = None
    selinux_label: str = ""
    io_priority: IOPriority | None = None
    exec_cpu_affinity: CpuAffinity | None = field(default=None, name="execCPUAffinity")


class Root(Struct, frozen=True, kw_only=True, rename="camel"):
    """The root file system; a relative path begins at the bundle."""

    path: Annotated[str, Meta(min_length=1)]
    readonly: bool = False


class Mount(Struct, frozen=True, kw_only=True, rename="camel"):
    """A mount on top of the root file system; options that are no flags are passed to the file system."""

    destination: Annotated[str, Meta(min_length=1)]
    type: str = ""
    source: str = ""
    options: tuple[str, ...] | None = None
    uid_mappings: tuple[IdMapping, ...] | None = None
    gid_mappings: tuple[IdMapping, ...] | None = None


class Hook(Struct, frozen=True, kw_only=True, rename="camel"):
    """A program that is run at a point of the container's life; the timeout is in seconds."""

    path: AbsolutePath
    args: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    timeout: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class Hooks(Struct, frozen=True, kw_only=True, rename="camel"):
    """The hooks in the order of a container's life."""

    prestart: tuple[Hook, ...] | None = None
    create_runtime: tuple[Hook, ...] | None = None
    create_container: tuple[Hook, ...] | None = None
    start_container: tuple[Hook, ...] | None = None
    poststart: tuple[Hook, ...] | None = None
    poststop: tuple[Hook, ...] | None = None


class Spec(Struct, frozen=True, kw_only=True, rename="camel"):
    """A container's config.json."""

    oci_version: Annotated[str, Meta(pattern=r"\A1\.[0-9]+\.[0-9]+([-+]|\Z)")]
    root: Root | None = None
    process: Process | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] | None = None
    hooks: Hooks | None = None
    annotations: dict[str, str] | None = None
    linux: Linux | None = None
