"""The machine that this runs on: the answers are asked for, and, if wanted, things are tried.

Asking changes nothing. Trying makes namespaces, mounts and links that vanish with the process that made them:
minicontainer.linux.trials, minicontainer.linux.kvm.

See uname(2), statvfs(3), xattr(7) "security.capability", modules.builtin (kmod).
"""

from __future__ import annotations

import os
import platform
import pwd
import shutil
from importlib import metadata
from pathlib import Path

from minicontainer.doctor.machine import Answers, Machine, Place, Program
from minicontainer.doctor.packages import PACKAGES
from minicontainer.errors import Error
from minicontainer.image.store.place import default_root
from minicontainer.linux import programs
from minicontainer.linux.capabilities import NAMES
from minicontainer.linux.kvm import kvm_works
from minicontainer.linux.trials import TRIALS, attempt

LIBRARIES = ("click", "jeepney", "msgspec", "python-prctl", "rich")
MODULES = ("overlay", "bridge", "veth", "nf_tables", "fuse", "tun")
DEVICES = ("/dev/kvm", "/dev/fuse", "/dev/net/tun")
ADMINISTRATORS = "/usr/local/sbin:/usr/sbin:/sbin"  # not on an ordinary user's PATH
NO_KVM = "no virtual processor gets to count to fifty million within a second"
ROOT_ONLY = ("overlay",)


def this_machine(*, trying: bool) -> Machine:
    """Look at the machine here; `trying` also makes the trials."""
    answers = Answers(
        uid=os.geteuid(),
        user=user_name(),
        release=platform.release(),
        architecture=platform.machine(),
        python=platform.python_version(),
        libraries={name: library_version(name) for name in LIBRARIES},
        programs=installed(),
        modules=modules(Path("/lib/modules") / platform.release()),
        devices={path: os.access(path, os.R_OK | os.W_OK) for path in DEVICES if Path(path).exists()},
        places={name: place(path) for name, path in kept_at().items()},
        trials=try_everything() if trying else {},
    )
    return Machine(Path("/"), answers)


def user_name() -> str:
    """Name the user who asks; by number where he has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def library_version(name: str) -> str:
    """Find the version of a distribution package of Python; "" if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def installed() -> dict[str, Program]:
    """Look for all programs that are asked about."""
    path = f"{os.environ.get('PATH', os.defpath)}:{ADMINISTRATORS}"
    found = {name: shutil.which(name, path=path) for name in PACKAGES}
    return {name: program(place) for name, place in found.items() if place}


def program(path: str) -> Program:
    """Look at a program's rights, and ask QEMU for its version."""
    mode = Path(path).stat().st_mode & 0o7777
    version = ask_version(path) if Path(path).name.startswith("qemu-system-") else ""
    return Program(path=path, mode=mode, capabilities=file_capabilities(path), version=version)


def ask_version(path: str) -> str:
    """Give the first line of `--version`; "" where the program does not even start."""
    try:
        return programs.run([path, "--version"]).partition("\n")[0]
    except Error:
        return ""


def file_capabilities(path: str) -> list[str]:
    """Read which capabilities a program's file gives."""
    try:
        return capabilities_in(os.getxattr(path, "security.capability"))
    except OSError:
        return []


def capabilities_in(raw: bytes) -> list[str]:
    """Read a file's capabilities: 4 bytes of version and flags, then the low half of the permitted set."""
    permitted = int.from_bytes(raw[4:8], "little")
    return [f"CAP_{name}" for number, name in enumerate(NAMES) if permitted >> number & 1]


def modules(directory: Path) -> dict[str, str]:
    """Say of each module how it can be had; without the kernel's lists, of those that are loaded."""
    try:
        builtin = (directory / "modules.builtin").read_text()
        loadable = (directory / "modules.dep").read_text()
    except OSError:
        return {name: "loaded" for name in MODULES if Path("/sys/module", name).exists()}
    return {name: state_of(name, builtin, loadable) for name in MODULES}


def state_of(name: str, builtin: str, loadable: str) -> str:
    """Say how one module can be had."""
    if f"/{name}.ko" in builtin:
        return "built in"
    if Path("/sys/module", name).exists():
        return "loaded"
    return "loadable" if f"/{name}.ko" in loadable else ""


def kept_at() -> dict[str, Path]:
    """Say where things are kept that need room."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return {"images": Path(default_root()), "virtual machines": Path(cache, "minicontainer", "vm")}


def place(path: Path) -> Place:
    """Look at the file system on which a directory lies, or will lie."""
    there = next(each for each in (path, *path.parents) if each.exists())
    found = os.statvfs(there)
    inodes = found.f_favail if found.f_files else None
    return Place(path=str(path), free=found.f_bavail * found.f_frsize, inodes=inodes)


def try_everything() -> dict[str, str]:
    """Make the trials that whoever asks may make."""
    wanted = [name for name in TRIALS if name not in ROOT_ONLY or os.geteuid() == 0]
    tried = {name: attempt(name) for name in wanted}
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        tried["kvm"] = "" if kvm_works() else NO_KVM
    return tried
