"""Try what a kernel gives to containers, each thing in a process of its own that ends at once.

Whatever is made hangs on private namespaces and vanishes with them: no mount, link or directory is left. (The
kernel may keep a module that it loaded for the trial, as it would for a container.)

A trial that starts as root and is about ordinary users becomes one first: uid 65534.

See namespaces(7), user_namespaces(7), overlayfs.rst, rtnetlink(7), <linux/netfilter/nf_tables.h>.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from minicontainer.errors import KernelError
from minicontainer.linux.mounts import MS_NODEV, MS_NOSUID, MS_PRIVATE, MS_REC, mount
from minicontainer.linux.namespaces import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, unshare, write_id_map
from minicontainer.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    attribute,
    change,
    message,
    open_netlink,
    sendto,
)
from minicontainer.linux.prctl import PR_SET_DUMPABLE, prctl

NOBODY = 65534
PATIENCE = 20.0  # seconds; a trial takes milliseconds
COVERED = "/tmp"  # noqa: S108 - exists everywhere; covered by a private tmpfs
RTM_NEWLINK, IFLA_LINKINFO, IFLA_INFO_KIND, INTERFACE_HEADER = 16, 18, 1, 16
NETLINK_NETFILTER, NFT_MSG_GETGEN, NETFILTER_HEADER = 12, 10 << 8 | 16, 4
BEGIN = """
import sys
sys.path.insert(0, sys.argv[1])
from minicontainer.linux import trials
trials.perform(sys.argv[2])
"""
DISTRIBUTION = __file__.rsplit("/", 3)[0]


def attempt(name: str) -> str:
    """Make one trial; "" when it worked, else what was refused. KeyError for a name that is not in TRIALS."""
    if name not in TRIALS:
        raise KeyError(name)
    command = [sys.executable, "-I", "-S", "-c", BEGIN, DISTRIBUTION, name]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE:.0f} seconds"
    if done.returncode == 0:
        return ""
    return done.stdout.strip() or f"the trial ended with {done.returncode}"


def perform(name: str) -> None:
    """Make the trial in this process, which ends with it."""
    try:
        TRIALS[name]()
    except KernelError as problem:
        sys.stdout.write(f"{problem.call}: {os.strerror(problem.errno or 0)}\n")
        raise SystemExit(1) from None


def become_ordinary() -> None:
    """Give up root, for good."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        prctl(PR_SET_DUMPABLE, 1)  # else /proc/self stays root's, and uid_map cannot be written


def enter_user_namespace() -> None:
    """Become root of a new user namespace, in a new mount namespace, as an ordinary user."""
    become_ordinary()
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    write_id_map(0, "setgroups", "deny")
    write_id_map(0, "uid_map", f"0 {uid} 1")
    write_id_map(0, "gid_map", f"0 {gid} 1")


def user_namespace() -> None:
    """Do in a user namespace what needs a right: AppArmor may grant the namespace and withhold the rights."""
    enter_user_namespace()
    mount("trial", COVERED, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m")


def overlay() -> None:
    """Lay an overlay over a tmpfs, as `minicontainer run` does."""
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    lay_overlay("")


def overlay_in_user_namespace() -> None:
    """Lay an overlay as an ordinary user."""
    enter_user_namespace()
    lay_overlay(",userxattr")


def lay_overlay(options: str) -> None:
    """Mount a tmpfs and an overlay in it."""
    mount("trial", COVERED, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m")
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{COVERED}/{name}")
    layers = f"lowerdir={COVERED}/lower,upperdir={COVERED}/upper,workdir={COVERED}/work"
    mount("overlay", f"{COVERED}/merged", "overlay", 0, layers + options)


def enter_network() -> None:
    """Move into a network of one's own: for root directly, for others by a user namespace."""
    if os.geteuid() != 0:
        enter_user_namespace()
    unshare(CLONE_NEWNET)


def link(kind: str) -> None:
    """Make a link of this kind."""
    enter_network()
    information = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, kind.encode()))
    body = bytes(INTERFACE_HEADER) + information
    change(open_netlink(), RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def nftables() -> None:
    """Ask nftables for its generation: there is an answer only where the kernel has it."""
    enter_network()
    request = message(NFT_MSG_GETGEN, NLM_F_REQUEST, bytes(NETFILTER_HEADER))
    sendto(open_netlink(NETLINK_NETFILTER), request)


TRIALS: dict[str, Callable[[], None]] = {
    "user namespace": user_namespace,
    "overlay": overlay,
    "overlay in a user namespace": overlay_in_user_namespace,
    "bridge": lambda: link("bridge"),
    "veth": lambda: link("veth"),
    "nftables": nftables,
}
