"""Lists that come in pages: tags, and referrers. The registry says where the next page is; we say how far.

See distribution-spec "Listing Tags", "Listing Referrers", "Unavailable Referrers API"; RFC 8288 (Link).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from minicontainer.errors import SpecError
from minicontainer.image.documents import decode_manifest
from minicontainer.image.registry.addresses import origin
from minicontainer.image.registry.errors import ContentError, Missing, RegistryError, UnsafeError, plain
from minicontainer.image.registry.manifests import fetch, pull_scope
from minicontainer.image.registry.transport import Request
from minicontainer.oci import json_text
from minicontainer.oci.image import Index

if TYPE_CHECKING:
    from minicontainer.image.reference import Reference
    from minicontainer.image.registry.answer import Answer
    from minicontainer.image.registry.session import Session
    from minicontainer.oci.image import Descriptor

PAGE = 1000  # entries that we ask for
LONGEST_PAGE = 4 << 20  # bytes
MOST_PAGES = 1000
NEXT = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next"?(?:[\s;,]|\Z)')
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def tags(session: Session, reference: Reference) -> Iterator[str]:
    """Yield the tags of a repository. Raises RegistryError."""
    for body in _pages(session, reference, f"/v2/{reference.path}/tags/list?n={PAGE}", "its tags"):
        try:
            found: Any = json_text.loads(body)
            page = msgspec.convert(found["tags"] or [], list[str])
            wrong = [tag for tag in page if not TAG.fullmatch(tag)]
        except (SpecError, LookupError, TypeError, msgspec.ValidationError):
            raise ContentError(f"{reference.name}: the registry sent no list of tags") from None
        if wrong:
            raise ContentError(f"{reference.name}: {plain(wrong[0])!r} cannot be a tag")
        yield from page


def referrers(
    session: Session, reference: Reference, digest: str, artifact_type: str
) -> Iterator[Descriptor]:
    """Yield what refers to a manifest; of all types, or of one. Raises RegistryError."""
    query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
    pages = _pages(session, reference, f"/v2/{reference.path}/referrers/{digest}{query}", "its referrers")
    try:
        for body in pages:
            yield from _of_type(body, artifact_type)
    except Missing:  # an older registry: clients keep a list under a tag
        try:
            body = fetch(session, reference, digest.replace(":", "-"))[1]
        except Missing:
            return
        yield from _of_type(body, artifact_type)


def _of_type(body: bytes, artifact_type: str) -> Iterator[Descriptor]:
    index = decode_manifest(body)
    if not isinstance(index, Index):
        raise ContentError("the registry sent no list of referrers")
    for entry in index.manifests:
        if artifact_type in {"", entry.artifact_type}:
            yield entry


def _pages(session: Session, reference: Reference, url: str, what: str) -> Iterator[bytes]:
    """Yield the bodies of all pages. Raises UnsafeError for a page elsewhere, RegistryError for no end."""
    seen: set[str] = set()
    while url:
        if url in seen or len(seen) == MOST_PAGES:
            raise RegistryError(f"{reference.name}: {what} have no end")
        seen.add(url)
        request = Request("GET", url)
        scopes = [pull_scope(reference.path)]
        answer, body = session.document(request, scopes, f"{reference.name}: {what}", LONGEST_PAGE)
        yield body
        url = _next(session, answer)


def _next(session: Session, answer: Answer) -> str:
    """Find the URL of the next page, "" after the last."""
    found = NEXT.search(answer.headers.get("Link", ""))
    if found is None:
        return ""
    url = session.location(answer, found[1])
    if origin(url) != origin(session.base):
        raise UnsafeError(f"{session.endpoint.name} says that its list goes on at {origin(url)}")
    return url
