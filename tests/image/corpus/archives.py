"""Archives that are hostile themselves: tar files in which a layout, or docker's older form, is handed over.

`load` extracts nothing, so links and names of members lead nowhere; what it reads is bounded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from minicontainer.oci.image import OCI_CONFIG
from tests.image.corpus.attack import HARMLESS, VICTIM, Attack
from tests.image.corpus.bombs import MIB, ZEROS
from tests.image.corpus.entries import sparse
from tests.image.layouts import (
    Entry,
    Layout,
    block,
    character,
    directory,
    fifo,
    file,
    gzip,
    hardlink,
    image,
    layer,
    symlink,
    tar,
)

Members = Sequence[Entry | bytes]
Pack = Callable[[Layout], bytes]


def plain_image() -> Layout:
    """Make the image that all of these archives hold."""
    return image([layer(HARMLESS)])


def packed(name: str, sentence: str, *words: str, pack: Pack) -> Attack:
    """Describe an archive; without words it is right."""

    def write(layout: Layout, path: Path) -> None:
        path.write_bytes(pack(layout))

    return Attack(
        name=name,
        sentence=sentence,
        make=plain_image,
        refused=words,
        as_if=b"" if words else tar(HARMLESS),
        served=False,
        archive=write,
    )


def members(layout: Layout) -> list[Entry]:
    """List what an archive of a layout has."""
    return [file(name, data) for name, data in layout.files().items()]


def with_more(*more: Entry | bytes) -> Pack:
    """Put further members before and after those of the layout."""
    return lambda layout: tar([*more, *members(layout), *more])


def with_other(path: str, *others: Entry | bytes) -> Pack:
    """Put other members in the place of one file; `LAYER` stands for the layer's blob."""

    def pack(layout: Layout) -> bytes:
        name = path.replace("LAYER", f"blobs/{layer_of(layout).replace(':', '/')}")
        kept = [member for member in members(layout) if member.name != name.encode()]
        return tar([*kept, *(replace(o, name=name.encode()) if isinstance(o, Entry) else o for o in others)])

    return pack


def layer_of(layout: Layout) -> str:
    """Give the digest of a layout's one layer."""
    manifest = json.loads(layout.index)["manifests"][0]["digest"]
    digest: str = json.loads(layout.blobs[manifest])["layers"][0]["digest"]
    return digest


def layer_data(layout: Layout) -> bytes:
    """Give the blob of a layout's one layer."""
    return layout.blobs[layer_of(layout)]


def write_with_large_index(layout: Layout, path: Path) -> None:
    """Write an archive that ends in index.json, which is a hole of the file."""
    size = 512 * MIB
    others = tar((member for member in members(layout) if member.name != b"index.json"), end=b"")
    path.write_bytes(others + file("index.json", size=size).header())
    os.truncate(path, path.stat().st_size + size)


UP = "../" * 40
OCI = (
    packed(
        "archive-members-escape",
        "Members have names that climb, are absolute, are links, devices and FIFOs: none is extracted.",
        pack=with_more(
            *(file(f"{UP}{VICTIM}/hello", b"changed"), file(f"{VICTIM}/hello", b"changed")),
            *(symlink("l", str(VICTIM)), file("l/hello", b"changed"), hardlink("h", f"{VICTIM}/hello")),
            *(fifo("p"), character("c", 1, 3), block("b", 7, 200), directory("../../d", 0o777)),
        ),
    ),
    packed(
        "archive-blob-link-outside",
        "The layer's blob is a link to a file of the host (CVE-2014-6407).",
        "sha256:",
        pack=with_other("LAYER", symlink("", f"{VICTIM}/hello")),
    ),
    packed(
        "archive-blob-hard-link-outside",
        "The layer's blob is a hard link to a file of the host.",
        "sha256:",
        pack=with_other("LAYER", hardlink("", f"{UP}{VICTIM}/hello")),
    ),
    packed(
        "archive-index-link-outside",
        "index.json is a link to a file of the host.",
        "index.json",
        pack=with_other("index.json", symlink("", f"{VICTIM}/hello")),
    ),
    packed(
        "archive-index-link-loop",
        "index.json is a link to itself.",
        "index.json",
        pack=with_other("index.json", symlink("", "index.json")),
    ),
    packed(
        "archive-index-fifo", "index.json is a FIFO.", "index.json", pack=with_other("index.json", fifo(""))
    ),
    packed(
        "archive-index-device",
        "index.json is a device that never ends.",
        "index.json",
        pack=with_other("index.json", character("", 1, 5)),
    ),
    packed(
        "archive-index-directory",
        "index.json is a directory.",
        "index.json",
        pack=with_other("index.json", directory("")),
    ),
    Attack(
        name="archive-index-large",
        sentence="index.json has 512 MiB (CVE-2023-25153).",
        make=plain_image,
        refused=("index.json",),
        served=False,
        archive=write_with_large_index,
    ),
    packed(
        "archive-index-sparse",
        "index.json has 8 EiB, of which nothing is stored.",
        "8",
        pack=with_other("index.json", sparse("index.json", 2**63 - 1, (2**63 - 1, 0))),
    ),
    packed(
        "archive-blob-changed-later",
        "The layer's blob comes twice, the second time changed: what is checked is what is used.",
        "sha256:",
        pack=lambda layout: tar(
            [*members(layout), file(f"blobs/{layer_of(layout).replace(':', '/')}", b"changed")]
        ),
    ),
    packed("archive-empty", "The archive is an empty file.", "image", pack=lambda layout: b""),
    packed("archive-zeros", "The archive is all zeros.", "image", pack=lambda layout: ZEROS),
    packed(
        "archive-text", "The archive is a text.", "image", pack=lambda layout: b"This is no archive.\n" * 100
    ),
    packed(
        "archive-cut-in-blob",
        "The archive ends within a blob.",
        "cut",
        pack=lambda layout: tar(members(layout))[:-1700],
    ),
    packed(
        "archive-cut-in-header",
        "The archive ends within a header.",
        "cut",
        pack=lambda layout: tar(members(layout))[:700],
    ),
    packed(
        "archive-bomb",
        "The archive is 4 GiB of zeros in 4 MB of gzip.",
        "200",
        pack=lambda layout: gzip(file("zeros", size=4096 * MIB).encoded()) + gzip(ZEROS) * 4096,
    ),
    packed(
        "archive-header-bomb",
        "A member's extended header has 100 MiB.",
        "header",
        pack=lambda layout: (
            gzip(Entry(kind=b"x", name=b"x", size=100 * MIB).header()) + gzip(b"x" * MIB) * 100
        ),
    ),
    packed(
        "archive-many-members",
        "The archive has 20 000 members.",
        "10000",
        pack=with_more(*(file(f"{number}") for number in range(20_000))),
    ),
    packed(
        "archive-gzip-cut",
        "The archive is gzip that ends early.",
        "gzip",
        pack=lambda layout: gzip(tar(members(layout)))[:-100],
    ),
    packed(
        "archive-gzip",
        "The archive is compressed, which docker takes.",
        pack=lambda layout: gzip(tar(members(layout))),
    ),
    packed(
        "archive-link-inside",
        "The layer's blob is a link to another member.",
        pack=lambda layout: (
            with_other("LAYER", symlink("", "../../elsewhere"))(layout)[:-1024]
            + tar([file("elsewhere", layer_data(layout))])
        ),
    ),
    packed(
        "archive-members-spelled-oddly",
        "The names of the members begin with `./`, and directories come between.",
        pack=lambda layout: tar(
            [
                directory("./"),
                *(replace(m, name=b"./" + m.name) for m in members(layout)),
                directory("./blobs/"),
            ]
        ),
    ),
)


# --- docker's older form -------------------------------------------------------------------------------


def docker(
    config: str = "config.json",
    layers: Sequence[str] = ("layer.tar",),
    tags: Sequence[str] | None = ("sample:latest",),
    more: Members = (),
) -> Pack:
    """Write a configuration and a layer, and manifest.json, which says that they have these names."""

    def pack(layout: Layout) -> bytes:
        data = next(layout.blobs[digest] for digest, kind in layout.types.items() if kind == OCI_CONFIG)
        described = [{"Config": config, "Layers": layers, "RepoTags": tags}]
        return tar(
            [
                file("manifest.json", json.dumps(described).encode()),
                file("config.json", data),
                file("layer.tar", tar(HARMLESS)),
                *more,
            ]
        )

    return pack


DOCKER = (
    packed("docker-archive", "Docker's older form, as it should be.", pack=docker()),
    packed(
        "docker-layer-link",
        "A layer is a link to that of another image, as docker saved it.",
        pack=docker(layers=("other/layer.tar",), more=[symlink("other/layer.tar", "../layer.tar")]),
    ),
    packed(
        "docker-config-climbs",
        "The configuration's name climbs (CVE-2014-9358).",
        "is not in the archive",
        pack=docker(config=f"{UP}{VICTIM}/hello"),
    ),
    packed(
        "docker-layer-climbs",
        "The layer's name climbs (CVE-2014-9358).",
        "is not in the archive",
        pack=docker(layers=(f"{UP}{VICTIM}/hello",)),
    ),
    packed(
        "docker-layer-absolute",
        "The layer's name is a file of the host.",
        "is not in the archive",
        pack=docker(layers=(f"{VICTIM}/hello",)),
    ),
    packed(
        "docker-layer-link-outside",
        "The layer is a link to a file of the host (CVE-2014-6407).",
        "is not in the archive",
        pack=docker(layers=("l",), more=[symlink("l", f"{VICTIM}/hello")]),
    ),
    packed(
        "docker-layers-too-many",
        "There are more layers than the configuration names.",
        "manifest.json",
        pack=docker(layers=("layer.tar", "layer.tar")),
    ),
    packed(
        "docker-layer-changed",
        "The layer is not the one that the configuration names.",
        "sha256:",
        pack=docker(more=[file("layer.tar", tar([file("changed")]))]),
    ),
    packed(
        "docker-name-climbs",
        "The image's name climbs.",
        "invalid reference format",
        pack=docker(tags=("../../../etc/passwd:latest",)),
    ),
    packed(
        "docker-name-control-characters",
        "The image's name has escapes in it.",
        "invalid reference format",
        pack=docker(tags=("a\x1b[2J\n:latest",)),
    ),
    packed(
        "docker-manifest-deep",
        "manifest.json is nested 200 000 deep.",
        "manifest.json",
        pack=docker(more=[file("manifest.json", b"[" * 200_000)]),
    ),
    packed(
        "docker-manifest-no-list",
        "manifest.json is no list.",
        "manifest.json",
        pack=docker(more=[file("manifest.json", b"7")]),
    ),
    packed(
        "docker-config-no-json",
        "The configuration is no JSON.",
        "config",
        pack=docker(more=[file("config.json", b"\x7fELF")]),
    ),
    packed(
        "docker-before-1-10",
        "The archive is of a docker before 1.10, whose layers prove nothing.",
        "docker before 1.10",
        pack=lambda layout: tar([file("repositories", b"{}"), file("x/layer.tar", tar(HARMLESS))]),
    ),
)

ATTACKS: tuple[Attack, ...] = (*OCI, *DOCKER)
