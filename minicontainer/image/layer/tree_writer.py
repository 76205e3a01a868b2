"""Makes the entries of an archive in a directory, and nothing outside of it.

A name's directories are resolved inside the root (`parents`), the last part of the name is never followed:
it is made anew, after whatever was there is removed. So the last of equal names counts, and a link that
the archive has made is never written through. Only a directory stays when a directory comes.

See openat2(2), open(2), O_EXCL; image-spec layer.md, "Applying Changesets".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TypeVar

from minicontainer.errors import Refused
from minicontainer.image.layer.errors import shown
from minicontainer.image.layer.limits import Limits
from minicontainer.image.layer.metadata import Directories, Metadata
from minicontainer.image.layer.parents import Parents, components
from minicontainer.image.layer.sparse import Placing
from minicontainer.image.layer.tar_header import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Member,
    number,
)
from minicontainer.image.layer.whiteouts import (
    OPAQUE,
    RESERVED,
    WHITEOUT,
    Whiteouts,
    hidden_name,
    is_directory,
    is_whiteout,
)
from minicontainer.image.store.removal import ENTER, empty
from minicontainer.linux.paths import O_CLOEXEC, O_NOFOLLOW, O_PATH

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_NOFOLLOW | O_CLOEXEC
NODES = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
MOST_MAJOR, MOST_MINOR = (1 << 12) - 1, (1 << 20) - 1
ODD_NAMES = (b"", b".", b"..")  # of directories, as "etc/" and "./"
T = TypeVar("T")


class TreeWriter:
    """The sink of a TarReader: makes each entry below the directory `root`."""

    def __init__(self, root: int, whiteouts: Whiteouts, metadata: Metadata, limits: Limits) -> None:
        self.implied = {b"": None}  # an ordered set: directories that no entry has described yet
        self._gone: list[bytes] = []  # what is hidden below: a directory in its place has nothing of it
        self._root, self._whiteouts, self._metadata, self._limits = root, whiteouts, metadata, limits
        self._parents = Parents(root, self._make_implied)
        self._directories = Directories(metadata, limits)
        self._file = -1  # the open file, whose content comes
        self._member: Member
        self._placing: Placing | None = None
        self._make = {
            REGULAR: self._begin_file,
            HARD_LINK: self._link,
            SYMLINK: self._symlink,
            CHARACTER: self._node,
            BLOCK_DEVICE: self._node,
            FIFO: self._node,
            DIRECTORY: self._directory,
        }

    def begin(self, member: Member) -> None:
        """Make an entry; the content of a file follows."""
        self._parents.trim()
        folder, _, name = member.name.removeprefix(b"./").rpartition(b"/")
        if name in ODD_NAMES:
            folder, name = _split(member.name)
        if WHITEOUT in member.name and self._is_about_whiteouts(folder, name):
            return
        if name:
            self._make[member.kind](member, self._parents.find(folder), name)
        else:
            self._settle_root(member)

    def data(self, piece: memoryview) -> None:
        """Write a piece of a file's content."""
        if self._file < 0:
            return
        if self._placing is None:
            _write(self._file, piece)
            return
        for offset, part in self._placing.place(piece):
            os.lseek(self._file, offset, os.SEEK_SET)
            _write(self._file, part)

    def end(self) -> None:
        """Finish a file: what it has beside its content comes last, because writing changes some of it."""
        if self._file < 0:
            return
        if self._member.sparse:
            os.truncate(self._file, self._member.sparse.size)
        self._whiteouts.added(self._file)
        self._metadata.apply(self._file, self._member)
        self._close_file()

    def finish(self) -> None:
        """Give the directories what they get at the end."""
        for path in self._gone:
            self.implied.pop(path, None)
        self._directories.settle(self._parents)

    def close(self) -> None:
        """Close every descriptor; again if you like."""
        self._parents.close()
        self._close_file()

    # --- one for each kind of entry ---

    def _begin_file(self, member: Member, parent: int, name: bytes) -> None:
        self._file = self._anew(parent, name, lambda: os.open(name, NEW_FILE, 0o600, dir_fd=parent))
        self._member = member
        self._placing = Placing(member.sparse.parts) if member.sparse else None

    def _directory(self, member: Member, parent: int, name: bytes) -> None:
        try:
            folder = self._whiteouts.make_directory(parent, name)
        except FileExistsError:
            if is_directory(parent, name):
                folder = os.open(name, ENTER, dir_fd=parent)
            else:
                self._clear(parent, name)
                folder = self._whiteouts.make_directory(parent, name)
                self._whiteouts.hide_all(folder)  # as what it replaces has done
        path = b"/".join(components(member.name))
        self._parents.keep(path, folder)
        self._whiteouts.added(folder)
        place = self._parents.true_name(folder, path)
        self.implied.pop(place, None)
        self._directories.remember(folder, place, member)

    def _settle_root(self, member: Member) -> None:
        if member.kind != DIRECTORY:
            raise Refused("only a directory can stand for the root")
        self.implied.pop(b"", None)
        self._directories.remember(self._root, b"", member)

    def _symlink(self, member: Member, parent: int, name: bytes) -> None:
        self._anew(parent, name, lambda: os.symlink(member.link, name, dir_fd=parent))
        self._settle(member, parent, name)

    def _link(self, member: Member, parent: int, name: bytes) -> None:
        """Give a file of this layer one more name. What it is beside that, its first entry has said."""
        folder, _, target = member.link.rpartition(b"/")
        source = self._parents.find_existing(folder)
        found = None if source is None else _find(source, target)
        if source is None or found is None or stat.S_ISDIR(found.st_mode) or is_whiteout(found):
            raise Refused(f"it is a hard link to {shown(member.link)}, which is no file of this layer")
        there = _find(parent, name)
        if there and os.path.samestat(there, found):
            return
        self._anew(
            parent,
            name,
            lambda: os.link(target, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False),
        )

    def _node(self, member: Member, parent: int, name: bytes) -> None:
        device = _device(member) if member.kind != FIFO else 0
        try:
            self._anew(
                parent, name, lambda: os.mknod(name, NODES[member.kind] | 0o600, device, dir_fd=parent)
            )
        except PermissionError as problem:
            self._metadata.skip(problem)
        else:
            self._settle(member, parent, name)

    # --- what they have in common ---

    def _anew(self, parent: int, name: bytes, make: Callable[[], T]) -> T:
        """Make what must not exist; what does is removed."""
        try:
            return make()
        except FileExistsError:
            self._clear(parent, name)
            return make()

    def _clear(self, parent: int, name: bytes) -> None:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            _remove_directory(parent, name)
        else:
            os.unlink(name, dir_fd=parent)
        if stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode):
            self._parents.forget()

    def _settle(self, member: Member, parent: int, name: bytes) -> None:
        """Give what cannot be opened its metadata, through a descriptor that only points to it."""
        inode = os.open(name, O_PATH | O_NOFOLLOW | O_CLOEXEC, dir_fd=parent)
        try:
            self._whiteouts.added(inode)
            self._metadata.apply(f"/proc/self/fd/{inode}", member)
        finally:
            os.close(inode)

    def _make_implied(self, parent: int, name: bytes, path: bytes) -> int:
        """Make a directory that has no entry, or not yet one."""
        if len(self.implied) >= self._limits.entries:
            raise Refused(f"more than {self._limits.entries} directories have no entry")
        self._directories.charge(path)
        try:
            folder = self._whiteouts.make_directory(parent, name)
        except FileExistsError:
            raise Refused(f"{shown(path)} is not a directory, or leads to none") from None
        self.implied[self._parents.true_name(folder, path)] = None
        self._metadata.apply_default(folder)
        return folder

    def _is_about_whiteouts(self, folder: bytes, name: bytes) -> bool:
        """Do what a whiteout says; false where the name is an ordinary one."""
        if name == OPAQUE:
            self._hide(folder, self._whiteouts.hide_all)
            return True
        if any(part.startswith(RESERVED) for part in (*folder.split(b"/"), name)):
            return True  # what AUFS keeps for itself
        if name.startswith(WHITEOUT):
            hidden = hidden_name(name)
            self._directories.charge(folder + hidden)
            self._gone.append(folder + b"/" * bool(folder) + hidden)
            self._hide(folder, lambda parent: self._whiteouts.hide(parent, hidden))
            return True
        return False

    def _hide(self, folder: bytes, hide: Callable[[int], None]) -> None:
        hide(self._parents.find(folder))
        self._parents.forget()  # what may be gone

    def _close_file(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _split(path: bytes) -> tuple[bytes, bytes]:
    """Take a name apart into directory and last part; both are empty for the root."""
    *folder, name = components(path) or [b""]
    return b"/".join(folder), name


def _find(parent: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name or b".", dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _remove_directory(parent: int, name: bytes) -> None:
    folder = os.open(name, ENTER, dir_fd=parent)
    try:
        empty(folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=parent)


def _write(file: int, piece: memoryview) -> None:
    written = os.write(file, piece)
    while written < len(piece):
        written += os.write(file, piece[written:])


def _device(member: Member) -> int:
    major, minor = map(number, member.device)
    if not (0 <= major <= MOST_MAJOR and 0 <= minor <= MOST_MINOR):
        raise Refused(f"there is no device {major}:{minor}")
    if member.kind == CHARACTER and not major and not minor:
        raise Refused("a character device 0:0 is how overlayfs hides files: layers have .wh. names for that")
    return os.makedev(major, minor)
