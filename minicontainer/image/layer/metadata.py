"""What an inode has beside its content: owner, attributes, permissions, times.

The order matters: a change of owner takes the set-user-ID bits and security.capability away, a change of
the access list changes the group's permissions, and each entry that is made changes its directory's times.

See chown(2), inode(7), xattr(7), acl(5); overlayfs (kernel documentation), "whiteouts".
"""

from __future__ import annotations

import errno
import os

from minicontainer.errors import Refused
from minicontainer.image.layer.limits import Limits
from minicontainer.image.layer.parents import Parents
from minicontainer.image.layer.tar_header import SYMLINK, Member

# Whether a directory hides what lies below it is said by whiteouts alone.
OF_OVERLAYFS = (b"trusted.overlay.", b"user.overlay.")
PER_DIRECTORY = 500  # bytes of memory beside its name and attributes


class Metadata:
    """Gives inodes what their entries say, as far as this process may; `skipped` counts what it could not."""

    def __init__(self, *, confined: bool) -> None:
        self.skipped = 0
        self._confined = confined  # not root of the machine: of some attributes the kernel says EPERM
        self._may_chown = os.geteuid() == 0

    def apply(self, where: int | str, member: Member) -> None:
        """Set everything on an open file or directory, or on the inode behind a path in /proc/self/fd."""
        if self._may_chown:
            os.chown(where, member.uid, member.gid)
        for name, value in member.xattrs:
            self._set(where, name, value)
        if member.kind != SYMLINK:
            os.chmod(where, member.mode)
        os.utime(where, ns=(member.mtime, member.mtime))

    def apply_default(self, folder: int) -> None:
        """Make a directory without an entry root's, readable by all."""
        if self._may_chown:
            os.chown(folder, 0, 0)
        os.chmod(folder, 0o755)  # noqa: S103 - as everybody expects of / and /usr

    def skip(self, problem: OSError) -> None:
        """Note what only root of the machine may do; raises the problem where it is another one."""
        if problem.errno != errno.EOPNOTSUPP and not (problem.errno == errno.EPERM and self._confined):
            raise problem
        self.skipped += 1

    def _set(self, where: int | str, name: bytes, value: bytes) -> None:
        if name.startswith(OF_OVERLAYFS):
            return
        try:
            os.setxattr(where, name, value)
        except PermissionError as problem:
            if isinstance(where, str) and name.startswith(b"user."):
                self.skipped += 1  # only files and directories can have these
            else:
                self.skip(problem)
        except OSError as problem:
            self.skip(problem)


class Directories:
    """Remembers what directories are to be given at the end, when nothing is made in them any more.

    Until then they are open for their owner alone. They are known by their inodes: however a path is
    written, and whatever was removed and made again, the last entry counts.
    """

    def __init__(self, metadata: Metadata, limits: Limits) -> None:
        self._metadata = metadata
        self._room = limits.directories
        self._waiting: dict[tuple[int, int], Member] = {}

    def remember(self, folder: int, path: bytes, member: Member) -> None:
        """Note the entry of an open directory."""
        found = os.fstat(folder)
        member.name = path
        self.charge(path)
        self._room -= sum(len(name) + len(value) for name, value in member.xattrs)
        self._waiting[found.st_dev, found.st_ino] = member

    def charge(self, path: bytes) -> None:
        """Bound what is kept in memory. Raises Refused."""
        self._room -= PER_DIRECTORY + len(path)
        if self._room < 0:
            raise Refused("its directories need too much memory")

    def settle(self, parents: Parents) -> None:
        """Apply all, deepest first: what is above may become closed to us."""
        waiting = sorted(self._waiting.items(), key=lambda item: item[1].name.count(b"/"), reverse=True)
        for inode, member in waiting:
            parents.trim()
            folder = parents.find_existing(member.name)
            if folder is None:
                continue  # it was removed again
            found = os.fstat(folder)
            if (found.st_dev, found.st_ino) == inode:
                self._metadata.apply(folder, member)
        self._waiting.clear()
