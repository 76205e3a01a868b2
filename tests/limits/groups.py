"""What the tests of limits share: bundles with limits, counters of cgroups, programs that take much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.runtime.bundles import bind

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

MIB = 1 << 20
SPIN = "while :; do :; done"


@dataclass(frozen=True)
class Disk:
    """A block device and where it is mounted."""

    device: Path
    place: Path

    @property
    def numbers(self) -> tuple[int, int]:
        """Give the device's major and minor number."""
        text = Path("/sys/block", self.device.name, "dev").read_text()
        major, minor = map(int, text.split(":"))
        return major, minor


def limited(make: MakeBundle, **resources: Any) -> Bundle:
    """Give a bundle with these resources, beside the usual device rule."""
    made = make()
    made.linux["resources"].update(resources)
    return made


def memory(megabytes: int, swap: int = 0) -> dict[str, int]:
    """Limit memory, and forbid all swap but this."""
    return {"limit": megabytes * MIB, "swap": (megabytes + swap) * MIB}


def counts(group: Path, name: str) -> dict[str, int]:
    """Read a file of counters, as memory.events."""
    rows = (line.split() for line in (group / name).read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows}


def number(group: Path, name: str) -> int:
    """Read a file that holds one number."""
    return int((group / name).read_text())


def stalled(group: Path, resource: str, who: str = "some") -> int:
    """Read how many microseconds tasks have waited for a resource. See <Documentation/accounting/psi.rst>."""
    rows = (line.split() for line in (group / f"{resource}.pressure").read_text().splitlines())
    return next(int(row[-1].removeprefix("total=")) for row in rows if row[0] == who)


def take(megabytes: int) -> list[str]:
    """Give a program that fills this much memory of its own, and ends."""
    return ["dd", "if=/dev/zero", "of=/dev/null", f"bs={megabytes}M", "count=1"]


def with_own_groups(made: Bundle) -> Bundle:
    """Let the container see its own cgroup as the root of the tree, and write to it."""
    made.namespace("cgroup")
    options = next(entry for entry in made.mounts if entry["destination"] == "/sys/fs/cgroup")["options"]
    options[options.index("ro")] = "rw"
    return made


def with_python(made: Bundle) -> Bundle:
    """Let the container have this machine's Python."""
    made.mounts.append(bind("/usr", "/usr", "ro"))
    for name in ("lib", "lib64"):
        (made.rootfs / name).symlink_to(f"usr/{name}")
    return made


def beside(runtime: Runtime, make: MakeBundle) -> Bundle:
    """Give a container that sleeps without limits, to see that it is left alone."""
    made = make()
    runtime.sleeping(made)
    return made
