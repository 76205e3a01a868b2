"""The bundle that is measured: busybox with Docker's defaults, its seccomp profile included."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path

from minicontainer.cli.config import CAPABILITIES, Wanted, config_text
from minicontainer.cli.options import COMMANDS
from minicontainer.cli.users import User
from minicontainer.oci.docker_profile import default_seccomp

BUSYBOX = Path("/bin/busybox")
APPLETS = ("sh", "true", "sleep")


def make_rootfs(place: Path) -> Path:
    """Make a root file system of one program and a few directories."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (place / name).mkdir(parents=True)
    shutil.copy2(BUSYBOX.resolve(), place / "bin/busybox")
    for name in APPLETS:
        (place / "bin" / name).symlink_to("busybox")
    return place


def make_bundle(place: Path, rootfs: Path, *args: str, cgroup: str = "") -> Path:
    """Make a bundle that runs `args` the way docker would."""
    release = os.uname().release.split(".")
    kernel = (int(release[0]), int(release[1].split("-")[0]))
    seccomp = default_seccomp(CAPABILITIES, platform.machine(), kernel)
    values = COMMANDS["run"].nothing_given() | {"command": list(args)}
    wanted = Wanted("bench", str(rootfs), values, image={})
    config = json.loads(config_text(wanted, User(0, 0, []), json.dumps(seccomp), False))
    config["linux"].pop("cgroupsPath", None)
    if cgroup:
        config["linux"]["cgroupsPath"] = cgroup
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config))
    return place
