"""A program that makes many kernel calls and traces itself; its tracer's story must be the same."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path

from minicontainer.errors import KernelError
from minicontainer.linux import (
    capabilities,
    cgroups,
    credentials,
    keyrings,
    loopback,
    mounts,
    namespaces,
    paths,
    prctl,
    process,
    rlimits,
    scheduling,
    seccomp,
    terminals,
)
from minicontainer.trace.events import witnesses
from minicontainer.trace.file import TraceFile

ALLOW_ALL = (0x06).to_bytes(2, "little") + bytes(2) + (0x7FFF0000).to_bytes(4, "little")


def main(trace: str, folder: str) -> None:
    witnesses.append(TraceFile(os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)))
    kinds = namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWIPC
    namespaces.unshare(namespaces.CLONE_NEWNS | kinds)
    mounting(folder)
    placing(os.open(folder, os.O_PATH))
    naming()
    computing()
    talking()
    losing_rights()


def mounting(folder: str) -> None:
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE, None)
    mounts.mount("tmpfs", folder, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "size=1m")
    root = os.open(folder, os.O_PATH)
    context = mounts.fsopen("tmpfs", mounts.FSOPEN_CLOEXEC)
    mounts.fsconfig(context, mounts.FSCONFIG_SET_STRING, "size", "1m", 0)
    mounts.fsconfig(context, mounts.FSCONFIG_SET_FLAG, "ro", None, 0)
    mounts.fsconfig(context, mounts.FSCONFIG_CMD_CREATE, None, None, 0)
    made = mounts.fsmount(
        context, mounts.FSMOUNT_CLOEXEC, mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NOATIME
    )
    paths.mkdirat(root, "below", 0o755)
    mounts.move_mount(made, "", root, "below", mounts.MOVE_MOUNT_F_EMPTY_PATH)
    flags = mounts.OPEN_TREE_CLONE | mounts.OPEN_TREE_CLOEXEC | mounts.AT_RECURSIVE
    tree = mounts.open_tree(root, "below", flags)
    everywhere = mounts.AT_EMPTY_PATH | mounts.AT_RECURSIVE
    mounts.mount_setattr(tree, "", everywhere, mounts.MOUNT_ATTR_NOEXEC, 0, mounts.MS_PRIVATE, 0)
    with contextlib.suppress(KernelError):
        mounts.pivot_root("/nowhere", "/not\there")
    mounts.umount2(folder + "/below", mounts.MNT_DETACH | mounts.UMOUNT_NOFOLLOW)


def placing(root: int) -> None:
    paths.mknodat(root, "null", paths.S_IFCHR | 0o666, os.makedev(1, 3))
    paths.mknodat(root, "pipe", paths.S_IFIFO | 0o600, 0)
    paths.symlinkat('a "quoted"\nname', root, "link")
    with contextlib.suppress(KernelError):
        paths.mkdirat(root, "none/none", 0)
    paths.linkat(root, "pipe", root, "second", 0)
    paths.fchownat(root, "link", 5, -1, paths.AT_SYMLINK_NOFOLLOW)
    here = os.open(".", os.O_RDONLY, dir_fd=root)
    paths.fchmod(here, 0o1751)
    paths.fsetxattr(here, "trusted.a", b'"b"')
    cgroups.unlinkat(root, "pipe", 0)
    paths.mkdirat(root, "gone", 0)
    cgroups.unlinkat(root, "gone", cgroups.AT_REMOVEDIR)


def naming() -> None:
    namespaces.sethostname("mini")
    namespaces.setdomainname("example.org")
    namespaces.setns(os.open("/proc/self/ns/net", os.O_RDONLY), namespaces.CLONE_NEWNET)
    pid, pidfd = process.clone3(namespaces.CLONE_NEWPID, process.SIGCHLD, -1)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    for signal_number in (15, 37):
        with contextlib.suppress(KernelError):
            process.pidfd_send_signal(pidfd, signal_number)
    with contextlib.suppress(KernelError):
        process.pidfd_getfd(pidfd, 1000)
    with contextlib.suppress(KernelError):
        process.kill(2**22 + 1, 9)


def computing() -> None:
    rlimits.prlimit64(0, rlimits.NUMBERS["RLIMIT_NOFILE"], 100, 200)
    with contextlib.suppress(KernelError):
        rlimits.prlimit64(0, rlimits.NUMBERS["RLIMIT_CORE"], 0, rlimits.RLIM_INFINITY)
    scheduling.sched_setattr(0, (3, 1, 5, 0, 0, 0, 0))
    scheduling.set_io_priority("IOPRIO_CLASS_BE", 6)
    scheduling.sched_setaffinity(0, [0])
    scheduling.personality(scheduling.PERSONALITIES["LINUX32"])
    scheduling.personality(scheduling.PERSONALITIES["LINUX"])
    scheduling.set_mempolicy(scheduling.MEMORY_MODES["MPOL_BIND"] | 1 << 15, [0])
    scheduling.set_mempolicy(0, [])
    keyrings.join_session_keyring("_ses.test")


def talking() -> None:
    loopback.bring_up_loopback()
    master, slave = terminals.open_terminal(os.open("/dev/pts", os.O_PATH))
    terminals.set_window_size(master, 30, 90)
    terminals.give_terminal(slave, 5)
    with contextlib.suppress(KernelError):
        terminals.take_terminal(slave)
    here, there = socket.socketpair()
    terminals.send_descriptor(here.fileno(), master, b"/dev/ptmx")
    there.close()


def losing_rights() -> None:
    credentials.setgroups([1, 2, 3])
    credentials.umask(0o27)
    credentials.umask(0)
    credentials.setresgid(0, 0, 0)
    credentials.setresuid(0, 0, 0)
    prctl.prctl(prctl.PR_SET_PDEATHSIG, 9)
    prctl.prctl(prctl.PR_SET_KEEPCAPS, 1)
    prctl.prctl(prctl.PR_SET_DUMPABLE, 0)
    prctl.prctl(prctl.PR_SET_CHILD_SUBREAPER, 1)
    prctl.prctl(prctl.PR_CAPBSET_DROP, capabilities.NUMBERS["CAP_SYS_BOOT"])
    prctl.prctl(prctl.PR_CAP_AMBIENT, prctl.PR_CAP_AMBIENT_CLEAR_ALL)
    with contextlib.suppress(KernelError):
        prctl.prctl(prctl.PR_CAP_AMBIENT, prctl.PR_CAP_AMBIENT_RAISE, capabilities.NUMBERS["CAP_KILL"])
    prctl.prctl(prctl.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.seccomp(seccomp.SECCOMP_SET_MODE_FILTER, seccomp.SECCOMP_FILTER_FLAG_LOG, ALLOW_ALL)
    capabilities.capset(0, capabilities.mask(["CAP_KILL", "CAP_BPF"]), 0)


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir()
    main(sys.argv[1], sys.argv[2])
