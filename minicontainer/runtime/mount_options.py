"""Mount options, as /etc/fstab and the runtime-spec write them, turned into what the mount calls take.

A word is one of: an attribute of the mount (`nosuid`; with an r before it, of all mounts below as well), a
propagation type (`rslave`), a flag of the file system (`sync`), a word of ours (`tmpcopyup`, `idmap`), or it
is data for the file system itself (`size=64k`), which then judges it.

Implements runtime-spec, config.md "Linux mount options"; see mount(8), mount_setattr(2).
"""

from __future__ import annotations

from minicontainer.linux.mounts import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
)

# word -> (attributes set, attributes cleared); changing the access time mode always clears the former mode.
ATTRIBUTES = {
    "ro": (MOUNT_ATTR_RDONLY, 0),
    "rw": (0, MOUNT_ATTR_RDONLY),
    "nosuid": (MOUNT_ATTR_NOSUID, 0),
    "suid": (0, MOUNT_ATTR_NOSUID),
    "nodev": (MOUNT_ATTR_NODEV, 0),
    "dev": (0, MOUNT_ATTR_NODEV),
    "noexec": (MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, MOUNT_ATTR_NOEXEC),
    "nodiratime": (MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, MOUNT_ATTR_NOSYMFOLLOW),
    "relatime": (0, MOUNT_ATTR__ATIME),
    "norelatime": (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    "noatime": (MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    "atime": (0, MOUNT_ATTR__ATIME),
    "strictatime": (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    "nostrictatime": (0, MOUNT_ATTR__ATIME),
}
PROPAGATION = {
    "private": MS_PRIVATE,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
    "rprivate": MS_PRIVATE | MS_REC,
    "rshared": MS_SHARED | MS_REC,
    "rslave": MS_SLAVE | MS_REC,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
FILESYSTEM_FLAGS = ("sync", "async", "dirsync", "mand", "nomand", "lazytime", "nolazytime")
# Words that undo a flag which is off anyway in a new mount, or that mean what happens anyway; podman 5 sends
# an empty one with `--systemd`.
NOTHING = (
    "", "defaults", "iversion", "noiversion", "silent", "loud", "acl", "noacl", "remount",
)  # fmt: skip
IDMAP = ("idmap", "ridmap")


class MountOptions:
    """The options of one mount, sorted by whom they are for."""

    __slots__ = (
        "bind",
        "clear",
        "clear_below",
        "copy_up",
        "data",
        "idmap",
        "propagation",
        "recursive",
        "set",
        "set_below",
    )

    def __init__(self) -> None:
        self.bind = False
        self.recursive = False
        self.set = 0
        self.clear = 0
        self.set_below = 0
        self.clear_below = 0
        self.propagation: list[int] = []
        self.copy_up = False
        self.idmap = ""
        self.data: list[tuple[str, str | None]] = []


def parse_mount_options(words: list[str]) -> MountOptions:
    """Sort the option words of one mount; what is unknown here is data for the file system."""
    options = MountOptions()
    for word in words:
        if word in ATTRIBUTES:
            options.set, options.clear = _combined(options.set, options.clear, ATTRIBUTES[word])
        elif word in PROPAGATION:
            options.propagation.append(PROPAGATION[word])
        elif word in ("bind", "rbind"):
            options.bind = True
            options.recursive = options.recursive or word == "rbind"
        elif word in IDMAP:
            options.idmap = word
        elif word == "tmpcopyup":
            options.copy_up = True
        elif word[:1] == "r" and word[1:] in ATTRIBUTES:
            options.set_below, options.clear_below = _combined(
                options.set_below, options.clear_below, ATTRIBUTES[word[1:]]
            )
        elif word not in NOTHING:
            name, equals, value = word.partition("=")
            options.data.append((name, value if equals else None))
    return options


def _combined(bits: int, cleared: int, change: tuple[int, int]) -> tuple[int, int]:
    """Let a later word win over an earlier one: `ro,rw` is `rw`."""
    on, off = change
    return bits & ~off | on, cleared & ~on | off
