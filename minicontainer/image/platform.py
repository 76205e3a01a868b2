"""Platforms: which of an index's images fits a machine.

A machine runs programs of its own variant and of the ones before it: arm v7 also v6 and v5, arm64 also 32-bit
arm, amd64 also 386. The images are ranked in that order, as containerd does.

Implements image-spec image-index.md ("platform"); github.com/containerd/platforms (Parse, Normalize, Only).
"""

from __future__ import annotations

import platform as machine

from minicontainer.errors import NotFound, SpecError
from minicontainer.oci.image import Descriptor, ImageConfig, Index, Platform

# What uname and people say, in Go's words.
ARCHITECTURES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "i386": ("386", ""), "i686": ("386", ""),
    "aarch64": ("arm64", ""), "armhf": ("arm", "v7"), "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"), "armv5l": ("arm", "v5"),
}  # fmt: skip
KNOWN = {"amd64", "386", "arm", "arm64", "riscv64", "ppc64le", "ppc64", "s390x", "loong64"}
KNOWN |= {"mips", "mipsle", "mips64", "mips64le", "wasm"}
SYSTEMS = {"linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "wasip1"}
UNSAID = {"arm": "v7", "arm64": "v8", "amd64": "v1"}  # the variant that is meant where none is named
ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
ATTESTATION = "vnd.docker.reference.type"


def parse(written: str) -> Platform:
    """Read `os/architecture[/variant]`, or one of the first two alone. Raises SpecError."""
    parts = [part.lower() for part in written.split("/")]
    if len(parts) > 3 or not all(part and not part.strip(ALLOWED) for part in parts):  # noqa: PLR2004
        raise SpecError("", f"{written!r} is not a platform, as linux/arm64 or linux/arm/v7")
    if len(parts) == 1:
        return _from_one_word(parts[0])
    system = "darwin" if parts[0] == "macos" else parts[0]
    return _normal(system, parts[1], parts[2] if parts[2:] else "")


def _from_one_word(word: str) -> Platform:
    if word in SYSTEMS or word == "macos":
        here = host()
        return Platform(os=word, architecture=here.architecture, variant=here.variant)
    found = _normal("linux", word, "")
    if found.architecture not in KNOWN:
        raise SpecError("", f"{word!r} is neither an operating system nor an architecture that we know")
    return found


def _normal(system: str, architecture: str, variant: str) -> Platform:
    architecture, usual = ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or usual
    if variant.isdigit():
        variant = f"v{variant}"
    if architecture in ("amd64", "arm64") and variant == UNSAID[architecture]:
        variant = ""
    if architecture == "arm" and not variant:
        variant = UNSAID["arm"]
    return Platform(os=system, architecture=architecture, variant=variant)


def host() -> Platform:
    """Describe the machine that this is."""
    return _normal("linux", machine.machine(), "")


def text(platform: Platform) -> str:
    """Write a platform as `parse` reads it."""
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))


def of(config: ImageConfig) -> Platform:
    """Say what an image is for, by its configuration."""
    return _normal(config.os.lower(), config.architecture.lower(), (config.variant or "").lower())


def fits(config: ImageConfig, wanted: Platform) -> bool:
    """Tell whether an image's programs run where we want them to."""
    return rank(of(config), wanted) is not None


def choose(index: Index, wanted: Platform) -> Descriptor:
    """Choose the image that fits best; of two that fit as well, the first. Raises NotFound."""
    images = [entry for entry in index.manifests if not is_attestation(entry)]
    ranked = [(rank(entry.platform, wanted), entry) for entry in images if entry.platform is not None]
    fitting = [(place, entry) for place, entry in ranked if place is not None]
    if fitting:
        return min(fitting, key=lambda found: found[0])[1]
    unsaid = [entry for entry in images if entry.platform is None]
    if len(unsaid) == 1:  # nothing says what it is for: its configuration does
        return unsaid[0]
    there = sorted({text(entry.platform) for entry in images if entry.platform is not None})
    raise NotFound(
        f"there is no image for {text(wanted)}, only for {', '.join(there) or 'none that is named'}",
        hint="--platform chooses one of these",
    )


def is_attestation(entry: Descriptor) -> bool:
    """Tell whether an entry is no image: BuildKit hangs its notes of the build into the same index."""
    if entry.platform is not None and "unknown" in (entry.platform.os, entry.platform.architecture):
        return True
    return ATTESTATION in (entry.annotations or {})


def rank(offered: Platform | None, wanted: Platform) -> int | None:
    """Say how well an image fits, 0 being best; None if it does not run there at all."""
    if offered is None or offered.os.lower() != wanted.os:
        return None
    normal = _normal(wanted.os, offered.architecture.lower(), offered.variant.lower())
    order = fitting_machines(wanted)
    pair = (normal.architecture, normal.variant)
    return order.index(pair) if pair in order else None


def fitting_machines(wanted: Platform) -> list[tuple[str, str]]:
    """List the pairs of architecture and variant whose programs run there, the best first."""
    exact = _normal(wanted.os, wanted.architecture, wanted.variant)
    order = _variants_down(exact.architecture, exact.variant)
    if exact.architecture == "amd64":
        order.append(("386", ""))
    if exact.architecture == "arm64":
        order += _variants_down("arm", "v8")
    return order


def _variants_down(architecture: str, variant: str) -> list[tuple[str, str]]:
    number = (variant or UNSAID.get(architecture, "")).removeprefix("v")
    lowest = {"arm": 5, "arm64": 8, "amd64": 1}.get(architecture)
    if lowest is None or not number.isdigit():
        return [(architecture, variant)]
    below = [_normal("", architecture, f"v{step}") for step in range(int(number), lowest - 1, -1)]
    return [(entry.architecture, entry.variant) for entry in below]
