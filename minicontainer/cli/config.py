"""config.json for `minicontainer run`: an OCI runtime configuration with Docker's defaults.

Fourteen capabilities, Docker's seccomp profile, no devices but the harmless ones, masked and read-only paths,
and namespaces of every kind but user and time. The network namespace holds a loopback device and nothing
else.

Implements runtime-spec, config.md; the values are those of Docker 28 (github.com/moby/moby, oci/defaults.go).
"""

from __future__ import annotations

import posix

from minicontainer.errors import SpecError
from minicontainer.trace.json_lines import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
]  # fmt: skip
NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SAFE = ["nosuid", "noexec", "nodev"]
MOUNTS = (
    ("/proc", "proc", "proc", SAFE),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/sys", "sysfs", "sysfs", [*SAFE, "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", [*SAFE, "ro"]),
    ("/dev/mqueue", "mqueue", "mqueue", SAFE),
    ("/dev/shm", "tmpfs", "shm", [*SAFE, "mode=1777", "size=65536k"]),  # noqa: S108
)
MASKED = [
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
    "/sys/devices/virtual/powercap", "/sys/firmware",
]  # fmt: skip
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
LARGEST_ID = 0xFFFFFFFE
LIMITS = ("memory", "memory_swap", "cpus", "cpu_shares", "cpuset_cpus", "pids_limit")


class Wanted:
    """What the command line asks for, as plain values."""

    __slots__ = (
        "args", "container_id", "cwd", "env", "hostname", "limits", "read_only", "rootfs", "terminal", "user",
    )  # fmt: skip

    def __init__(self, container_id: str, rootfs: str, values: dict[str, Any]) -> None:
        self.container_id = container_id
        self.rootfs = rootfs
        self.args: list[str] = values["command"] or ["sh"]
        self.hostname: str = values["hostname"] or container_id
        self.env: list[str] = values["env"]
        self.cwd: str = values["workdir"] or "/"
        self.user = read_user(values["user"] or "0")
        self.terminal: bool = values["tty"]
        self.read_only: bool = values["read_only"]
        self.limits: dict[str, Any] = {}
        if any([values[name] is not None for name in LIMITS]):
            from minicontainer.cli.limits import read_limits

            self.limits = read_limits(values)


def config_text(wanted: Wanted, seccomp: str, rootless: bool) -> str:
    """Write config.json; `seccomp` is the profile as JSON, put in as it is."""
    linux = linux_part(wanted, rootless)
    config: dict[str, Any] = {
        "ociVersion": "1.2.1",
        "process": process_part(wanted),
        "root": {"path": wanted.rootfs, "readonly": wanted.read_only},
        "hostname": wanted.hostname,
        "mounts": [
            {"destination": place, "type": kind, "source": source, "options": options_for(options, rootless)}
            for place, kind, source, options in MOUNTS
        ],
    }
    return f'{dumps(config)[:-1]},"linux":{dumps(linux)[:-1]},"seccomp":{seccomp}}}}}'


def process_part(wanted: Wanted) -> dict[str, Any]:
    """Write `process`."""
    uid, gid = wanted.user
    root = [*CAPABILITIES]
    # As docker does: a program that is not root has no capability, but may gain the bounding ones by a
    # set-uid file.
    own = root if uid == 0 else []
    return {
        "terminal": wanted.terminal,
        "user": {"uid": uid, "gid": gid},
        "args": wanted.args,
        "env": environment(wanted),
        "cwd": wanted.cwd,
        "capabilities": {"bounding": root, "effective": own, "permitted": own},
        "oomScoreAdj": 0,
        "noNewPrivileges": False,
    }


def linux_part(wanted: Wanted, rootless: bool) -> dict[str, Any]:
    """Write `linux`, without its filter."""
    part: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in NAMESPACES],
        "maskedPaths": MASKED,
        "readonlyPaths": READ_ONLY,
    }
    if not rootless:
        part["cgroupsPath"] = f"/minicontainer-{wanted.container_id}"
        part["resources"] = {"devices": [{"allow": False, "access": "rwm"}], **wanted.limits}
    return part


def options_for(options: list[str], rootless: bool) -> list[str]:
    """Leave out group 5 (tty) of devpts where a user namespace may not have it."""
    return [option for option in options if option != "gid=5"] if rootless else options


def environment(wanted: Wanted) -> list[str]:
    """Write `process.env`: docker's defaults, then what was asked for; a name alone passes our value on."""
    made = [PATH, f"HOSTNAME={wanted.hostname}"]
    if wanted.terminal:
        made.append("TERM=xterm")
    for entry in wanted.env:
        if "=" in entry:
            made.append(entry)
        else:
            value = posix.environ.get(entry.encode("utf-8", "surrogateescape"))
            if value is not None:
                made.append(f"{entry}={value.decode('utf-8', 'surrogateescape')}")
    return made


def read_user(text: str) -> tuple[int, int]:
    """Read `UID[:GID]`. Raises SpecError for names, which would have to be looked up in the image."""
    uid, colon, gid = text.partition(":")
    numbers = (uid, gid if colon else "0")
    for number in numbers:
        if not (number.isascii() and number.isdigit() and int(number) <= LARGEST_ID):
            raise SpecError(
                "--user", f'"{text}" is not UID or UID:GID', hint="both are numbers, as in 1000:1000"
            )
    return int(numbers[0]), int(numbers[1])
