"""config.json for `minicontainer run`: an OCI runtime configuration with Docker's defaults.

Fourteen capabilities, Docker's seccomp profile, no devices but the harmless ones, masked and read-only paths,
and namespaces of every kind but user and time. The network namespace holds a loopback device and nothing
else.

Implements runtime-spec, config.md; the values are those of Docker 28 (github.com/moby/moby, oci/defaults.go).
"""

from __future__ import annotations

import posix

from minicontainer.trace.json_lines import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.cli.users import User

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
LIMITS = ("memory", "memory_swap", "cpus", "cpu_shares", "cpuset_cpus", "pids_limit")


class Wanted:
    """What the command line asks for, and where it is silent the image, as plain values."""

    __slots__ = (
        "args", "container_id", "cwd", "env", "hostname", "limits", "read_only", "rootfs", "terminal", "user",
    )  # fmt: skip

    def __init__(self, container_id: str, rootfs: str, values: dict[str, Any], image: dict[str, Any]) -> None:
        """Take `image`, the `config` of an image's configuration, empty where there is no image."""
        self.container_id = container_id
        self.rootfs = rootfs
        self.args = arguments(values["command"], image)
        self.hostname: str = values["hostname"] or container_id
        # A name alone passes our own value on: only the caller may ask for that.
        self.env: list[str] = [entry for entry in image.get("Env") or [] if "=" in entry] + values["env"]
        self.cwd: str = values["workdir"] or f"/{(image.get('WorkingDir') or '').lstrip('/')}"
        self.user: str = values["user"] or image.get("User") or ""
        self.terminal: bool = values["tty"]
        self.read_only: bool = values["read_only"]
        self.limits: dict[str, Any] = {}
        if any([values[name] is not None for name in LIMITS]):
            from minicontainer.cli.limits import read_limits

            self.limits = read_limits(values)


def arguments(command: list[str], image: dict[str, Any]) -> list[str]:
    """Put together what is executed: the image's entrypoint, then our words or else the image's."""
    entrypoint: list[str] = image.get("Entrypoint") or []
    return [*entrypoint, *(command or image.get("Cmd") or [])] or ["sh"]


def config_text(wanted: Wanted, user: User, seccomp: str, rootless: bool) -> str:
    """Write config.json; `seccomp` is the profile as JSON, put in as it is."""
    linux = linux_part(wanted, rootless)
    config: dict[str, Any] = {
        "ociVersion": "1.2.1",
        "process": process_part(wanted, user),
        "root": {"path": wanted.rootfs, "readonly": wanted.read_only},
        "hostname": wanted.hostname,
        "mounts": [
            {"destination": place, "type": kind, "source": source, "options": options_for(options, rootless)}
            for place, kind, source, options in MOUNTS
        ],
    }
    return f'{dumps(config)[:-1]},"linux":{dumps(linux)[:-1]},"seccomp":{seccomp}}}}}'


def process_part(wanted: Wanted, user: User) -> dict[str, Any]:
    """Write `process`."""
    root = [*CAPABILITIES]
    # As docker does: a program that is not root has no capability, but may gain the bounding ones by a
    # set-uid file.
    own = root if user.uid == 0 else []
    return {
        "terminal": wanted.terminal,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.additional_gids},
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
    """Write `process.env`: docker's, the image's, what was asked for; a name alone passes ours on."""
    made = {"PATH": PATH, "HOSTNAME": f"HOSTNAME={wanted.hostname}"}
    if wanted.terminal:
        made["TERM"] = "TERM=xterm"
    for entry in wanted.env:
        name, equals, _ = entry.partition("=")
        if equals:
            made[name] = entry
        else:
            value = posix.environ.get(entry.encode("utf-8", "surrogateescape"))
            if value is not None:
                made[name] = f"{entry}={value.decode('utf-8', 'surrogateescape')}"
    return list(made.values())
