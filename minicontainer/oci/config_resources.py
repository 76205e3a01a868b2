"""`linux.resources` as types: what a cgroup may use; also the file that `update --resources` reads.

Absent and null mean "not asked for". The types are those of Go's runtime-spec, so 0 and -1 keep the meaning
they have there: for a limit -1 is "none".

Implements runtime-spec config-linux.md, "Control groups"; cgroups(7).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Uint16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]
Uint32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Uint64 = Annotated[int, Meta(ge=0)]
"""Its upper bound is beyond what msgspec can state; the table in `schema` states it."""
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Limit = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
DeviceNumber = Annotated[int, Meta(ge=-1, le=2**32 - 1)]


class DeviceRule(Struct, frozen=True, kw_only=True, rename="camel"):
    """One rule of the device controller; an absent type, major or minor stands for all."""

    allow: bool
    type: Literal["", "a", "b", "c"] = ""
    major: DeviceNumber | None = None
    minor: DeviceNumber | None = None
    access: Annotated[str, Meta(pattern=r"\A[rwm]*\Z")] = ""


class Memory(Struct, frozen=True, kw_only=True, rename="camel"):
    """Bytes of memory; `swap` is memory and swap together."""

    limit: Limit | None = None
    reservation: Limit | None = None
    swap: Limit | None = None
    kernel: Limit | None = None
    kernel_tcp: Limit | None = field(default=None, name="kernelTCP")
    swappiness: Uint64 | None = None
    disable_oom_killer: bool | None = field(default=None, name="disableOOMKiller")
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


class Cpu(Struct, frozen=True, kw_only=True, rename="camel"):
    """Shares of the processors; times are in microseconds."""

    shares: Uint64 | None = None
    quota: Int64 | None = None
    burst: Uint64 | None = None
    period: Uint64 | None = None
    realtime_runtime: Int64 | None = None
    realtime_period: Uint64 | None = None
    cpus: str = ""
    mems: str = ""
    idle: Int64 | None = None


class Pids(Struct, frozen=True, kw_only=True, rename="camel"):
    """How many tasks may exist at once."""

    limit: Limit | None = None


class WeightDevice(Struct, frozen=True, kw_only=True, rename="camel"):
    """The weight of one block device."""

    major: Number
    minor: Number
    weight: Uint16 | None = None
    leaf_weight: Uint16 | None = None


class ThrottleDevice(Struct, frozen=True, kw_only=True, rename="camel"):
    """The bytes, or operations, per second on one block device."""

    major: Number
    minor: Number
    rate: Uint64


class BlockIO(Struct, frozen=True, kw_only=True, rename="camel"):
    """Shares and ceilings of block input and output."""

    weight: Uint16 | None = None
    leaf_weight: Uint16 | None = None
    weight_device: tuple[WeightDevice, ...] | None = None
    throttle_read_bps_device: tuple[ThrottleDevice, ...] | None = None
    throttle_write_bps_device: tuple[ThrottleDevice, ...] | None = None
    throttle_read_iops_device: tuple[ThrottleDevice, ...] | None = field(
        default=None, name="throttleReadIOPSDevice"
    )
    throttle_write_iops_device: tuple[ThrottleDevice, ...] | None = field(
        default=None, name="throttleWriteIOPSDevice"
    )


class HugepageLimit(Struct, frozen=True, kw_only=True, rename="camel"):
    """Bytes in huge pages of one size."""

    page_size: Annotated[str, Meta(pattern=r"\A[1-9][0-9]*[KMG]B\Z")]
    limit: Uint64


class InterfacePriority(Struct, frozen=True, kw_only=True, rename="camel"):
    """The priority of one network interface (cgroup v1)."""

    name: str
    priority: Uint32


class Network(Struct, frozen=True, kw_only=True, rename="camel"):
    """Class and priorities of network traffic (cgroup v1)."""

    class_id: Uint32 | None = field(default=None, name="classID")
    priorities: tuple[InterfacePriority, ...] | None = None


class Rdma(Struct, frozen=True, kw_only=True, rename="camel"):
    """What one RDMA adapter grants."""

    hca_handles: Uint32 | None = None
    hca_objects: Uint32 | None = None


class Resources(Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything that a cgroup can limit."""

    devices: tuple[DeviceRule, ...] | None = None
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIO | None = field(default=None, name="blockIO")
    hugepage_limits: tuple[HugepageLimit, ...] | None = None
    network: Network | None = None
    rdma: dict[str, Rdma] | None = None
    unified: dict[str, str] | None = None
