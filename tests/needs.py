"""What a test may need from the machine: the words of `@pytest.mark.requires(...)`.

Each word is a question that is asked once and answered yes or no. A plain word stands alone ("root"); a word
with a colon takes a value ("tool:strace"). A word that is not in these two tables is an error, so that a
typing mistake can never become a test that silently does not run.
See capabilities(7), user_namespaces(7), time_namespaces(7), cgroups(7), newuidmap(1).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

from tests.peers import kind_of, peer

WHOLE_ID_SPACE = ["0", "0", "4294967295"]


class UnknownNeedError(Exception):
    """A word that no table knows."""


def unmet(need: str) -> bool:
    """Say whether this machine lacks what the word stands for."""
    return not met(need)


@functools.cache
def met(need: str) -> bool:
    """Ask the machine; UnknownNeedError for a word that is not in the vocabulary."""
    word, colon, value = need.partition(":")
    if not colon and word in PLAIN:
        return PLAIN[word]()
    if value and word in WITH_VALUE:
        return WITH_VALUE[word](value)
    known = ", ".join([*sorted(PLAIN), *(f"{name}:..." for name in sorted(WITH_VALUE))])
    raise UnknownNeedError(f"no such requirement: {need!r} (there are: {known})")


def is_root() -> bool:
    """Root of the initial user namespace, not of one that maps somebody to 0."""
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == WHOLE_ID_SPACE


def can_make_user_namespaces() -> bool:
    """Try it: sysctls, AppArmor and seccomp can each forbid it."""
    return subprocess.run(["unshare", "--user", "true"], check=False, capture_output=True).returncode == 0


def cgroup2_tree() -> Path | None:
    """Find the cgroup v2 tree that is not covered by another mount: a hybrid host has it beside v1."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        tree = Path(fields.split()[4])
        if rest.startswith("cgroup2 ") and (tree / "cgroup.controllers").exists():
            return tree
    return None


def has_controller(name: str) -> bool:
    """A controller counts only in cgroup v2: one that is bound to a v1 hierarchy cannot be in both."""
    tree = cgroup2_tree()
    return tree is not None and name in (tree / "cgroup.controllers").read_text().split()


def has_file_system(name: str) -> bool:
    """A file system that the kernel has now, or a module of its name that can be loaded."""
    known = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    modules = Path("/lib/modules", platform.release(), "kernel", "fs", name)
    return name in known or modules.is_dir()


def has_security_module(name: str) -> bool:
    """A Linux security module that is switched on, as apparmor or selinux."""
    active = Path("/sys/kernel/security/lsm")
    if active.exists():
        return name in active.read_text().split(",")
    return name == "apparmor" and Path("/sys/module/apparmor/parameters/enabled").exists()


def has_kernel(least: str) -> bool:
    """The running kernel is at least this one, as "6.3"."""
    release = platform.release().split("-")[0].split(".")
    return tuple(map(int, release[:2])) >= tuple(map(int, least.split(".")))


def has_capability(name: str) -> bool:
    """The test process has this capability effective, as "sys_resource"."""
    number = CAPABILITIES.index("cap_" + name.lower().removeprefix("cap_"))
    status = Path("/proc/self/status").read_text()
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    return bool(effective >> number & 1)


def is_runtime(kinds: str) -> bool:
    """The runtime under test is one of these, as "ours" or "ours|runc": it is not about the others."""
    wanted = set(kinds.split("|"))
    if not wanted <= RUNTIMES:
        raise UnknownNeedError(f"no such runtime: {kinds!r} (there are: {', '.join(sorted(RUNTIMES))})")
    return kind_of(Path(os.environ.get("MINICONTAINER_RUNTIME", ""))) in wanted


RUNTIMES = {"ours", "crun", "runc"}
CAPABILITIES = (
    *("cap_chown", "cap_dac_override", "cap_dac_read_search", "cap_fowner", "cap_fsetid", "cap_kill"),
    *("cap_setgid", "cap_setuid", "cap_setpcap", "cap_linux_immutable", "cap_net_bind_service"),
    *("cap_net_broadcast", "cap_net_admin", "cap_net_raw", "cap_ipc_lock", "cap_ipc_owner", "cap_sys_module"),
    *("cap_sys_rawio", "cap_sys_chroot", "cap_sys_ptrace", "cap_sys_pacct", "cap_sys_admin", "cap_sys_boot"),
    *("cap_sys_nice", "cap_sys_resource", "cap_sys_time", "cap_sys_tty_config", "cap_mknod", "cap_lease"),
    *("cap_audit_write", "cap_audit_control", "cap_setfcap", "cap_mac_override", "cap_mac_admin"),
    *("cap_syslog", "cap_wake_alarm", "cap_block_suspend", "cap_audit_read", "cap_perfmon", "cap_bpf"),
    "cap_checkpoint_restore",
)

PLAIN: dict[str, Callable[[], bool]] = {
    "root": is_root,
    "minicontainer-python": lambda: Path(sysconfig.get_path("scripts"), "minicontainer-python").exists(),
    "userns": can_make_user_namespaces,
    "timens": lambda: Path("/proc/self/ns/time").exists(),
    "cgroup2": lambda: cgroup2_tree() is not None,
    "unified": lambda: cgroup2_tree() == Path("/sys/fs/cgroup"),
    "subuid": lambda: all(map(shutil.which, ("newuidmap", "newgidmap"))),
    "systemd": lambda: Path("/run/systemd/system").is_dir(),
    "loop": lambda: Path("/dev/loop-control").exists(),
    "fuse": lambda: Path("/dev/fuse").exists(),
    "vm": lambda: all(map(shutil.which, ("mmdebstrap", "sqfstar", "mke2fs"))),
    "guest": lambda: Path("/usr/lib/minicontainer-guest").is_dir(),  # of `minicontainer vm`
    "kvm": lambda: os.access("/dev/kvm", os.R_OK | os.W_OK),
}

WITH_VALUE: dict[str, Callable[[str], bool]] = {
    "arch": lambda name: platform.machine() == name,
    "capability": has_capability,
    "cpus": lambda least: (os.cpu_count() or 1) >= int(least),
    "controller": has_controller,
    "filesystem": has_file_system,
    "import": lambda name: importlib.util.find_spec(name) is not None,
    "kernel": has_kernel,
    "lsm": has_security_module,
    "peer": lambda name: peer(name) is not None,
    "runtime": is_runtime,
    "tool": lambda name: shutil.which(name) is not None,
}
