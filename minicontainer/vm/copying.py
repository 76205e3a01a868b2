"""Copying between host and guest: tar on both ends, the agent in between.

    host: Packing -> tar -> agent's stdin -> tar -x        guest: tar -c -> agent's stdout -> unpack -> host

What comes out of a guest is not trusted: no name leads out of the target, nothing is written through a
symbolic link, no device is made, no file gets a set-user-ID bit.

See tar(1), and CVE-2001-1267, CVE-2019-14271 for what a tar can do to whoever unpacks it.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from minicontainer.errors import Error, NotFound, Refused
from minicontainer.vm.conversation import Conversation, Ended, Input

LOOK = 'if [ -d "$1" ]; then echo directory; elif [ -e "$1" ]; then echo file; fi'
PERMISSIONS = 0o777
SECONDS = 3600.0


def copy_in(agent: Conversation, source: Path, target: str) -> None:
    """Copy a file or a directory into a guest as cp -r does; it is root's there. Raises Error, NotFound."""
    if not os.path.lexists(source):
        raise NotFound(f"{source}: no such file or directory")
    directory, name = place_in_guest(agent, target, source.absolute().name, source.is_dir())
    reading, writing = os.pipe()
    packing = Beside(lambda: pack(source, name, writing))
    try:
        argv = ["tar", "-x", "--no-same-owner", "-p", "-C", directory, "-f", "-"]
        ended = agent.run("run", {"argv": argv}, Input(fd=reading), wait=SECONDS)
    finally:
        os.close(reading)
    packing.join()
    refuse_failure(ended, f"node:{target}")


def place_in_guest(agent: Conversation, target: str, name: str, is_directory: bool) -> tuple[str, str]:
    """Choose the directory to unpack in, and the name there: below the target if it is a directory."""
    path = PurePosixPath("/root", target)
    kind = look(agent, str(path))
    if kind == "directory":
        return str(path), name
    if target.endswith("/") or look(agent, str(path.parent)) != "directory":
        raise NotFound(f"{target if target.endswith('/') else path.parent}: no such directory in the node")
    if kind == "file" and is_directory:
        raise Error(f"{path} in the node is a file, and a directory cannot replace it")
    return str(path.parent), path.name


def look(agent: Conversation, path: str) -> str:
    """Ask a guest what a path is: directory, file (anything else), or nothing."""
    return agent.run("run", {"argv": ["/bin/sh", "-c", LOOK, "sh", path]}, wait=SECONDS).out.decode().strip()


def pack(source: Path, name: str, writing: int) -> None:
    """Write a tar of `source`, called `name` there, to a descriptor, and close it."""
    with (
        os.fdopen(writing, "wb") as pipe,
        tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        tar.add(source, name, filter=as_root)


def as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Give a member to root, whoever has it here."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def copy_out(agent: Conversation, source: str, target: Path) -> None:
    """Copy a file or a directory out of a guest as cp -r does; it is ours then. Raises Error and kin."""
    path = PurePosixPath("/root", source)
    if not path.name or path.name == "..":
        raise Error(f"{source}: the path must end in a name")
    name = path.name if target.is_dir() else target.name
    directory = target if target.is_dir() else target.absolute().parent
    if not directory.is_dir() or (str(target).endswith("/") and not target.is_dir()):
        raise NotFound(f"{directory}: no such directory")
    reading, writing = os.pipe()
    unpacking = Beside(lambda: unpack(reading, path.name, directory / name))

    def pass_on(kind: str, piece: bytes) -> None:
        said.extend(piece) if kind == "err" else write_all(writing, piece)

    said = bytearray()
    try:
        argv = ["tar", "-c", "-C", str(path.parent), "-f", "-", "--", path.name]
        ended = agent.run("run", {"argv": argv}, None, pass_on, SECONDS)
    except BrokenPipeError:  # unpacking has failed: it says why
        ended = Ended(0)
    finally:
        os.close(writing)
    refuse_failure(Ended(ended.exit, err=bytes(said)), f"node:{source}", before=unpacking.wait)
    unpacking.join()


def unpack(reading: int, top: str, target: Path) -> None:
    """Unpack a tar whose members lie below `top` to `target`. Raises Error, Refused, OSError."""
    with os.fdopen(reading, "rb") as pipe:
        try:
            with tarfile.open(fileobj=pipe, mode="r|") as tar:
                for member in tar:
                    unpack_member(
                        tar, member, where(member.name, top, target), lambda name: where(name, top, target)
                    )
        except tarfile.TarError as problem:
            raise Error(f"the node sent something that is not a tar: {problem}") from None


def where(name: str, top: str, target: Path) -> Path:
    """Say where a member belongs. Raises Refused for one that leads elsewhere, by its name or by a link."""
    first, *rest = PurePosixPath(name).parts or ("",)
    if first != top or ".." in rest:
        raise Refused(f"the node sent a file with the name {name!r}, which was not asked for")
    path = target
    for part in rest:
        if path.is_symlink():
            raise Refused(f"the node sent the file {name!r}, which lies behind a symbolic link")
        path /= part
    return path


def unpack_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, find: Callable[[str], Path]
) -> None:
    """Write one member; of what is neither file, directory nor link, nothing is made."""
    if member.isdir():
        if path.is_symlink() or not path.is_dir():
            path.mkdir()
        path.chmod(member.mode & PERMISSIONS | 0o700)
        return
    if path.is_dir() and not path.is_symlink():
        raise Error(f"{path} is a directory, and a file cannot replace it")
    path.unlink(missing_ok=True)
    if member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        os.link(find(member.linkname), path, follow_symlinks=False)
    elif (content := tar.extractfile(member)) is not None:
        write_file(path, content, member)


def write_file(path: Path, content: IO[bytes], member: tarfile.TarInfo) -> None:
    """Write a file that was not there a moment ago."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        shutil.copyfileobj(content, file)
        os.fchmod(file.fileno(), member.mode & PERMISSIONS)
    os.utime(path, (member.mtime, member.mtime))


def refuse_failure(ended: Ended, what: str, before: Callable[[], None] = lambda: None) -> None:
    """Raise Error with the last words of the guest's tar if it failed."""
    if ended.exit:
        before()
        said = ended.err.decode(errors="replace").strip().splitlines()
        reason = next(
            (line for line in said if "Cannot" in line or "cannot" in line), said[0] if said else ""
        )
        raise Error(f"{what}: {reason.removeprefix('tar: ') or f'tar ended with {ended.exit}'}")


def write_all(fd: int, piece: bytes) -> None:
    """Write all of a piece."""
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(fd, rest) :]


class Beside:
    """Work that goes on in a thread while the agent moves the bytes."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BrokenPipeError:
            pass  # the guest's tar has ended: its own words count
        except BaseException as problem:
            self._problem = problem

    def wait(self) -> None:
        """Wait for its end, however it went."""
        self._thread.join()

    def join(self) -> None:
        """Wait for its end. Raises what it raised, an OSError as Error."""
        self._thread.join()
        if isinstance(self._problem, OSError):
            raise Error(f"{self._problem.filename or 'copying'}: {(self._problem.strerror or '').lower()}")
        if self._problem:
            raise self._problem
