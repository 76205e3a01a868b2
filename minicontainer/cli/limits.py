"""The limits of `minicontainer run`: read and refused as docker does, written as `linux.resources`.

    --memory 64m --memory-swap 96m    memory: limit 64 MiB, swap (both together) 96 MiB, else twice the limit
    --cpus 1.5                        cpu: 150000 us in each period of 100000 us
    --pids-limit 50                   pids: limit 50

Loaded when one of them is given. What the kernel counted is told before the container's cgroup is removed.

Implements docker-run(1) with the words of Docker 28 (docker/go-units, docker/cli opts, moby daemon_unix.go);
see runtime-spec config-linux.md "Control groups", cgroups(7) "memory.events".
"""

from __future__ import annotations

import posix

from minicontainer.errors import Error
from minicontainer.linux.cgroups import read_control
from minicontainer.runtime.cgroup_paths import open_path
from minicontainer.runtime.resources import DEFAULT_PERIOD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.runtime.container import Container

UNITS = "kmgtp"  # each 1024 times the one before
KIB, MIB, BILLION = 1 << 10, 1 << 20, 10**9
LARGEST = (1 << 63) - 1
LEAST_MEMORY = 6 * MIB
LEAST_CPUS = BILLION // 100
DECIMALS = 9
CPUS = 8192  # more than that no kernel has: none has a CPU of this number
IN_NUMBERS = "0123456789.+-eE"
ONLINE = "/sys/devices/system/cpu/online"
SWAPS = "/proc/swaps"  # there if the kernel knows swap at all


def read_limits(values: dict[str, Any]) -> dict[str, Any]:
    """Turn the options that were given into `linux.resources`. Raises Error with docker's words."""
    cpu = read_cpu(values)
    memory = read_memory(values["memory"], values["memory_swap"])
    found = {"memory": memory} if memory else {}
    if cpu:
        found["cpu"] = cpu
    if values["pids_limit"] is not None:
        limit = read_integer(values["pids_limit"], "--pids-limit")
        found["pids"] = {"limit": limit if limit > 0 else -1}
    return found


# --- memory -------------------------------------------------------------------------------------------------


def read_memory(memory: str | None, swap: str | None) -> dict[str, int]:
    """Read `--memory` and `--memory-swap`: the second is the sum of both kinds, and -1 any amount of swap."""
    limit = read_bytes(memory, "-m, --memory") if memory is not None else 0
    total = -1 if swap == "-1" else read_bytes(swap, "--memory-swap") if swap is not None else 0
    if limit and limit < LEAST_MEMORY:
        raise Error("Minimum memory limit allowed is 6MB")
    if total > 0 and not limit:
        raise Error("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < total < limit:
        raise Error("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not limit:
        return {}
    if not total:
        total = min(2 * limit, LARGEST) if posix.access(SWAPS, posix.F_OK) else 0
    return {"limit": limit, "swap": total} if total else {"limit": limit}


def read_bytes(text: str, flag: str) -> int:
    """Read a size, as `64m`, `1.5g`, `512 KiB` or a number of bytes."""
    end = 1 + max([text.rfind(sign) for sign in "0123456789. "])
    if not end:
        raise wrong(text, flag, f"invalid size: '{text}'")
    number, unit = text[:end].removesuffix(" "), text[end:].lower()
    try:
        size = float(number if all(sign in IN_NUMBERS for sign in number) else "")
    except ValueError:
        raise wrong(text, flag, f'strconv.ParseFloat: parsing "{number}": invalid syntax') from None
    if unit[:1] in UNITS and unit[1:] in ("", "b", "ib"):
        size *= KIB ** (UNITS.index(unit[0]) + 1) if unit else 1
    elif unit != "b":
        raise wrong(text, flag, f"invalid suffix: '{unit}'")
    if not 0 <= size <= LARGEST:
        raise wrong(text, flag, f"invalid size: '{text}'")
    return min(int(size), LARGEST)


# --- cpu ----------------------------------------------------------------------------------------------------


def read_cpu(values: dict[str, Any]) -> dict[str, Any]:
    """Read `--cpus`, `--cpu-shares` and `--cpuset-cpus`."""
    found: dict[str, Any] = {}
    billionths = read_cpus(values["cpus"]) if values["cpus"] is not None else 0
    if billionths:
        found["period"] = DEFAULT_PERIOD
        found["quota"] = billionths * DEFAULT_PERIOD // BILLION
    shares = read_integer(values["cpu_shares"], "-c, --cpu-shares") if values["cpu_shares"] is not None else 0
    if shares < 0:
        raise Error("shares: invalid argument")
    if shares:
        found["shares"] = shares
    if values["cpuset_cpus"]:
        check_cpu_list(values["cpuset_cpus"], read_file(ONLINE))
        found["cpus"] = values["cpuset_cpus"]
    return found


def read_cpus(text: str) -> int:
    """Read a decimal number of CPUs, in billionths, and refuse more than we may use."""
    whole, _, fraction = text.removeprefix("-" if text[:1] == "-" else "+").partition(".")
    fraction = fraction.rstrip("0")
    if not is_number(whole + fraction):
        raise wrong(text, "--cpus", f"failed to parse {text} as a rational number")
    if len(fraction) > DECIMALS:
        raise wrong(text, "--cpus", "value is too precise")
    billionths = int(whole + fraction.ljust(DECIMALS, "0"))
    there = len(posix.sched_getaffinity(0))
    if billionths and (text[0] == "-" or not LEAST_CPUS <= billionths <= there * BILLION):
        raise Error(f"range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available")
    return billionths


def check_cpu_list(text: str, online: str) -> None:
    """Refuse what is not a list as `0-2,4`, and CPUs that are not there."""
    wanted = cpu_list(text)
    if wanted is None:
        raise Error(f"Invalid value {text} for cpuset cpus")
    if not wanted <= (cpu_list(online) or set()):
        raise Error(f"Requested CPUs are not available - requested {text}, available: {online}")


def cpu_list(text: str) -> set[int] | None:
    """Read a list of CPUs as the kernel writes it; None where it is not one."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not is_number(first) or (dash and not is_number(last)) or int(first) > int(last or first):
            return None
        found.update(range(min(int(first), CPUS), min(int(last or first), CPUS) + 1))
    return found


# --- numbers ------------------------------------------------------------------------------------------------


def read_integer(text: str, flag: str) -> int:
    """Read a whole number, as `50`, `-1` or `0x20`."""
    try:
        number = int(text if text.isascii() and " " not in text else "", 0)
    except ValueError:
        raise wrong(text, flag, f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if not -LARGEST <= number <= LARGEST:
        raise wrong(text, flag, f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


def is_number(text: str) -> bool:
    """Tell digits from anything else; Python would also take other scripts' digits and underscores."""
    return text.isascii() and text.isdigit()


def wrong(text: str, flag: str, why: str) -> Error:
    """Make docker's message for a value that cannot be read."""
    return Error(f'invalid argument "{text}" for "{flag}" flag: {why}')


def read_file(path: str) -> str:
    """Read a small file of the kernel."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(fd, 4096).decode().strip()
    finally:
        posix.close(fd)


# --- what became of it --------------------------------------------------------------------------------------


def tell_kills(container: Container, limit: int) -> None:
    """Say on standard error how many processes the kernel killed at the memory limit, if it killed any."""
    directory = open_path(container.record.get("cgroup") or "/nowhere")
    if directory is None:
        return  # `delete --force` was quicker
    try:
        counted = read_control(directory, "memory.events")
    except OSError:
        return
    finally:
        posix.close(directory)
    if said := kills_in(counted, limit):
        posix.write(2, said.encode())


def kills_in(counted: str, limit: int) -> str:
    """Put the kernel's counters (the text of memory.events) into words; "" where nothing was killed."""
    words = counted.split()
    count = dict(zip(words[::2], words[1::2], strict=True))
    kills = int(count.get("oom_kill", "0"))
    if not kills:
        return ""
    what = "process" if kills == 1 else "processes"
    size = f"{limit} bytes" if limit % MIB else f"{limit // MIB} MiB"
    return (
        f"minicontainer: the kernel killed {kills} {what}: the memory limit of {size} was reached "
        f"(memory.events: oom {count.get('oom', '0')}, oom_kill {kills})\n"
    )
