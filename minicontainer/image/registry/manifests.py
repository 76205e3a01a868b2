"""Manifests: what a tag stands for, and the document that a digest names.

What a registry says of a document (type, digest, length) is a claim; the document's own digest is computed.

See distribution-spec "Pulling manifests", "Pushing Manifests".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicontainer.errors import Unsupported
from minicontainer.image.registry.errors import ContentError, failure, plain
from minicontainer.image.registry.transport import Request
from minicontainer.oci.digest import digest_of, hasher, is_digest
from minicontainer.oci.image import DOCKER_SCHEMA_1, INDEXES, MANIFESTS, Descriptor

if TYPE_CHECKING:
    from minicontainer.image.reference import Reference
    from minicontainer.image.registry.answer import Answer
    from minicontainer.image.registry.session import Session

LONGEST = 4 << 20  # bytes of a manifest
ACCEPT = ", ".join((*MANIFESTS, *INDEXES))
OK, UNAUTHORIZED = 200, 401


def pull_scope(path: str) -> str:
    """Name the right to read a repository."""
    return f"repository:{path}:pull"


def push_scope(path: str) -> str:
    """Name the right to write to a repository."""
    return f"repository:{path}:pull,push"


def place(path: str, wanted: str) -> str:
    """Give the path of a manifest, named by tag or digest."""
    return f"/v2/{path}/manifests/{wanted}"


def resolve(session: Session, reference: Reference) -> Descriptor:
    """Ask what a reference stands for, and fetch it only where that is not said. Raises RegistryError."""
    wanted = reference.digest or reference.with_default_tag().tag
    request = Request("HEAD", place(reference.path, wanted), {"Accept": ACCEPT})
    with session.send(request, [pull_scope(reference.path)], str(reference)) as answer:
        if answer.status == UNAUTHORIZED:  # a wrong password is sent once, not twice
            raise failure(answer, str(reference), session.endpoint.name)
        found = _claimed(answer) if answer.status == OK else None
    if found is None:
        return fetch(session, reference, wanted)[0]  # its body tells what is wrong, too
    if reference.digest and found.digest != reference.digest:
        raise ContentError(f"{reference}: {answer.host} says that its digest is {found.digest}")
    return found


def fetch(session: Session, reference: Reference, wanted: str) -> tuple[Descriptor, bytes]:
    """Fetch the manifest that a tag or a digest names. Raises RegistryError, Unsupported (schema 1)."""
    request = Request("GET", place(reference.path, wanted), {"Accept": ACCEPT})
    what = f"{reference.name}{'@' if is_digest(wanted) else ':'}{wanted}"
    answer, data = session.document(request, [pull_scope(reference.path)], what, LONGEST)
    media_type = _media_type(answer)
    claimed = answer.headers.get("Docker-Content-Digest", "")
    digest = wanted if is_digest(wanted) else claimed or digest_of(data)
    if not is_digest(digest) or not _has_digest(data, digest):
        raise ContentError(f"{what}: what {answer.host} sent has not the digest {plain(digest)}")
    return Descriptor(media_type=media_type, digest=digest, size=len(data)), data


def push(session: Session, reference: Reference, media_type: str, data: bytes, wanted: str) -> str:
    """Give the registry a manifest under a tag or its digest; returns its digest. Raises RegistryError."""
    request = Request(
        "PUT", place(reference.path, wanted), {"Content-Type": media_type}, lambda: [data], len(data)
    )
    with session.ask(request, [push_scope(reference.path)], f"{reference.name}:{wanted}") as answer:
        claimed = answer.headers.get("Docker-Content-Digest", "")
    digest = digest_of(data)
    if claimed and claimed != digest:
        raise ContentError(f"{reference.name}: {answer.host} has made {plain(claimed)} of {digest}")
    return digest


def _claimed(answer: Answer) -> Descriptor | None:
    """Make a descriptor of an answer without a body, None if it does not say enough."""
    digest, length = answer.headers.get("Docker-Content-Digest", ""), answer.headers.get("Content-Length", "")
    if not is_digest(digest) or not (length.isascii() and length.isdigit()) or int(length[:19]) == 0:
        return None
    if int(length[:19]) > LONGEST:
        raise ContentError(f"{answer.host} names a manifest of {length} bytes; {LONGEST} is the most")
    return Descriptor(media_type=_media_type(answer), digest=digest, size=int(length))


def _media_type(answer: Answer) -> str:
    media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type in DOCKER_SCHEMA_1:
        raise Unsupported(
            f"{answer.host} has this image only as a Docker manifest of schema 1, a form given up in 2016",
            "push the image again with a newer docker, or podman",
        )
    return plain(media_type)


def _has_digest(data: bytes, digest: str) -> bool:
    made = hasher(digest)
    made.update(data)
    return digest.endswith(f":{made.hexdigest()}")
