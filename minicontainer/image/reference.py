"""References: the names of images, read as Docker reads them.

    busybox                        docker.io/library/busybox
    school.example:5000/web:2      domain school.example:5000, path web, tag 2
    web:2@sha256:0123...           tag and digest: the digest decides, the tag only tells people what it was

The first component is a domain only if it could not be a folder of Docker Hub: it has a dot, a colon or an
upper-case letter, or is `localhost`.

Implements github.com/distribution/reference (ParseNormalizedNamed); distribution-spec, "Pulling manifests".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from minicontainer.errors import SpecError
from minicontainer.oci.digest import ALGORITHMS, is_digest

DEFAULT_DOMAIN, OLD_DEFAULT_DOMAIN = "docker.io", "index.docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
LONGEST_PATH = 255

# Each repetition begins with what the one before cannot end with, so that no text takes quadratic time.
_LABEL = r"[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
REFERENCE = re.compile(rf"({_DOMAIN})/({_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?")
IDENTIFIER = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """The name of an image: where its registry is, what the repository is called there, and which version."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The repository, with its domain."""
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        return self.name + self._version()

    def familiar(self) -> str:
        """Shorten it to what people write, busybox for docker.io/library/busybox, if that reads the same."""
        for short in (self.path.removeprefix(OFFICIAL), self.path):
            if split_domain(short) == (self.domain, self.path) and not IDENTIFIER.fullmatch(short):
                return short + self._version()
        return str(self)

    def with_default_tag(self) -> Reference:
        """Add the tag `latest` if there is neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def stored_name(self) -> str:
        """Give the name under which the store keeps it: with the digest if it has one, else with the tag."""
        return f"{self.name}@{self.digest}" if self.digest else str(self.with_default_tag())

    def _version(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Read a reference. Raises SpecError, in Docker's words."""
    if IDENTIFIER.fullmatch(text):
        raise SpecError("", f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = split_domain(text)
    path = rest.partition(":")[0]
    if path.lower() != path:
        raise _malformed(f"repository name ({path}) must be lowercase")
    found = REFERENCE.fullmatch(f"{domain}/{rest}")
    if found is None:
        raise _malformed()
    if len(found[2]) > LONGEST_PATH:
        raise _malformed(f"repository name must not be more than {LONGEST_PATH} characters")
    if found[4] is not None:
        check_digest(found[4])
    return Reference(found[1], found[2], found[3] or "", found[4] or "")


def split_domain(text: str) -> tuple[str, str]:
    """Divide a text into the registry's domain and the rest, and fill in what people leave out."""
    domain, slash, rest = text.partition("/")
    if not slash or not is_domain(domain):
        domain, rest = DEFAULT_DOMAIN, text
    elif domain == OLD_DEFAULT_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = OFFICIAL + rest
    return domain, rest


def is_domain(component: str) -> bool:
    """Tell whether the first of several components names a registry."""
    return component == "localhost" or "." in component or ":" in component or component.lower() != component


def check_digest(digest: str) -> None:
    """Refuse what only looks like a digest. Raises SpecError, in Docker's words."""
    if is_digest(digest):
        return
    algorithm, _, digits = digest.partition(":")
    if algorithm not in ALGORITHMS:
        raise _malformed("unsupported digest algorithm")
    length = {"sha256": 64, "sha512": 128}[algorithm]
    raise _malformed(f"invalid checksum digest {'format' if len(digits) == length else 'length'}")


def _malformed(why: str = "") -> SpecError:
    return SpecError("", f"invalid reference format: {why}" if why else "invalid reference format")
