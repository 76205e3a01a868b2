"""The config.json that `minicontainer-runtime spec` writes: a shell in `rootfs`, with few capabilities.

The same settings as those of `runc spec`, so that what people have learned there holds here.

Implements runtime-spec config.md; the choice of values is that of runc 1.3.
"""

from __future__ import annotations

import posix

from minicontainer.trace.json_lines import dump_indented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_VERSION = "1.2.1"
INDENT = "\t"

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_MOUNTS = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),  # noqa: S108
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro")),
)
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount")
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
)
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def example_text(rootless: bool = False) -> str:
    """Write the config.json of `spec`, or of `spec --rootless` for the user who asks, as runc lays it out."""
    config = rootless_config(posix.geteuid(), posix.getegid()) if rootless else example_config()
    return dump_indented(config, INDENT)


def example_config(cgroup_namespace: bool = True) -> dict[str, Any]:
    """Make the config of `spec`; on a host without cgroup v2 runc lists no cgroup namespace."""
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {kind: list(_CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "minicontainer",
        "mounts": [_mount(*mount) for mount in _MOUNTS],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [
                {"type": kind} for kind in (*_NAMESPACES, *(("cgroup",) if cgroup_namespace else ()))
            ],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }


def rootless_config(uid: int, gid: int, cgroup_namespace: bool = True) -> dict[str, Any]:
    """Make the config of `spec --rootless`: container root is `uid`:`gid`, the network is the host's.

    No other id is mapped, /sys is the host's, and no cgroup is limited.
    """
    config = example_config(cgroup_namespace)
    for mount in config["mounts"]:
        if mount["destination"] == "/sys":
            mount.update(_mount("/sys", "none", "/sys", ("rbind", "nosuid", "noexec", "nodev", "ro")))
        if "options" in mount:
            mount["options"] = [option for option in mount["options"] if option[:4] not in ("uid=", "gid=")]
    old = config["linux"]
    namespaces = [namespace for namespace in old["namespaces"] if namespace["type"] != "network"]
    config["linux"] = {
        "uidMappings": [{"containerID": 0, "hostID": uid, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": gid, "size": 1}],
        "namespaces": [*namespaces, {"type": "user"}],
        "maskedPaths": old["maskedPaths"],
        "readonlyPaths": old["readonlyPaths"],
    }
    return config


def _mount(destination: str, kind: str, source: str, options: tuple[str, ...]) -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
    if options:
        mount["options"] = list(options)
    return mount
