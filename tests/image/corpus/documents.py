"""Images whose documents lie: digests, sizes, types, numbers of layers, two documents in one.

The words that the error must have are the name of the document and the path of the member that is wrong;
where the content is wrong, its digest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from minicontainer.oci.image import (
    DOCKER_MANIFEST,
    DOCKER_SCHEMA_1,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
)
from tests.image.corpus.attack import HARMLESS, KNOWN, Attack, unpacked
from tests.image.layouts import (
    Document,
    Edit,
    Layout,
    digest_of,
    edited,
    gzip,
    image,
    layer,
    plain,
    tar,
    tar_layer,
)

HEX = "0123456789abcdef" * 4


def wrong(
    name: str, sentence: str, *words: str, config: Edit | None = None, manifest: Edit | None = None
) -> Attack:
    """Describe an image of one harmless layer with one wrong document."""

    def make() -> Layout:
        return image([layer(HARMLESS)], config=config, manifest=manifest)

    return Attack(name=name, sentence=sentence, make=make, refused=words)


def wrong_index(name: str, sentence: str, *words: str, index: Edit) -> Attack:
    """Describe a layout of which index.json is wrong: no registry has that."""

    def make() -> Layout:
        return image([layer(HARMLESS)], index=index)

    return Attack(name=name, sentence=sentence, make=make, refused=words, served=False)


def damaged(name: str, sentence: str, *words: str, damage: Callable[[Layout], object]) -> Attack:
    """Describe a layout in which something was changed after all digests were computed."""

    def make() -> Layout:
        layout = image([layer(HARMLESS)])
        damage(layout)
        return layout

    return Attack(name=name, sentence=sentence, make=make, refused=words)


def put(*path: str | int, value: Any) -> Edit:
    """Say that a member has another value."""

    def edit(document: Document) -> None:
        inner: Any = document
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value

    return edit


def without(member: str) -> Edit:
    """Say that a member is missing."""
    return lambda document: document.pop(member) and None


def instead(data: bytes) -> Edit:
    """Say that the document is something else altogether."""
    return lambda document: data


# --- content that is not what its digest says --------------------------------------------------------


def parts(layout: Layout) -> dict[str, str]:
    """Name the blobs of a layout of one layer by what they are."""
    manifest = json.loads(layout.index)["manifests"][0]["digest"]
    members = json.loads(layout.blobs[manifest])
    return {
        "manifest": manifest,
        "config": members["config"]["digest"],
        "layer": members["layers"][0]["digest"],
    }


def change(part: str, how: Callable[[bytes], bytes]) -> Callable[[Layout], None]:
    """Say that one blob has other bytes than its digest stands for."""

    def damage(layout: Layout) -> None:
        digest = parts(layout)[part]
        layout.blobs[digest] = how(layout.blobs[digest])

    return damage


def remove(part: str, layout: Layout) -> None:
    """Say that one blob is not there."""
    del layout.blobs[parts(layout)[part]]


def flipped(data: bytes) -> bytes:
    """Flip one bit in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


CHANGES: tuple[tuple[str, str, Callable[[bytes], bytes]], ...] = (
    ("flipped", "has one bit flipped", flipped),
    ("short", "lacks its last byte", lambda data: data[:-1]),
    ("long", "has a byte too many", lambda data: data + b"\n"),
    ("empty", "is empty", lambda data: b""),
)
CONTENT = (
    *(
        damaged(f"{part}-{name}", f"The {part} {what}.", "sha256:", damage=change(part, how))
        for part in ("manifest", "config", "layer")
        for name, what, how in CHANGES
    ),
    *(
        damaged(
            f"{part}-missing",
            f"The {part} is not there.",
            "sha256:",
            damage=partial(remove, part),
        )
        for part in ("config", "layer")
    ),
    replace(
        damaged(
            "manifest-missing",
            "The manifest is not there.",
            "sha256:",
            damage=partial(remove, "manifest"),
        ),
        served=False,
    ),
)

# --- sizes and digests of descriptors ----------------------------------------------------------------

SIZES: tuple[tuple[str, str, Any], ...] = (
    ("zero", "0", 0),
    ("negative", "-1", -1),
    ("63-bits", "2^63", 2**63),
    ("fraction", "a fraction", 1.5),
    ("text", "text", "100"),
    ("null", "null", None),
)
DIGESTS: tuple[tuple[str, str, Any], ...] = (
    ("climbs", "a path that climbs (CVE-2024-3727)", "sha256:../../../../../etc/passwd"),
    ("climbs-by-algorithm", "an algorithm that climbs", f"../../etc:{HEX}"),
    ("md5", "of an algorithm that proves nothing", "md5:d41d8cd98f00b204e9800998ecf8427e"),
    ("upper-case", "in upper case", f"sha256:{HEX.upper()}"),
    ("63-digits", "too short", f"sha256:{HEX[:63]}"),
    ("65-digits", "too long", f"sha256:{HEX}0"),
    ("newline", "followed by a newline", f"sha256:{HEX}\n"),
    ("no-algorithm", "without an algorithm", HEX),
    ("empty", "empty", ""),
    ("null", "null", None),
    ("other-digits", "of digits that are not ASCII", f"sha256:{HEX[:63]}\u0663"),
)
PLACES: tuple[tuple[str, tuple[str | int, ...]], ...] = (("config", ("config",)), ("layer", ("layers", 0)))


def spelled(path: tuple[str | int, ...]) -> str:
    """Write a path as errors do: layers[0].size."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


DESCRIPTORS = (
    *(
        wrong(
            f"{place}-size-{name}",
            f"The size of the {place} is said to be {what}.",
            "manifest",
            spelled((*path, "size")),
            manifest=put(*path, "size", value=value),
        )
        for place, path in PLACES
        for name, what, value in SIZES
    ),
    *(
        wrong(
            f"layer-size-{name}",
            f"The size of the layer is said to be {what}.",
            "sha256:",
            manifest=put("layers", 0, "size", value=value),
        )
        for name, what, value in (("one-less", "too small", 10), ("gigabyte", "too large", 10**9))
    ),
    Attack(
        name="known-layer-size",
        sentence="The size of a layer is wrong, and the layer is in the store already.",
        make=lambda: image([layer(KNOWN)], manifest=put("layers", 0, "size", value=10)),
        refused=("sha256:",),
    ),
    *(
        wrong(
            f"{place}-digest-{name}",
            f"The digest of the {place} is {what}.",
            "manifest",
            spelled((*path, "digest")),
            manifest=put(*path, "digest", value=value),
        )
        for place, path in PLACES
        for name, what, value in DIGESTS
    ),
    wrong(
        "layer-digest-sha512-of-nothing",
        "The digest of the layer is SHA-512, of another content.",
        "sha512:",
        manifest=put("layers", 0, "digest", value=f"sha512:{HEX}{HEX}"),
    ),
)

# --- layers and their diff ids -----------------------------------------------------------------------

EMPTY = digest_of(b"")
DIFF_IDS = (
    wrong(
        "diff-id-mismatch",
        "The layer is another one than the configuration says: it would lie under a wrong name.",
        "layer sha256:",
        EMPTY,
        config=put("rootfs", "diff_ids", 0, value=EMPTY),
    ),
    wrong(
        "diff-ids-too-few",
        "The configuration has no diff id for the layer.",
        "config",
        "rootfs.diff_ids",
        config=put("rootfs", "diff_ids", value=[]),
    ),
    wrong(
        "diff-ids-too-many",
        "The configuration has a diff id too many.",
        "config",
        "rootfs.diff_ids",
        config=lambda config: config["rootfs"]["diff_ids"].append(EMPTY),
    ),
    wrong(
        "diff-id-climbs",
        "A diff id, which names a directory, climbs.",
        "config",
        "rootfs.diff_ids[0]",
        config=put("rootfs", "diff_ids", 0, value="sha256:../../../../etc"),
    ),
    wrong("rootfs-missing", "The configuration has no rootfs.", "config", "rootfs", config=without("rootfs")),
    wrong(
        "rootfs-type",
        "The root file system is of an unknown type.",
        "config",
        "rootfs.type",
        config=put("rootfs", "type", value="directories"),
    ),
    wrong(
        "layers-10000",
        "10 000 layers, all the same (performance, and more than overlayfs stacks).",
        "manifest",
        "layers",
        manifest=lambda manifest: manifest.update(layers=manifest["layers"] * 10_000),
    ),
    wrong(
        "layers-501",
        "A layer more than we allow.",
        "manifest",
        "layers",
        manifest=lambda manifest: manifest.update(layers=manifest["layers"] * 501),
    ),
    wrong("layers-number", "The layers are a number.", "manifest", "layers", manifest=put("layers", value=7)),
    wrong(
        "layer-type-unknown",
        "The layer is of a type that nobody can unpack.",
        "layers[0]",
        manifest=put("layers", 0, "mediaType", value="application/vnd.example.layer"),
    ),
    wrong(
        "layer-type-encrypted",
        "The layer is encrypted.",
        "layers[0]",
        manifest=put("layers", 0, "mediaType", value=f"{OCI_LAYER}+gzip+encrypted"),
    ),
    wrong(
        "config-type-artifact",
        "What is named is a chart and no image.",
        "application/vnd.cncf.helm.config.v1+json",
        manifest=put("config", "mediaType", value="application/vnd.cncf.helm.config.v1+json"),
    ),
)

# --- documents that are two things, or none ------------------------------------------------------------

DEEP = b'{"a":' * 200_000 + b"1" + b"}" * 200_000
KINDS = (
    wrong(
        "manifest-and-index",
        "A manifest that is an index, too: a scanner reads one, we the other (CVE-2021-41190).",
        "manifest",
        "manifests",
        manifest=put("manifests", value=[]),
    ),
    wrong(
        "manifest-calls-itself-index",
        "A manifest that calls itself an index (CVE-2021-41190).",
        "manifest",
        "index",
        manifest=put("mediaType", value=OCI_INDEX),
    ),
    wrong(
        "manifest-calls-itself-docker",
        "A manifest that calls itself Docker's, but was named as an OCI one.",
        "manifest",
        "mediaType",
        manifest=put("mediaType", value=DOCKER_MANIFEST),
    ),
    wrong(
        "manifest-calls-itself-schema-1",
        "A manifest of Docker's schema 1, in which layers prove nothing.",
        "schema 1",
        manifest=lambda m: m.update(schemaVersion=1, mediaType=DOCKER_SCHEMA_1[0], fsLayers=[], history=[]),
    ),
    wrong(
        "manifest-media-type-number",
        "A manifest's type is a number.",
        "manifest",
        "mediaType",
        manifest=put("mediaType", value=7),
    ),
    *(
        wrong(
            f"schema-version-{name}",
            f"A manifest's schemaVersion is {what}.",
            "manifest",
            "schemaVersion",
            manifest=put("schemaVersion", value=value),
        )
        for name, what, value in (
            ("3", "3", 3),
            ("text", "text", "2"),
            ("true", "true", True),
            ("null", "null", None),
        )
    ),
    wrong(
        "manifest-keys-twice",
        "A manifest has its layers twice: each reader takes other ones.",
        "manifest",
        manifest=lambda m: json.dumps(m)[:-1].encode() + b',"layers":[]}',
    ),
    wrong("manifest-deep", "A manifest is nested 200 000 deep.", "manifest", manifest=instead(DEEP)),
    wrong("config-deep", "A configuration is nested 200 000 deep.", "config", config=instead(DEEP)),
    wrong("manifest-list", "A manifest is a list.", "manifest", manifest=instead(b"[]")),
    wrong("manifest-null", "A manifest is null.", "manifest", manifest=instead(b"null")),
    wrong("manifest-no-json", "A manifest is no JSON.", "manifest", manifest=instead(b"\x7fELF")),
    wrong("config-no-json", "A configuration is no JSON.", "config", config=instead(b"\x7fELF")),
    wrong("config-not-utf8", "A configuration is not UTF-8.", "config", config=instead(b'{"os":"\xff"}')),
    wrong("config-list", "A configuration is a list.", "config", config=instead(b"[1]")),
    wrong(
        "manifest-nul",
        "A manifest has a NUL in a digest.",
        "manifest",
        manifest=put("config", "digest", value=f"sha256:{HEX[:63]}\0"),
    ),
    wrong(
        "config-nul", "A variable has a NUL in it.", "config", config=put("config", "Env", value=["A=b\0c"])
    ),
    wrong("config-nan", "A configuration has a NaN in it.", "config", config=instead(b'{"os":NaN}')),
    wrong(
        "config-settings-number",
        "The settings are a number.",
        "config",
        config=put("config", value=5),
    ),
    wrong(
        "config-env-number",
        "A variable is a number.",
        "config",
        "config.Env",
        config=put("config", "Env", value=[7]),
    ),
    wrong(
        "manifest-5-mb",
        "A manifest is larger than 4 MiB.",
        "4194304",
        manifest=lambda m: m.update(annotations={"a": "x" * 5_000_000}),
    ),
    wrong(
        "config-5-mb",
        "A configuration is larger than 4 MiB.",
        "config",
        config=lambda c: c.update(author="x" * 5_000_000),
    ),
)


# --- indexes ---------------------------------------------------------------------------------------


def through_index(name: str, sentence: str, *words: str, index: Edit) -> Attack:
    """Describe an image that is named through an index of images."""

    def make() -> Layout:
        layout = Layout()
        manifest = layout.add_image([layer(HARMLESS)])
        entry = {**manifest, "platform": {"os": "linux", "architecture": "amd64"}}
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        layout.name(layout.add(edited(document, index), OCI_INDEX), "sample:latest")
        return layout

    return Attack(name=name, sentence=sentence, make=make, refused=words)


def nest(depth: int) -> Layout:
    """Make an index that names an index that names ... an image."""
    layout = Layout()
    inner = layout.add_image([layer(HARMLESS)])
    for _ in range(depth):
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner]}
        inner = layout.add(json.dumps(document).encode(), OCI_INDEX)
    layout.name(inner, "sample:latest")
    return layout


def loop() -> Layout:
    """Make an index whose one entry is said to be the index itself."""
    layout = Layout()
    digest = digest_of(b"nobody can know")
    entry = {"mediaType": OCI_INDEX, "digest": digest, "size": 300}
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    layout.blobs[digest] = data.ljust(300)
    layout.name(entry, "sample:latest")
    return layout


INDEXES = (
    through_index(
        "index-5000",
        "An index of 5000 images.",
        "index",
        "manifests",
        index=lambda i: i.update(manifests=i["manifests"] * 5000),
    ),
    through_index(
        "index-no-platform",
        "An index that has nothing for us.",
        "linux/",
        index=put("manifests", 0, "platform", value={"os": "plan9", "architecture": "vax"}),
    ),
    through_index(
        "index-only-attestation",
        "An index that has only an attestation.",
        "linux/",
        index=put("manifests", 0, "platform", value={"os": "unknown", "architecture": "unknown"}),
    ),
    through_index(
        "index-and-manifest",
        "An index that is a manifest, too (CVE-2021-41190).",
        "an index",
        index=lambda i: i.update(layers=[], config={}),
    ),
    through_index(
        "index-entry-is-a-layer",
        "The entry of an index says that it is a layer.",
        "mediaType",
        index=put("manifests", 0, "mediaType", value=OCI_LAYER),
    ),
    through_index(
        "index-entry-is-a-config",
        "The entry of an index says that it is a configuration.",
        "mediaType",
        index=put("manifests", 0, "mediaType", value=OCI_CONFIG),
    ),
    through_index(
        "index-digest-climbs",
        "The digest of an index's entry climbs.",
        "index",
        "manifests[0].digest",
        index=put("manifests", 0, "digest", value="sha256:../../../../etc/passwd"),
    ),
    through_index(
        "index-size-63-bits",
        "The size of an index's entry is 2^63.",
        "index",
        "manifests[0].size",
        index=put("manifests", 0, "size", value=2**63),
    ),
    through_index("index-empty", "An index of nothing.", "linux/", index=put("manifests", value=[])),
    Attack(
        name="index-of-100-indexes",
        sentence="Indexes within indexes, a hundred deep.",
        make=lambda: nest(100),
        refused=("index",),
    ),
    Attack(name="index-loop", sentence="An index that names itself.", make=loop, refused=("sha256:",)),
)


def top_deep(index: Document) -> bytes:
    """Nest index.json deeply."""
    return DEEP


TOP = (
    wrong_index("top-deep", "index.json is nested 200 000 deep.", "index", index=top_deep),
    wrong_index("top-no-json", "index.json is no JSON.", "index", index=instead(b"\0\0")),
    wrong_index("top-list", "index.json is a list.", "index", index=instead(b"[]")),
    wrong_index(
        "top-5000",
        "index.json names 5000 images.",
        "index",
        "manifests",
        index=lambda i: i.update(manifests=i["manifests"] * 5000),
    ),
    wrong_index("top-empty", "index.json names nothing.", "index", index=put("manifests", value=[])),
    wrong_index(
        "top-digest-climbs",
        "A digest in index.json climbs (CVE-2024-3727).",
        "index",
        "manifests[0].digest",
        index=put("manifests", 0, "digest", value="sha256:../../../../../../etc/passwd"),
    ),
    wrong_index(
        "top-size-negative",
        "A size in index.json is negative.",
        "index",
        "manifests[0].size",
        index=put("manifests", 0, "size", value=-1),
    ),
    wrong_index(
        "top-size-wrong",
        "A size in index.json is one less than it is.",
        "sha256:",
        index=lambda i: i["manifests"][0].update(size=i["manifests"][0]["size"] - 1),
    ),
    wrong_index(
        "top-type-contradicts",
        "index.json calls the manifest an index (CVE-2021-41190).",
        "mediaType",
        index=put("manifests", 0, "mediaType", value=OCI_INDEX),
    ),
    wrong_index(
        "top-schema-version",
        "index.json is of an unknown version.",
        "index",
        "schemaVersion",
        index=put("schemaVersion", value=7),
    ),
)

# --- what looks odd and is right -----------------------------------------------------------------------


def odd(name: str, sentence: str, make: Callable[[], Layout]) -> Attack:
    """Describe an image of the harmless layer that is unpacked."""
    return Attack(name=name, sentence=sentence, make=make, as_if=tar(HARMLESS))


HARMLESS_TAR = tar(HARMLESS)
ODD = (
    odd(
        "compression-said-wrong",
        "The layer is said to be plain, and is gzip: its first bytes count.",
        lambda: image([layer(HARMLESS)], manifest=put("layers", 0, "mediaType", value=OCI_LAYER)),
    ),
    odd(
        "compression-said-gzip-is-plain",
        "The layer is said to be gzip, and is plain.",
        lambda: image(
            [layer(HARMLESS, plain)], manifest=put("layers", 0, "mediaType", value=f"{OCI_LAYER}+gzip")
        ),
    ),
    odd(
        "gzip-members",
        "The layer has several gzip members, as pigz and estargz write them.",
        lambda: image(
            [tar_layer(HARMLESS_TAR, lambda data: gzip(data[:700]) + gzip(b"") + gzip(data[700:]))]
        ),
    ),
    odd(
        "foreign-urls",
        "The layer's descriptor names places on the host and in its network, to be asked instead.",
        lambda: image(
            [layer(HARMLESS)],
            manifest=put("layers", 0, "urls", value=["file:///etc/shadow", "http://169.254.169.254/latest/"]),
        ),
    ),
    odd(
        "embedded-data",
        "The layer's descriptor carries other content than its digest says.",
        lambda: image([layer(HARMLESS)], manifest=put("layers", 0, "data", value="ZXZpbA==")),
    ),
    odd(
        "same-layer-twice",
        "The same layer twice.",
        lambda: image([layer(HARMLESS)] * 2),
    ),
    odd(
        "platform-of-others",
        "The image is for another machine, and says so in its configuration alone.",
        lambda: image([layer(HARMLESS)], config=lambda c: c.update(os="linux", architecture="vax")),
    ),
    odd(
        "unknown-members",
        "The documents have members that nobody knows.",
        lambda: image(
            [layer(HARMLESS)],
            config=put("minicontainer.secret", value={"a": [1, {}]}),
            manifest=put("minicontainer.origin", value=f"sha256:{HEX}"),
        ),
    ),
    unpacked("layer-of-nothing", "A layer has no entries.", [], as_if=HARMLESS, below=[HARMLESS]),
)

ATTACKS: tuple[Attack, ...] = (*CONTENT, *DESCRIPTORS, *DIFF_IDS, *KINDS, *INDEXES, *TOP, *ODD)
