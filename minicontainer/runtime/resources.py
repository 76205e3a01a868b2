"""From `linux.resources` to what is written into the files of a cgroup.

The specification speaks cgroup v1; the kernel here speaks v2. Shares become weights, memory+swap becomes swap
alone, and what v2 does not have is refused. Each write is a pair (file, value); their order is the order of
writing. A value that is the kernel's default (containerd sends 1024 shares with every container) asks for no
controller.

Implements runtime-spec config-linux.md, "Control groups", with the conversions of runc 1.3
(opencontainers/cgroups, utils.go and fs2/); see <Documentation/admin-guide/cgroup-v2.rst>.
"""

from __future__ import annotations

from minicontainer.errors import SpecError, Unsupported
from minicontainer.linux.cgroups import read_control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Writes = list[tuple[str, str]]

LIMIT = "linux.resources"
DEFAULT_PERIOD = 100000  # microseconds
LEAST_SHARES, DEFAULT_SHARES, MOST_SHARES = 2, 1024, 262144
DEFAULT_WEIGHT, MOST_WEIGHT = 100, 10000
LEAST_IO_WEIGHT, MOST_IO_WEIGHT = 10, 1000
DEFAULTS = {
    "cpu.weight": "100", "cpu.idle": "0", "cpu.max.burst": "0",
    "memory.max": "max", "memory.swap.max": "max", "pids.max": "max",
}  # fmt: skip
THROTTLES = (
    ("throttleReadBpsDevice", "rbps"), ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"), ("throttleWriteIOPSDevice", "wiops"),
)  # fmt: skip
V1_ONLY = (
    ("memory", "swappiness"), ("memory", "disableOOMKiller"),
    ("cpu", "realtimeRuntime"), ("cpu", "realtimePeriod"),
    ("blockIO", "leafWeight"), ("network", "classID"), ("network", "priorities"),
)  # fmt: skip


def control_writes(resources: dict[str, Any], bfq: bool = False) -> Writes:
    """Translate resources into writes; `bfq` says that the group has the BFQ scheduler's own weights.

    Raises SpecError for values that contradict each other, and Unsupported for what cgroup v2 does not have.
    """
    refuse_v1(resources)
    return [
        *_limit("pids.max", (resources.get("pids") or {}).get("limit")),
        *memory_writes(resources.get("memory") or {}),
        *io_writes(resources.get("blockIO") or {}, bfq),
        *cpu_writes(resources.get("cpu") or {}),
        *hugetlb_writes(resources.get("hugepageLimits") or []),
        *rdma_writes(resources.get("rdma") or {}),
        *unified_writes(resources.get("unified") or {}),
    ]


def controllers_needed(resources: dict[str, Any]) -> set[str]:
    """Name the controllers without which the resources cannot be given."""
    converted = control_writes({**resources, "unified": None})
    asked = [name for name, value in converted if not is_default(name, value)]
    asked += [name for name, _ in unified_writes(resources.get("unified") or {})]
    # cgroup.* and *.pressure are files of every group.
    return {name.split(".", 1)[0] for name in asked if not name.endswith(".pressure")} - {"cgroup"}


def is_default(name: str, value: str) -> bool:
    """Tell whether a value is what the kernel gives to a new group anyway."""
    if name == "io.max":
        return value.endswith("=max")
    return DEFAULTS.get(name) == value or (name == "cpu.max" and value.startswith("max"))


def is_optional(name: str, value: str) -> bool:
    """Tell whether a write may be left out where the group does not have the file."""
    # Without swap accounting there is no swap to forbid; reservations of huge pages came with Linux 5.7.
    return is_default(name, value) or (name, value) == ("memory.swap.max", "0") or name.endswith(".rsvd.max")


def refuse_v1(resources: dict[str, Any]) -> None:
    """Refuse what only cgroup v1 could do; kernel memory limits may be ignored, says the specification."""
    for part, name in V1_ONLY:
        if part in resources:
            value = (resources[part] or {}).get(name)
            # A swappiness of 0 is a wish, any other 0, false or [] is none.
            if value or (name == "swappiness" and value is not None):
                raise Unsupported(f"{LIMIT}.{part}.{name}: cgroup v2 has no such limit")


def _limit(name: str, value: int | None) -> Writes:
    """Write a limit of which -1 means none, and 0 that nothing was said."""
    return [(name, "max" if value < 0 else str(value))] if value else []


# --- memory -------------------------------------------------------------------------------------------------


def memory_writes(memory: dict[str, Any]) -> Writes:
    """Translate memory limits: swap first, so that what a lower limit pushes out has where to go."""
    if not memory:
        return []
    limit, total = memory.get("limit") or 0, memory.get("swap") or 0
    swap = swap_alone(total, limit)
    # Both limits equal: no swap at all. (Otherwise 0 means that nothing was said.)
    swap_writes = [("memory.swap.max", "0")] if total > 0 and swap == 0 else _limit("memory.swap.max", swap)
    return [*swap_writes, *_limit("memory.max", limit), *_limit("memory.low", memory.get("reservation"))]


def swap_alone(total: int, limit: int) -> int:
    """Give the limit of swap alone from that of memory and swap (-1: no limit, 0: nothing was said)."""
    if limit == -1 and total == 0:
        return -1  # who frees memory and does not speak of swap frees both, as in v1
    if total in (-1, 0) or limit == -1:
        return total
    if limit == 0:
        raise SpecError(f"{LIMIT}.memory.swap", "unable to set swap limit without memory limit")
    if total < limit:
        raise SpecError(f"{LIMIT}.memory.swap", "memory+swap limit should be >= memory limit")
    return total - limit


# --- cpu ----------------------------------------------------------------------------------------------------


def cpu_writes(cpu: dict[str, Any]) -> Writes:
    """Translate CPU limits and sets. A burst comes first; it is tried again if the old quota forbids it."""
    if not cpu:
        return []
    writes = []
    if cpu.get("idle") is not None:
        writes.append(("cpu.idle", str(cpu["idle"])))
    weight = weight_of_shares(cpu.get("shares") or 0)
    # An idle group has no weight: the kernel refuses to change it, even to the default.
    if weight and not (cpu.get("idle") and weight == DEFAULT_WEIGHT):
        writes.append(("cpu.weight", str(weight)))
    if cpu.get("burst") is not None:
        writes.append(("cpu.max.burst", str(cpu["burst"])))
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    if quota or period:
        writes.append(("cpu.max", f"{quota if quota > 0 else 'max'} {period or DEFAULT_PERIOD}"))
    return writes + [(f"cpuset.{name}", cpu[name]) for name in ("cpus", "mems") if cpu.get(name)]


def weight_of_shares(shares: int) -> int:
    """Convert shares (2 to 262144, default 1024) to a weight (1 to 10000, default 100); 0 stays 0.

    The curve of runc 1.3 and crun 1.23 goes through the minimum, the default and the maximum of both scales.
    """
    if shares in (0, DEFAULT_SHARES):
        return DEFAULT_WEIGHT if shares else 0
    if shares <= LEAST_SHARES:
        return 1
    if shares >= MOST_SHARES:
        return MOST_WEIGHT
    from math import ceil, log2

    exponent = log2(shares)
    return ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34))


# --- io, huge pages, rdma, unified --------------------------------------------------------------------------


def io_writes(io: dict[str, Any], bfq: bool) -> Writes:
    """Translate block I/O weights and throttles; a rate of 0 takes the throttle away, as in v1."""
    writes = []
    name = "io.bfq.weight" if bfq else "io.weight"
    if io.get("weight"):
        writes.append((name, io_weight(io["weight"], "weight", bfq)))
    for device in io.get("weightDevice") or []:
        if device.get("leafWeight"):
            raise Unsupported(f"{LIMIT}.blockIO.weightDevice.leafWeight: cgroup v2 has no such limit")
        if device.get("weight"):
            weight = io_weight(device["weight"], "weightDevice", bfq)
            writes.append((name, f"{device['major']}:{device['minor']} {weight}"))
    for key, word in THROTTLES:
        for device in io.get(key) or []:
            writes.append(("io.max", f"{device['major']}:{device['minor']} {word}={device['rate'] or 'max'}"))
    return writes


def io_weight(weight: int, key: str, bfq: bool) -> str:
    """Convert a v1 weight (10 to 1000) to that of io.weight (1 to 10000); BFQ has kept the old scale."""
    if not LEAST_IO_WEIGHT <= weight <= MOST_IO_WEIGHT:
        raise SpecError(f"{LIMIT}.blockIO.{key}", f"{weight} is not between 10 and 1000")
    return str(weight if bfq else 1 + (weight - LEAST_IO_WEIGHT) * 9999 // 990)


def hugetlb_writes(limits: list[dict[str, Any]]) -> Writes:
    """Limit huge pages both when they are reserved and when they are used."""
    writes = []
    for entry in limits:
        for suffix in ("max", "rsvd.max"):
            writes.append((f"hugetlb.{entry['pageSize']}.{suffix}", str(entry["limit"])))
    return writes


def rdma_writes(rdma: dict[str, Any]) -> Writes:
    """Limit the handles and objects of RDMA devices."""
    writes = []
    for device, limits in rdma.items():
        asked = [
            f"{word}={limits[key]}"
            for key, word in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
            if limits.get(key) is not None
        ]
        if asked:
            writes.append(("rdma.max", " ".join([device, *asked])))
    return writes


def unified_writes(unified: dict[str, str]) -> Writes:
    """Take cgroup v2 files as they are, one write for each line of a value."""
    writes = []
    for name, value in unified.items():
        if "/" in name or name.startswith(".") or "." not in name:
            raise SpecError(
                f"{LIMIT}.unified", f'"{name}" is not a file name of the form CONTROLLER.PARAMETER'
            )
        writes += [(name, line) for line in value.splitlines() or [value]]
    return writes


# --- update -------------------------------------------------------------------------------------------------


def completed(resources: dict[str, Any], directory: int) -> dict[str, Any]:
    """Add to an update what it leaves out and its conversion needs, as the kernel has it now."""
    whole = dict(resources)
    if whole.get("cpu"):
        whole["cpu"] = _completed_cpu(whole["cpu"], directory)
    if whole.get("memory"):
        whole["memory"] = _completed_memory(whole["memory"], directory)
    return whole


def _completed_cpu(cpu: dict[str, Any], directory: int) -> dict[str, Any]:
    if bool(cpu.get("quota")) == bool(cpu.get("period")):
        return cpu
    quota, period = _numbers(directory, "cpu.max") or [-1, DEFAULT_PERIOD]
    return {**cpu, "quota": cpu.get("quota") or quota, "period": cpu.get("period") or period}


def _completed_memory(memory: dict[str, Any], directory: int) -> dict[str, Any]:
    limit, total = memory.get("limit") or 0, memory.get("swap") or 0
    if (limit > 0) == (total > 0) or limit < 0 or total < 0:
        return memory
    had = (_numbers(directory, "memory.max") or [-1])[0]
    if had <= 0:
        return memory
    if total > 0:
        return {**memory, "limit": had}
    swap = (_numbers(directory, "memory.swap.max") or [-1])[0]
    # The sum of both was limited, and stays so. Where swap was forbidden it stays forbidden.
    return {**memory, "swap": limit if swap == 0 else had + swap} if swap >= 0 else memory


def _numbers(directory: int, name: str) -> list[int]:
    """Read a file of numbers, with -1 for "max"; empty where the group does not have it."""
    try:
        words = read_control(directory, name).split()
    except OSError:
        return []
    return [-1 if word == "max" else int(word) for word in words]


def check_usage(memory: dict[str, Any], directory: int) -> None:
    """Refuse a limit below what is used now, where `checkBeforeUpdate` asks for that."""
    if not memory.get("checkBeforeUpdate"):
        return
    usage = (_numbers(directory, "memory.current") or [-1])[0]
    for key, what in (("swap", "memory+swap limit"), ("limit", "memory limit")):
        limit = memory.get(key) or 0
        if 0 < limit <= usage:
            raise SpecError(f"{LIMIT}.memory.{key}", f"rejecting {what} {limit} <= usage {usage}")
