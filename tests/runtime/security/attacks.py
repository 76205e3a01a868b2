"""What several attacks share: a hostile program inside a container, and a part of the host to watch."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from tests.leftovers import reap_orphans
from tests.runtime.checks import accepts
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle
    from tests.runtime.runtimes import Runtime

PT_INTERP = 3
DOCKERS = (
    *(
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "NET_RAW",
    ),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
"""Docker's fourteen capabilities, without their CAP_."""


def fingerprint(top: Path) -> dict[str, tuple[object, ...]]:
    """Describe a tree so that any change of it shows: names, modes, owners, times of change, contents."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, names, files in os.walk(top):
        for name in [".", *names, *files]:
            path = Path(folder) / name
            is_ = path.lstat()
            content = (
                hashlib.sha256(path.read_bytes()).hexdigest()
                if path.is_file() and not path.is_symlink()
                else ""
            )
            found[str(path)] = (is_.st_mode, is_.st_uid, is_.st_gid, is_.st_size, is_.st_ctime_ns, content)
    return found


def start_attacker(runtime: Runtime, made: Bundle, program: str) -> str:
    """Start a container whose first process is a probe that says when it is ready."""
    made.args(program)
    name = runtime.started(made)
    eventually((made.rootfs / "ready").exists, "the attacker never began")
    return name


def end_attack(runtime: Runtime, made: Bundle) -> list[str]:
    """Stop the probe and give the lines of its report."""
    (made.rootfs / "stop").touch()
    eventually((made.rootfs / "report").exists, "the attacker never ended")

    def ended() -> bool:
        reap_orphans()
        return runtime.status(made.id) == "stopped"

    eventually(ended, "the attacker's namespace never ended")
    accepts(runtime.delete(made.id))
    return (made.rootfs / "report").read_text().splitlines()


def loader_of(program: Path) -> str | None:
    """Read the path of a program's dynamic loader (elf(5), PT_INTERP); None if it has none."""
    data = program.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        return None
    (start,) = struct.unpack_from("<Q", data, 32)
    size, number = struct.unpack_from("<HH", data, 54)
    for place in range(start, start + size * number, size):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", data, place)
        if kind == PT_INTERP:
            return data[offset : offset + length - 1].decode()
    return None


def victim(folder: Path) -> Path:
    """Make a folder of the host with a file and a folder, that nobody may touch."""
    top = folder / "victim"
    (top / "folder").mkdir(parents=True)
    (top / "file").write_text("of the host\n")
    return top
