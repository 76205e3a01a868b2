"""The root file system of the test image: Debian's static busybox, and files for the tests to find."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = Path("/usr/bin/busybox")
PLAIN = ("bin", "dev", "etc", "home", "proc", "run", "sys", "usr", "usr/open", "var")
FOLDERS = dict.fromkeys(PLAIN, 0o755) | {"root": 0o700, "tmp": 0o1777, "var/keep": 0o2750}
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000:Bob:/home:/bin/sh\n",
    "etc/group": "root:x:0:\nbob:x:1000:\nteam:x:2000:bob\n",
    "etc/not-a-program": "just words\n",
    "usr/open/inner": "kept\n",
    "var/keep/inner": "kept\n",
}


def write_image(path: Path) -> None:
    """Write the image's only layer as a tar file for `podman import`."""
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(path, "w") as archive:
        for name, mode in FOLDERS.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for name, text in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
        archive.add(BUSYBOX, "bin/busybox", filter=owned_by_root)
        for applet in sorted(set(applets) - {"busybox"}):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)


def owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Make an entry independent of who builds the image."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
