"""The images that travel: one with every kind of entry, one for two platforms, and one that takes a while.

See layouts.py for how they are described.
"""

from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path

from minicontainer.image import platform as platforms
from minicontainer.oci.image import OCI_INDEX
from tests.image.layouts import (
    Entry,
    Layout,
    character,
    directory,
    fifo,
    file,
    hardlink,
    image,
    layer,
    opaque,
    symlink,
    whiteout,
)

ROOT_OF_ALL = directory("./")
NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")  # of setcap cap_net_raw=ep
BELOW = [
    *(ROOT_OF_ALL, directory("dev"), directory("etc"), directory("tmp", 0o1777), directory("usr")),
    *(
        directory("usr/bin"),
        directory("usr/share"),
        directory("usr/share/old"),
        directory("srv", 0o2750, gid=33),
    ),
    file("etc/hostname", b"sample\n", nanoseconds=123456789),
    file("etc/shadow", b"root:*:::::::\n", mode=0o640, gid=42),
    file("usr/bin/su", b"\x7fELF and so on" * 400, mode=0o4755),
    file("usr/bin/ping", b"\x7fELF", mode=0o755, xattrs={"security.capability": NET_RAW}),
    hardlink("usr/bin/ping4", "usr/bin/ping", mode=0o755),
    symlink("bin", "usr/bin"),
    symlink("usr/bin/sh", "/nowhere/at/all"),
    file("usr/share/old/gone", b"soon"),
    file("usr/share/old/stays", b"for good"),
    file("usr/share/becomes-a-directory", b"now a file"),
    directory("usr/share/becomes-a-file"),
    file("usr/share/becomes-a-file/within", b"hidden"),
    directory("usr/share/emptied"),
    file("usr/share/emptied/one", b"1"),
    file(b"usr/share/caf\xe9", b"Latin-1"),
    file("usr/share/" + "long/" * 30 + "name", b"deep", uid=100_000, gid=3_000_000),
    file("usr/share/tagged", b"x", xattrs={"user.comment": b"\x00\xff any bytes"}),
    fifo("tmp/pipe"),
    character("dev/null", 1, 3, mode=0o666),
]
ABOVE = [
    *(directory("usr"), directory("usr/share"), directory("usr/share/old")),
    whiteout("usr/share/old/gone"),
    directory("usr/share/becomes-a-directory"),
    file("usr/share/becomes-a-directory/within", b"2"),
    file("usr/share/becomes-a-file", b"3"),
    *(directory("usr/share/emptied"), opaque("usr/share/emptied"), file("usr/share/emptied/two", b"2")),
    file("etc/hostname", b"sample, changed\n"),
    *(directory("etc", 0o750), directory("etc/new")),
]


def every_kind(folder: Path) -> Path:
    """Write the image `sample`: two layers with all that entries can be."""
    return image([layer(BELOW), layer(ABOVE)], name="sample").write(folder)


def two_platforms(folder: Path) -> Path:
    """Write the index `sample` of an image for this machine and one for another."""
    layout = Layout()
    here = platforms.host()
    there = "arm64" if here.architecture == "amd64" else "amd64"
    entries = []
    for architecture in (there, here.architecture):
        made = layer([ROOT_OF_ALL, file("architecture", architecture.encode())])
        described = layout.add_image([made], config=partial(said_to_be_for, architecture))
        entries.append({**described, "platform": {"os": "linux", "architecture": architecture}})
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    layout.name(layout.add(index, OCI_INDEX), "sample")
    return layout.write(folder)


def said_to_be_for(architecture: str, config: dict[str, object]) -> None:
    """Change what an image's configuration says."""
    config["architecture"] = architecture


def incompressible(folder: Path, layers: int = 4, megabytes: float = 2) -> Path:
    """Write the image `sample`, of layers that are as large on the way as they are unpacked."""
    chance = random.Random(layers)
    size = int(megabytes * 1_000_000)

    def entries(number: int) -> list[Entry]:
        files = [file(f"layer-{number}/{part}", chance.randbytes(size // 8)) for part in range(8)]
        return [ROOT_OF_ALL, directory(f"layer-{number}"), *files]

    return image([layer(entries(number)) for number in range(layers)], name="sample").write(folder)
