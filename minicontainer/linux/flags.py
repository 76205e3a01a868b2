"""The kernel's flags and numbers as enums, so that they can be spelled.

This is the cold form: the modules that make the calls hold the same numbers as plain constants, because the
enum package costs start-up time. A test proves that every constant there has its equal here.

See the man page of each call; <linux/mount.h>, <linux/sched.h>, <linux/prctl.h>, <linux/seccomp.h>.
"""

from __future__ import annotations

import os
from enum import IntEnum, IntFlag


class Mount(IntFlag):
    """mount(2), `mountflags`."""

    MS_RDONLY = 1
    MS_NOSUID = 2
    MS_NODEV = 4
    MS_NOEXEC = 8
    MS_SYNCHRONOUS = 16
    MS_REMOUNT = 32
    MS_MANDLOCK = 64
    MS_DIRSYNC = 128
    MS_NOSYMFOLLOW = 256
    MS_NOATIME = 1024
    MS_NODIRATIME = 2048
    MS_BIND = 4096
    MS_MOVE = 8192
    MS_REC = 16384
    MS_SILENT = 32768
    MS_POSIXACL = 1 << 16
    MS_UNBINDABLE = 1 << 17
    MS_PRIVATE = 1 << 18
    MS_SLAVE = 1 << 19
    MS_SHARED = 1 << 20
    MS_RELATIME = 1 << 21
    MS_I_VERSION = 1 << 23
    MS_STRICTATIME = 1 << 24
    MS_LAZYTIME = 1 << 25


class Umount(IntFlag):
    """umount2(2), `flags`."""

    MNT_FORCE = 1
    MNT_DETACH = 2
    MNT_EXPIRE = 4
    UMOUNT_NOFOLLOW = 8


class MountAttr(IntFlag):
    """mount_setattr(2), fsmount(2); MOUNT_ATTR_RELATIME is 0, the absence of the other two."""

    MOUNT_ATTR_RDONLY = 1
    MOUNT_ATTR_NOSUID = 2
    MOUNT_ATTR_NODEV = 4
    MOUNT_ATTR_NOEXEC = 8
    MOUNT_ATTR_NOATIME = 0x10
    MOUNT_ATTR_STRICTATIME = 0x20
    MOUNT_ATTR__ATIME = 0x70
    MOUNT_ATTR_NODIRATIME = 0x80
    MOUNT_ATTR_IDMAP = 0x100000
    MOUNT_ATTR_NOSYMFOLLOW = 0x200000


class Fsopen(IntFlag):
    """fsopen(2), `flags`."""

    FSOPEN_CLOEXEC = 1


class Fsmount(IntFlag):
    """fsmount(2), `flags`."""

    FSMOUNT_CLOEXEC = 1


class Fsconfig(IntEnum):
    """fsconfig(2), `cmd`."""

    FSCONFIG_SET_FLAG = 0
    FSCONFIG_SET_STRING = 1
    FSCONFIG_SET_BINARY = 2
    FSCONFIG_SET_PATH = 3
    FSCONFIG_SET_PATH_EMPTY = 4
    FSCONFIG_SET_FD = 5
    FSCONFIG_CMD_CREATE = 6
    FSCONFIG_CMD_RECONFIGURE = 7
    FSCONFIG_CMD_CREATE_EXCL = 8


class MoveMount(IntFlag):
    """move_mount(2), `flags`."""

    MOVE_MOUNT_F_SYMLINKS = 0x01
    MOVE_MOUNT_F_AUTOMOUNTS = 0x02
    MOVE_MOUNT_F_EMPTY_PATH = 0x04
    MOVE_MOUNT_T_SYMLINKS = 0x10
    MOVE_MOUNT_T_AUTOMOUNTS = 0x20
    MOVE_MOUNT_T_EMPTY_PATH = 0x40
    MOVE_MOUNT_SET_GROUP = 0x100
    MOVE_MOUNT_BENEATH = 0x200


class At(IntFlag):
    """The AT_* flags of the calls that take a directory and a path."""

    AT_SYMLINK_NOFOLLOW = 0x100
    AT_SYMLINK_FOLLOW = 0x400
    AT_NO_AUTOMOUNT = 0x800
    AT_EMPTY_PATH = 0x1000
    AT_RECURSIVE = 0x8000


class Unlink(IntFlag):
    """unlinkat(2), `flags`."""

    AT_REMOVEDIR = 0x200


class OpenTree(IntFlag):
    """open_tree(2), `flags`."""

    OPEN_TREE_CLONE = 1
    OPEN_TREE_CLOEXEC = 0o2000000
    AT_SYMLINK_NOFOLLOW = 0x100
    AT_NO_AUTOMOUNT = 0x800
    AT_EMPTY_PATH = 0x1000
    AT_RECURSIVE = 0x8000


class Open(IntFlag):
    """open(2), `flags`; O_RDONLY is 0. Some of the numbers differ between machines."""

    O_WRONLY = os.O_WRONLY
    O_RDWR = os.O_RDWR
    O_CREAT = os.O_CREAT
    O_EXCL = os.O_EXCL
    O_NOCTTY = os.O_NOCTTY
    O_TRUNC = os.O_TRUNC
    O_APPEND = os.O_APPEND
    O_NONBLOCK = os.O_NONBLOCK
    O_DIRECTORY = os.O_DIRECTORY
    O_NOFOLLOW = os.O_NOFOLLOW
    O_CLOEXEC = os.O_CLOEXEC
    O_PATH = os.O_PATH


class Resolve(IntFlag):
    """openat2(2), `resolve`."""

    RESOLVE_NO_XDEV = 0x01
    RESOLVE_NO_MAGICLINKS = 0x02
    RESOLVE_NO_SYMLINKS = 0x04
    RESOLVE_BENEATH = 0x08
    RESOLVE_IN_ROOT = 0x10
    RESOLVE_CACHED = 0x20


class FileType(IntEnum):
    """The file type in a mode (inode(7))."""

    S_IFIFO = 0o010000
    S_IFCHR = 0o020000
    S_IFDIR = 0o040000
    S_IFBLK = 0o060000
    S_IFREG = 0o100000
    S_IFLNK = 0o120000
    S_IFSOCK = 0o140000


class Clone(IntFlag):
    """clone3(2), unshare(2), setns(2)."""

    CLONE_NEWTIME = 0x00000080
    CLONE_VM = 0x00000100
    CLONE_FS = 0x00000200
    CLONE_FILES = 0x00000400
    CLONE_SIGHAND = 0x00000800
    CLONE_PIDFD = 0x00001000
    CLONE_VFORK = 0x00004000
    CLONE_PARENT = 0x00008000
    CLONE_THREAD = 0x00010000
    CLONE_NEWNS = 0x00020000
    CLONE_NEWCGROUP = 0x02000000
    CLONE_NEWUTS = 0x04000000
    CLONE_NEWIPC = 0x08000000
    CLONE_NEWUSER = 0x10000000
    CLONE_NEWPID = 0x20000000
    CLONE_NEWNET = 0x40000000
    CLONE_CLEAR_SIGHAND = 0x100000000
    CLONE_INTO_CGROUP = 0x200000000


class CloseRange(IntFlag):
    """close_range(2), `flags`."""

    CLOSE_RANGE_UNSHARE = 2
    CLOSE_RANGE_CLOEXEC = 4


class Prctl(IntEnum):
    """prctl(2), `option`."""

    PR_SET_PDEATHSIG = 1
    PR_GET_PDEATHSIG = 2
    PR_GET_DUMPABLE = 3
    PR_SET_DUMPABLE = 4
    PR_GET_KEEPCAPS = 7
    PR_SET_KEEPCAPS = 8
    PR_SET_NAME = 15
    PR_GET_NAME = 16
    PR_SET_SECCOMP = 22
    PR_CAPBSET_READ = 23
    PR_CAPBSET_DROP = 24
    PR_GET_SECUREBITS = 27
    PR_SET_SECUREBITS = 28
    PR_SET_MM = 35
    PR_SET_CHILD_SUBREAPER = 36
    PR_GET_CHILD_SUBREAPER = 37
    PR_SET_NO_NEW_PRIVS = 38
    PR_GET_NO_NEW_PRIVS = 39
    PR_CAP_AMBIENT = 47


class Ambient(IntEnum):
    """PR_CAP_AMBIENT(2const), the second argument."""

    PR_CAP_AMBIENT_IS_SET = 1
    PR_CAP_AMBIENT_RAISE = 2
    PR_CAP_AMBIENT_LOWER = 3
    PR_CAP_AMBIENT_CLEAR_ALL = 4


class Securebits(IntFlag):
    """PR_SET_SECUREBITS(2const)."""

    SECBIT_NOROOT = 1
    SECBIT_NOROOT_LOCKED = 2
    SECBIT_NO_SETUID_FIXUP = 4
    SECBIT_NO_SETUID_FIXUP_LOCKED = 8
    SECBIT_KEEP_CAPS = 16
    SECBIT_KEEP_CAPS_LOCKED = 32
    SECBIT_NO_CAP_AMBIENT_RAISE = 64
    SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED = 128


class SeccompOperation(IntEnum):
    """seccomp(2), `operation`."""

    SECCOMP_SET_MODE_STRICT = 0
    SECCOMP_SET_MODE_FILTER = 1
    SECCOMP_GET_ACTION_AVAIL = 2
    SECCOMP_GET_NOTIF_SIZES = 3


class SeccompFilter(IntFlag):
    """seccomp(2), `flags`."""

    SECCOMP_FILTER_FLAG_TSYNC = 1
    SECCOMP_FILTER_FLAG_LOG = 2
    SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4
    SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
    SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 16
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 32


class Ioctl(IntEnum):
    """ioctl(2), `request`."""

    TIOCSCTTY = 0x540E
    TIOCGWINSZ = 0x5413
    TIOCSWINSZ = 0x5414
    TIOCGPTN = 0x80045430
    TIOCSPTLCK = 0x40045431
    TIOCGPTPEER = 0x5441
    SIOCGIFFLAGS = 0x8913
    SIOCSIFFLAGS = 0x8914
    SIOCGIFINDEX = 0x8933


class Keyctl(IntEnum):
    """keyctl(2), `operation`."""

    KEYCTL_JOIN_SESSION_KEYRING = 1
    KEYCTL_SETPERM = 5
    KEYCTL_DESCRIBE = 6


class KeyPermission(IntFlag):
    """The permission bits of a key (keyrings(7)): of its possessor, owner, group, and everybody else."""

    KEY_POS_VIEW = 0x01000000
    KEY_POS_READ = 0x02000000
    KEY_POS_WRITE = 0x04000000
    KEY_POS_SEARCH = 0x08000000
    KEY_POS_LINK = 0x10000000
    KEY_POS_SETATTR = 0x20000000
    KEY_USR_VIEW = 0x00010000
    KEY_USR_READ = 0x00020000
    KEY_USR_WRITE = 0x00040000
    KEY_USR_SEARCH = 0x00080000
    KEY_USR_LINK = 0x00100000
    KEY_USR_SETATTR = 0x00200000


class Interface(IntFlag):
    """The flags of a network device (netdevice(7))."""

    IFF_UP = 0x1
    IFF_BROADCAST = 0x2
    IFF_LOOPBACK = 0x8
    IFF_RUNNING = 0x40


class Message(IntFlag):
    """The flags of a netlink message; NLM_F_DUMP, for questions, has the numbers of two of these."""

    NLM_F_REQUEST = 0x1
    NLM_F_ACK = 0x4
    NLM_F_REPLACE = 0x100
    NLM_F_EXCL = 0x200
    NLM_F_CREATE = 0x400
