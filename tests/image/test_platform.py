"""A platform is read as docker reads it, and the best of an index's images is chosen as containerd does."""

from __future__ import annotations

import platform as machine
import subprocess

import pytest

from minicontainer.errors import NotFound, SpecError
from minicontainer.image import platform as platforms
from minicontainer.oci.image import OCI_INDEX, OCI_MANIFEST, Descriptor, ImageConfig, Index, Platform, RootFs

GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def index(*offered: str | None) -> Index:
    """Make an index with an image for each platform; None is one that does not say."""
    entries = [
        Descriptor(
            media_type=OCI_MANIFEST,
            digest=f"sha256:{number:064x}",
            size=1 + number,
            platform=None if text is None else exactly(text),
        )
        for number, text in enumerate(offered)
    ]
    return Index(schema_version=2, media_type=OCI_INDEX, manifests=tuple(entries))


def exactly(text: str) -> Platform:
    system, architecture, *variant = text.split("/")
    return Platform(os=system, architecture=architecture, variant="".join(variant))


def chosen(wanted: str, *offered: str | None) -> str | None:
    found = platforms.choose(index(*offered), platforms.parse(wanted))
    return offered[found.size - 1]


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/386", "linux/386"),
        ("linux/i386", "linux/386"),
        ("linux/arm64", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("Linux/ARM64", "linux/arm64"),
        ("macos/arm64", "darwin/arm64"),
        ("riscv64", "linux/riscv64"),
        ("arm64", "linux/arm64"),
        ("armhf", "linux/arm/v7"),
    ],
)
def test_a_platform_is_read(written: str, normal: str) -> None:
    platform = platforms.parse(written)
    assert platforms.text(platform) == normal
    assert platforms.parse(normal) == platform


@pytest.mark.parametrize(
    "written",
    ["", "/", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "pentium", "linux/\u00e9", "a\nb/c"],
)
def test_what_is_no_platform_is_refused(written: str) -> None:
    with pytest.raises(SpecError):
        platforms.parse(written)


def test_the_machine_is_named_as_go_names_it() -> None:
    assert platforms.host().os == "linux"
    assert platforms.host().architecture == GO_NAMES.get(machine.machine(), machine.machine())
    assert platforms.parse("linux") == platforms.host()


@pytest.mark.requires("tool:dpkg")
def test_debian_names_this_machine_alike() -> None:
    debian = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    same = {"i386": "386", "armhf": "arm", "armel": "arm", "ppc64el": "ppc64le"}
    name = debian.stdout.strip()
    assert platforms.host().architecture == same.get(name, name)


@pytest.mark.parametrize(
    ("wanted", "offered", "best"),
    [
        ("linux/amd64", ("linux/arm64", "linux/amd64"), "linux/amd64"),
        ("linux/amd64", ("linux/386", "linux/amd64"), "linux/amd64"),
        ("linux/amd64", ("linux/386", "linux/arm64"), "linux/386"),
        ("linux/amd64", ("linux/amd64/v3", "linux/amd64"), "linux/amd64"),
        ("linux/amd64/v3", ("linux/amd64", "linux/amd64/v2", "linux/amd64/v4"), "linux/amd64/v2"),
        ("linux/arm/v7", ("linux/arm/v5", "linux/arm/v6"), "linux/arm/v6"),
        ("linux/arm/v7", ("linux/arm/v6", "linux/arm/v7"), "linux/arm/v7"),
        ("linux/arm/v7", ("linux/arm/v8", "linux/arm"), "linux/arm"),
        ("linux/arm64", ("linux/arm/v7", "linux/arm64/v8"), "linux/arm64/v8"),
        ("linux/arm64", ("linux/arm/v6", "linux/arm/v7"), "linux/arm/v7"),
        ("linux/arm64", ("linux/aarch64", "linux/arm/v7"), "linux/aarch64"),
        ("linux/riscv64", ("linux/amd64", "linux/riscv64"), "linux/riscv64"),
        ("linux/amd64", ("windows/amd64", "linux/amd64"), "linux/amd64"),
        ("linux/amd64", ("unknown/unknown", "linux/amd64"), "linux/amd64"),
        ("linux/amd64", (None, "linux/amd64"), "linux/amd64"),
        ("linux/amd64", (None,), None),
        ("linux/amd64", ("linux/arm64", None), None),
    ],
)
def test_the_best_image_is_chosen(wanted: str, offered: tuple[str | None, ...], best: str | None) -> None:
    assert chosen(wanted, *offered) == best


def test_of_two_that_fit_alike_the_first_is_chosen() -> None:
    found = platforms.choose(index("linux/amd64", "linux/amd64"), platforms.parse("linux/amd64"))
    assert found.size == 1


@pytest.mark.parametrize(
    "offered",
    [
        (),
        ("linux/arm64",),
        ("windows/amd64",),
        ("linux/amd64/v2",),
        ("unknown/unknown",),
        (None, None),
    ],
)
def test_where_none_fits_the_error_names_what_there_is(offered: tuple[str | None, ...]) -> None:
    with pytest.raises(NotFound) as raised:
        chosen("linux/amd64", *offered)
    assert "there is no image for linux/amd64, only for " in str(raised.value)
    named = [text for text in offered if text is not None and text != "unknown/unknown"]
    assert all(text in str(raised.value) for text in named)
    assert "unknown" not in str(raised.value)


def test_a_note_of_the_build_is_no_image() -> None:
    note = Descriptor(
        media_type=OCI_MANIFEST,
        digest=f"sha256:{'0' * 64}",
        size=1,
        platform=exactly("linux/amd64"),
        annotations={"vnd.docker.reference.type": "attestation-manifest"},
    )
    with pytest.raises(NotFound):
        platforms.choose(Index(schema_version=2, manifests=(note,)), platforms.parse("linux/amd64"))


def test_a_configuration_says_for_which_machine_its_image_is() -> None:
    config = ImageConfig(
        architecture="arm", os="linux", variant="v6", rootfs=RootFs(type="layers", diff_ids=())
    )
    assert platforms.text(platforms.of(config)) == "linux/arm/v6"
    assert platforms.fits(config, platforms.parse("linux/arm/v7"))
    assert not platforms.fits(config, platforms.parse("linux/arm/v5"))
