"""Make OCI bundles that cost a few milliseconds: one busybox, hard-linked into each root file system.

A bundle's `config` is a plain dict, the one that `runc spec` writes with `terminal` false; a test edits it,
and the runtime harness saves it just before each call.
See: runtime-spec, bundle.md and config.md.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeBundle = Callable[[], "Bundle"]

BUSYBOX = Path("/bin/busybox")
"""Debian's busybox-static."""

FOLDERS = ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000:bob:/home/bob:/bin/sh\n"
GROUP = "root:x:0:\nbob:x:1000:\nstaff:x:50:bob\n"

MASKED = [
    "acpi",
    "asound",
    "kcore",
    "keys",
    "latency_stats",
    "timer_list",
    "timer_stats",
    "sched_debug",
    "scsi",
]
READONLY = ["bus", "fs", "irq", "sys", "sysrq-trigger"]
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

_numbers = itertools.count(1)


def mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    """Give one entry of `mounts`."""
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def bind(source: Path | str, destination: str, *options: str) -> dict[str, Any]:
    """Give one entry of `mounts` that binds a folder or file of the host."""
    return mount(destination, "bind", str(source), "bind", *options)


def default_config() -> dict[str, Any]:
    """Give the config.json of `runc spec`, without a terminal and with a writable root."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "container",
        "mounts": [
            mount("/proc", "proc", "proc"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            mount(
                "/dev/pts",
                "devpts",
                "devpts",
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ),
            mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
            mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
            mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": [f"/proc/{name}" for name in MASKED] + ["/sys/firmware"],
            "readonlyPaths": [f"/proc/{name}" for name in READONLY],
        },
    }


def make_lower(folder: Path) -> Path:
    """Make the session's root file system, from which bundles are linked: never the host's busybox itself."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    (folder / "tmp").chmod(0o1777)
    shutil.copy2(BUSYBOX, folder / "bin/busybox")
    listing = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    for applet in listing.stdout.split():
        if applet != "busybox":
            (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc/passwd").write_text(PASSWD)
    (folder / "etc/group").write_text(GROUP)
    (folder / "home/bob").mkdir()
    os.chown(folder / "home/bob", 1000, 1000)
    return folder


def _link_tree(lower: Path, rootfs: Path) -> None:
    """Copy a tree: folders made, symbolic links copied, busybox hard-linked, other files copied."""
    rootfs.mkdir()
    for name in FOLDERS:
        (rootfs / name).mkdir()
        shutil.copystat(lower / name, rootfs / name)
    for entry in os.scandir(lower / "bin"):
        if entry.is_symlink():
            (rootfs / "bin" / entry.name).symlink_to("busybox")
        else:
            (rootfs / "bin" / entry.name).hardlink_to(entry.path)
    for name in ("etc/passwd", "etc/group"):
        shutil.copyfile(lower / name, rootfs / name)
    (rootfs / "home/bob").mkdir()
    os.chown(rootfs / "home/bob", 1000, 1000)


class Bundle:
    """A folder with config.json and rootfs, and the id that its container will have."""

    def __init__(self, path: Path, lower: Path) -> None:
        self.path = path
        self.rootfs = path / "rootfs"
        self.id = f"t{os.getpid()}-{next(_numbers)}"
        self.config = default_config()
        self.config["linux"]["cgroupsPath"] = f"/{self.id}"
        path.mkdir()
        _link_tree(lower, self.rootfs)

    @property
    def process(self) -> dict[str, Any]:
        """The `process` object of the config."""
        found: dict[str, Any] = self.config["process"]
        return found

    @property
    def linux(self) -> dict[str, Any]:
        """The `linux` object of the config."""
        found: dict[str, Any] = self.config["linux"]
        return found

    @linux.setter
    def linux(self, linux: dict[str, Any]) -> None:
        self.config["linux"] = linux

    @property
    def mounts(self) -> list[dict[str, Any]]:
        """The list of mounts of the config."""
        found: list[dict[str, Any]] = self.config["mounts"]
        return found

    @mounts.setter
    def mounts(self, mounts: list[dict[str, Any]]) -> None:
        self.config["mounts"] = mounts

    def args(self, *argv: str) -> Bundle:
        """Set the program to run."""
        self.process["args"] = list(argv)
        return self

    def shell(self, script: str) -> Bundle:
        """Set the program to a script of the container's own shell."""
        return self.args("sh", "-c", script)

    def capabilities(self, *names: str, ambient: bool = False) -> Bundle:
        """Give the process these capabilities (without their CAP_), in every set but the ambient one."""
        sets = ["bounding", "effective", "permitted"] + (["inheritable", "ambient"] if ambient else [])
        self.process["capabilities"] = {name: [f"CAP_{short}" for short in names] for name in sets}
        return self

    def namespace(self, kind: str, path: str | None = None) -> Bundle:
        """Ask for a namespace of this kind: a new one, or the one at `path`."""
        entry = {"type": kind} | ({"path": path} if path else {})
        self.without_namespace(kind)
        self.linux["namespaces"].append(entry)
        return self

    def without_namespace(self, kind: str) -> Bundle:
        """Use the host's namespace of this kind."""
        self.linux["namespaces"] = [entry for entry in self.linux["namespaces"] if entry["type"] != kind]
        return self

    def without_mount(self, destination: str) -> Bundle:
        """Leave out the mount at `destination`."""
        self.config["mounts"] = [entry for entry in self.mounts if entry["destination"] != destination]
        return self

    def map_users(self, host: int = 100000, size: int = 65536) -> Bundle:
        """Ask for a user namespace whose ids start at `host`, and give it the root file system."""
        self.namespace("user")
        ids = [{"containerID": 0, "hostID": host, "size": size}]
        self.linux["uidMappings"], self.linux["gidMappings"] = ids, copy.deepcopy(ids)
        own_tree(self.rootfs, host)
        return self

    def save(self) -> Bundle:
        """Write config.json."""
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self


def own_tree(top: Path, uid: int) -> None:
    """Give a tree to another owner, leaving out the busybox that all bundles share."""
    for folder, names, files in os.walk(top):
        for name in [*names, *files]:
            if name != "busybox":
                os.chown(Path(folder) / name, uid, uid, follow_symlinks=False)
    os.chown(top, uid, uid)
