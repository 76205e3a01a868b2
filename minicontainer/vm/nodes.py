"""A fleet as it lies on disk: what was asked for, each node's record, and who owns it at the moment.

    STATE/minicontainer/vm/default/            kept until `vm down`
      fleet.json  key  known_hosts  keeper.log
      node1/  record.json  disk  host_key  console.log
    RUNTIME/minicontainer-vm/default/          sockets: control, node1.lan, node1.agent, node1.qmp, node1.ssh

The state directory is also the fleet's lock: whoever holds flock(2) on it may start, stop or remove nodes. A
keeper holds it while it lives, so a free lock means that nothing runs and that all may be cleaned away.

See the XDG Base Directory Specification; flock(2); unix(7) on why the runtime directory's path must be short.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from minicontainer.errors import Conflict, Error, NotFound

DEFAULT = "default"
MOST_NODES = 99
DEFAULT_MEMORY = 1024  # MiB
DEFAULT_DISK = 8 << 30  # bytes
NETWORK = "10.77.0"
GLANCE = 0.05
PATIENCE = 1.0  # seconds: `is_owned` of another command holds the lock for a moment

Record = TypeVar("Record", bound=msgspec.Struct)


class Publish(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A port of the host's loopback that leads into a node."""

    node: str
    host_port: int
    guest_port: int


class Share(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A directory of the host that the nodes see."""

    directory: str
    read_only: bool = False


class FleetRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `vm up` was asked for; `vm start` makes the same again."""

    nodes: int = 1
    memory: int = DEFAULT_MEMORY  # MiB each
    cpus: int = 1
    disk: int = DEFAULT_DISK  # bytes each; the file is sparse
    publish: tuple[Publish, ...] = ()
    share: Share | None = None
    online: bool = False
    snapshot: bool = True
    init: str = "plain"
    image: str = ""  # the key of the image below the disks: with another one they would make no sense

    def without_disk(self) -> FleetRecord:
        """Give the same with nodes that keep nothing."""
        return msgspec.structs.replace(self, disk=0)

    def names(self) -> list[str]:
        """Name its nodes."""
        return [f"node{number}" for number in range(1, self.nodes + 1)]


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What must be known of a node when nobody keeps it any more."""

    name: str
    running: bool = False  # as far as its keeper knew: with no keeper, a running node is a dead one
    written: bool = False  # its user has changed something on its disk
    ssh_port: int = 0

    @property
    def number(self) -> int:
        """Tell its number, which its addresses end in."""
        return int(self.name.removeprefix("node"))

    @property
    def address(self) -> str:
        """Give its address on the fleet's network."""
        return f"{NETWORK}.{self.number}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where a fleet lies."""

    state: Path
    runtime: Path

    @property
    def control(self) -> Path:
        """The socket on which its keeper listens."""
        return self.runtime / "control"

    def folder(self, node: str) -> Path:
        """Where a node's own files lie."""
        return self.state / node

    def disk(self, node: str) -> Path:
        """Give the file that is a node's disk."""
        return self.folder(node) / "disk"

    def console(self, node: str) -> Path:
        """Give the file of what a node's kernel and first programs have said since its last start."""
        return self.folder(node) / "console.log"

    def exists(self) -> bool:
        """Tell whether `vm up` has come so far that there is something to start again."""
        return (self.state / "fleet.json").exists()

    def record(self) -> FleetRecord:
        """Read what was asked for. Raises NotFound, Error."""
        return read(self.state / "fleet.json", FleetRecord)

    def node(self, name: str) -> NodeRecord:
        """Read a node's record. Raises NotFound, Error."""
        return read(self.folder(name) / "record.json", NodeRecord)

    def nodes(self) -> list[NodeRecord]:
        """Read the records of all nodes that have come into being."""
        return [
            self.node(name) for name in self.record().names() if (self.folder(name) / "record.json").exists()
        ]

    def keep(self, record: FleetRecord | NodeRecord) -> None:
        """Write a record, whole or not at all."""
        if isinstance(record, FleetRecord):
            write(self.state / "fleet.json", record)
        else:
            self.folder(record.name).mkdir(mode=0o700, exist_ok=True)
            write(self.folder(record.name) / "record.json", record)

    def remove(self) -> None:
        """Remove all that there is. The caller holds the lock, so nothing runs."""
        remove_place(self.runtime)
        remove_place(self.state)


def find(name: str = DEFAULT) -> Fleet:
    """Say where the fleet of that name lies for this user, whether or not it exists."""
    home = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Fleet(Path(home) / "minicontainer" / "vm" / name, runtime_home() / name)


def runtime_home() -> Path:
    """Give the short directory for sockets."""
    directory = os.environ.get("XDG_RUNTIME_DIR")
    if directory:
        return Path(directory) / "minicontainer-vm"
    if os.geteuid() == 0:
        return Path("/run/minicontainer-vm")
    return Path(f"/tmp/minicontainer-vm-{os.getuid()}")  # noqa: S108 - `make` takes it only if it is ours


def make(place: Path, tries: int = 16) -> None:
    """Make a directory for this user alone. Raises Error when it is somebody else's, or cannot be made."""
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # also one that another command removes at this moment
            place.mkdir(mode=0o700)
        owners = {found.stat(follow_symlinks=False).st_uid for found in (place, place.parent)}
    except OSError as problem:
        if tries and problem.errno == errno.ENOENT:
            make(place, tries - 1)
            return
        raise Error(f"cannot make {place}: {(problem.strerror or '').lower()}") from None
    if owners != {os.geteuid()}:
        raise Error(f"{place.parent} belongs to somebody else")


def remove_tree(place: Path) -> None:
    """Remove a directory if it is there. Raises Error."""
    try:
        shutil.rmtree(place)
    except FileNotFoundError:
        return
    except OSError as problem:
        raise Error(
            f"cannot remove {problem.filename or place}: {(problem.strerror or '').lower()}"
        ) from None


def remove_place(place: Path) -> None:
    """Remove a directory, and those of ours above it where nothing else is left. Raises Error."""
    remove_tree(place)
    with contextlib.suppress(OSError):  # there is something else
        for above in place.parents:
            if not above.name.startswith("minicontainer") and above.name != "vm":
                break
            above.rmdir()


def read(path: Path, kind: type[Record]) -> Record:
    """Read a record. Raises NotFound, and Error for one that is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such record") from None
    except (msgspec.DecodeError, OSError) as problem:
        raise Error(f"{path} is damaged: {problem}", "`minicontainer vm down` removes the nodes") from None


def write(path: Path, record: msgspec.Struct) -> None:
    """Write a record beside, make it durable, and put it in place. Raises Error."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as problem:
        beside.unlink(missing_ok=True)
        raise Error(f"cannot write {path}: {(problem.strerror or '').lower()}") from None


def seize(fleet: Fleet, wait: float = PATIENCE) -> int:
    """Take the fleet's lock, making its directory; returns the descriptor that holds it.

    Raises Conflict when somebody else still holds it after `wait` seconds. The holder may remove the folder
    while we wait: then the lock of a directory that is gone is worth nothing, and we begin again.
    """
    end = time.monotonic() + wait
    while True:
        make(fleet.state)
        try:
            fd = os.open(fleet.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            if time.monotonic() > end:
                raise Conflict(
                    "another command is at work on the virtual machines", "wait for it to end"
                ) from None
            time.sleep(GLANCE)
            continue
        if holds(fd, fleet):
            return fd
        os.close(fd)


@contextlib.contextmanager
def seized(fleet: Fleet, wait: float = PATIENCE) -> Iterator[int]:
    """Hold the fleet's lock for a block."""
    fd = seize(fleet, wait)
    try:
        yield fd
    finally:
        os.close(fd)


def is_owned(fleet: Fleet) -> bool:
    """Tell whether somebody, as a keeper, holds the fleet's lock."""
    try:
        fd = os.open(fleet.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def holds(lock: int, fleet: Fleet) -> bool:
    """Tell whether a lock is still one of the fleet's directory, and not of one that was removed."""
    try:
        return os.path.samestat(os.fstat(lock), fleet.state.stat())
    except FileNotFoundError:
        return False


def free_room(directory: Path) -> int:
    """Count the free bytes of the file system that a directory lies on, or will."""
    while not directory.exists():
        directory = directory.parent
    return shutil.disk_usage(directory).free
