"""The part of the table that describes cgroup resources: `linux.resources`, and the file that `update` reads.

-1 stands for "no limit" where it appears as a lower bound.

Implements runtime-spec config-linux.md, "Control groups".
"""

from __future__ import annotations

from minicontainer.oci.shape import Choice, Flag, Integer, ListOf, MapOf, Object, Spelling, Text, TextMap


def _is_page_size(size: str) -> bool:
    digits, unit = size[:-2], size[-2:]
    return unit in ("KB", "MB", "GB") and digits.isdecimal() and digits.isascii() and digits[0] != "0"


def _is_access(access: str) -> bool:
    return not access.strip("rwm")


_TEXT = Text()
_FLAG_OR_NULL = Flag(nullable=True)
_NUMBER = Integer(0, 2**63 - 1)
_UINT16 = Integer(0, 2**16 - 1, nullable=True)
_UINT32 = Integer(0, 2**32 - 1, nullable=True)
_UINT64 = Integer(0, 2**64 - 1, nullable=True)
_INT64 = Integer(-(2**63), 2**63 - 1, nullable=True)
_LIMIT = Integer(-1, 2**63 - 1, nullable=True)
_WILDCARD = Integer(-1, 2**32 - 1, nullable=True)

_WEIGHTS = ListOf(Object("major minor", major=_NUMBER, minor=_NUMBER, weight=_UINT16, leafWeight=_UINT16))
_THROTTLES = ListOf(Object("major minor rate", major=_NUMBER, minor=_NUMBER, rate=Integer(0, 2**64 - 1)))

RESOURCES = Object(
    "",
    devices=ListOf(
        Object(
            "allow",
            allow=Flag(),
            type=Choice("", "a", "b", "c"),
            major=_WILDCARD,
            minor=_WILDCARD,
            access=Spelling("some of the letters r, w and m", _is_access),
        )
    ),
    memory=Object(
        "",
        limit=_LIMIT,
        reservation=_LIMIT,
        swap=_LIMIT,
        kernel=_LIMIT,
        kernelTCP=_LIMIT,
        swappiness=_UINT64,
        disableOOMKiller=_FLAG_OR_NULL,
        useHierarchy=_FLAG_OR_NULL,
        checkBeforeUpdate=_FLAG_OR_NULL,
    ),
    cpu=Object(
        "",
        shares=_UINT64,
        quota=_INT64,
        burst=_UINT64,
        period=_UINT64,
        realtimeRuntime=_INT64,
        realtimePeriod=_UINT64,
        cpus=_TEXT,
        mems=_TEXT,
        idle=_INT64,
    ),
    pids=Object("", limit=_LIMIT),
    blockIO=Object(
        "",
        weight=_UINT16,
        leafWeight=_UINT16,
        weightDevice=_WEIGHTS,
        throttleReadBpsDevice=_THROTTLES,
        throttleWriteBpsDevice=_THROTTLES,
        throttleReadIOPSDevice=_THROTTLES,
        throttleWriteIOPSDevice=_THROTTLES,
    ),
    hugepageLimits=ListOf(
        Object(
            "pageSize limit",
            pageSize=Spelling("a page size as 64KB, 2MB or 1GB", _is_page_size),
            limit=Integer(0, 2**64 - 1),
        )
    ),
    network=Object(
        "",
        classID=_UINT32,
        priorities=ListOf(Object("name priority", name=_TEXT, priority=Integer(0, 2**32 - 1))),
    ),
    rdma=MapOf(Object("", hcaHandles=_UINT32, hcaObjects=_UINT32)),
    unified=TextMap(),
)
