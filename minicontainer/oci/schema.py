"""The runtime specification as a table: what config.json may hold, member by member.

Reads like the Go types of the specification; `config` says the same as Structs, and a test compares the two.
Required is what the specification's own JSON schema requires, and what its text requires where a zero would
mean nothing. Ranges are those of the Go types, or the kernel's where those are narrower.

Implements runtime-spec config.md, config-linux.md. Resources are in `schema_resources`.
"""

from __future__ import annotations

from minicontainer.oci import words
from minicontainer.oci.schema_resources import RESOURCES
from minicontainer.oci.shape import (
    Choice,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Object,
    Spelling,
    Text,
    TextMap,
    Texts,
)


def _is_version_one(version: str) -> bool:
    numbers = version.split("+", 1)[0].split("-", 1)[0].split(".")
    return (
        numbers[0] == "1"
        and len(numbers) == 3  # noqa: PLR2004 - major, minor, patch
        and all(number.isdecimal() and number.isascii() for number in numbers)
    )


def _is_absolute(path: str) -> bool:
    return path[:1] == "/"


def _is_absolute_or_empty(path: str) -> bool:
    return path[:1] in ("", "/")


def _is_cpu_list(cpus: str) -> bool:
    return not cpus.strip("0123456789, -")


FLAG = Flag()
TEXT = Text()
TEXTS = Texts()
TEXT_MAP = TextMap()
ABSOLUTE = Spelling("an absolute path", _is_absolute)
NOT_EMPTY = Spelling("a path", bool)
ID = Integer(0, 2**32 - 2)  # 2**32 - 1 is -1: "leave it as it is" for setuid and chown
ID_OR_NULL = Integer(0, 2**32 - 2, nullable=True)
INT32 = Integer(-(2**31), 2**31 - 1)
UINT32_OR_NULL = Integer(0, 2**32 - 1, nullable=True)
UINT64 = Integer(0, 2**64 - 1)
ERRNO = Integer(0, 2**16 - 1, nullable=True)  # what a seccomp filter can return
CONSOLE = Integer(0, 2**16 - 1)
CPU_LIST = Spelling("a list of CPU numbers as 0-3,7", _is_cpu_list)

ID_MAPPINGS = ListOf(
    Object("containerID hostID size", containerID=ID, hostID=ID, size=Integer(1, 2**32 - 1)),
)

PROCESS = Object(
    "cwd",
    terminal=FLAG,
    consoleSize=Object("height width", height=CONSOLE, width=CONSOLE),
    user=Object(
        "",
        nullable=False,
        uid=ID,
        gid=ID,
        umask=UINT32_OR_NULL,
        additionalGids=ListOf(ID),
        username=TEXT,
    ),
    args=TEXTS,
    env=TEXTS,
    cwd=TEXT,
    capabilities=Object(
        "", bounding=TEXTS, effective=TEXTS, inheritable=TEXTS, permitted=TEXTS, ambient=TEXTS
    ),
    rlimits=ListOf(Object("type soft hard", type=Choice(*words.RLIMITS), soft=UINT64, hard=UINT64)),
    noNewPrivileges=FLAG,
    apparmorProfile=TEXT,
    oomScoreAdj=Integer(-1000, 1000, nullable=True),
    scheduler=Object(
        "policy",
        policy=Choice(*words.SCHEDULER_POLICIES),
        nice=INT32,
        priority=INT32,
        flags=ListOf(Choice(*words.SCHEDULER_FLAGS)),
        runtime=UINT64,
        deadline=UINT64,
        period=UINT64,
    ),
    selinuxLabel=TEXT,
    ioPriority=Object("class", priority=Integer(0, 7), **{"class": Choice(*words.IO_CLASSES)}),  # type: ignore[arg-type]
    execCPUAffinity=Object("", initial=CPU_LIST, final=CPU_LIST),
)

HOOK = Object("path", path=ABSOLUTE, args=TEXTS, env=TEXTS, timeout=Integer(1, 2**31 - 1, nullable=True))

MOUNT = Object(
    "destination",
    destination=NOT_EMPTY,  # a relative one is taken from the root, as runc and crun do
    type=TEXT,
    source=TEXT,
    options=TEXTS,
    uidMappings=ID_MAPPINGS,
    gidMappings=ID_MAPPINGS,
)

SECCOMP = Object(
    "defaultAction",
    defaultAction=Choice(*words.SECCOMP_ACTIONS),
    defaultErrnoRet=ERRNO,
    architectures=ListOf(Choice(*words.SECCOMP_ARCHITECTURES)),
    flags=ListOf(Choice(*words.SECCOMP_FLAGS)),
    listenerPath=TEXT,
    listenerMetadata=TEXT,
    syscalls=ListOf(
        Object(
            "names action",
            names=Texts(least=1),
            action=Choice(*words.SECCOMP_ACTIONS),
            errnoRet=ERRNO,
            args=ListOf(
                Object(
                    "index value op",
                    index=Integer(0, 5),
                    value=UINT64,
                    valueTwo=UINT64,
                    op=Choice(*words.SECCOMP_OPERATORS),
                )
            ),
        )
    ),
)

LINUX = Object(
    "",
    uidMappings=ID_MAPPINGS,
    gidMappings=ID_MAPPINGS,
    sysctl=TEXT_MAP,
    resources=RESOURCES,
    cgroupsPath=TEXT,
    namespaces=ListOf(
        Object(
            "type",
            type=Choice(*words.NAMESPACES),
            path=Spelling("an absolute path", _is_absolute_or_empty),
        )
    ),
    devices=ListOf(
        Object(
            "path type",
            path=ABSOLUTE,
            type=Choice(*words.DEVICE_TYPES),
            major=Integer(0, 2**12 - 1),
            minor=Integer(0, 2**20 - 1),
            fileMode=UINT32_OR_NULL,
            uid=ID_OR_NULL,
            gid=ID_OR_NULL,
        )
    ),
    netDevices=MapOf(Object("", name=TEXT)),
    seccomp=SECCOMP,
    rootfsPropagation=Choice("", *words.PROPAGATIONS),
    maskedPaths=ListOf(ABSOLUTE),
    readonlyPaths=ListOf(ABSOLUTE),
    mountLabel=TEXT,
    intelRdt=Object(
        "",
        closID=TEXT,
        schemata=TEXTS,
        l3CacheSchema=TEXT,
        memBwSchema=TEXT,
        enableCMT=FLAG,
        enableMBM=FLAG,
        enableMonitoring=FLAG,
    ),
    memoryPolicy=Object(
        "mode",
        mode=Choice(*words.MEMORY_POLICIES),
        nodes=TEXT,
        flags=ListOf(Choice(*words.MEMORY_POLICY_FLAGS)),
    ),
    personality=Object("domain", domain=Choice(*words.PERSONALITIES), flags=TEXTS),
    timeOffsets=MapOf(
        Object("", secs=Integer(-(2**63), 2**63 - 1), nanosecs=Integer(0, 10**9 - 1)),
        keys=Choice(*words.CLOCKS),
    ),
)

CONFIG = Object(
    "ociVersion",
    ociVersion=Spelling("a version of the runtime specification 1.x, as 1.2.1", _is_version_one),
    root=Object("path", path=Spelling("a path that is not empty", bool), readonly=FLAG),
    process=PROCESS,
    hostname=TEXT,
    domainname=TEXT,
    mounts=ListOf(MOUNT),
    hooks=Object("", **dict.fromkeys(words.HOOKS, ListOf(HOOK))),  # type: ignore[arg-type]
    annotations=TEXT_MAP,
    linux=LINUX,
)
