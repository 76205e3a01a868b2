"""Blobs: streamed from any offset on, and again from where a connection broke.

    GET blobs/D                     200  all of it
    -- cut after n bytes --
    GET blobs/D, Range: bytes=n-    206  the rest; 200: all of it, and n bytes are passed over

Whoever gets the bytes checks their digest; here their number is kept to what the descriptor says.

See distribution-spec "Pulling blobs"; RFC 9110, 14.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from minicontainer.image.registry.addresses import origin
from minicontainer.image.registry.errors import ContentError, RegistryError, TransportError, failure, plain
from minicontainer.image.registry.manifests import pull_scope, push_scope
from minicontainer.image.registry.patience import Tries
from minicontainer.image.registry.redirects import check_target
from minicontainer.image.registry.transport import Request

if TYPE_CHECKING:
    from minicontainer.image.reference import Reference
    from minicontainer.image.registry.answer import Answer
    from minicontainer.image.registry.session import Session
    from minicontainer.oci.image import Descriptor

OK, PARTIAL = 200, 206
CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


def place(path: str, digest: str) -> str:
    """Give the path of a blob."""
    return f"/v2/{path}/blobs/{digest}"


def fetch(session: Session, reference: Reference, wanted: Descriptor, offset: int) -> Iterator[bytes]:
    """Yield a blob's bytes from an offset on, going on after each cut. Raises RegistryError."""
    return _fetch(session, place(reference.path, wanted.digest), [pull_scope(reference.path)], wanted, offset)


def fetch_from_outside(
    registry: Session, outside: Callable[[str], Session], wanted: Descriptor, offset: int
) -> Iterator[bytes]:
    """Yield a blob's bytes from the first of the descriptor's own `urls` that has it, without credentials.

    `outside` makes a session for the server of a URL. Raises what the last one failed with.
    """
    urls = wanted.urls or ()
    for number, url in enumerate(urls, 1):
        check_target(origin(registry.base), origin(url), registry.endpoint.trust.insecure)
        try:
            for piece in _fetch(outside(url), url, [], wanted, offset):
                yield piece
                offset += len(piece)
            return
        except RegistryError:
            if number == len(urls):
                raise


def _fetch(session: Session, url: str, scopes: list[str], wanted: Descriptor, offset: int) -> Iterator[bytes]:
    what, tries = f"the blob {wanted.digest}", Tries(session.patience, offset)
    while offset < wanted.size:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            with session.attempt(Request("GET", url, headers), scopes, what) as answer:
                if answer.status not in {OK, PARTIAL}:
                    raise failure(answer, what, session.endpoint.name)
                for piece in rest(answer, wanted, offset):
                    yield piece
                    offset += len(piece)
            return
        except RegistryError as problem:
            tries.failed(problem, offset)


def rest(answer: Answer, wanted: Descriptor, offset: int) -> Iterator[bytes]:
    """Yield what an answer has of a blob after `offset`, no less and no more. Raises RegistryError."""
    position = _position(answer, wanted, offset)
    for piece in answer.pieces():
        end = position + len(piece)
        if end > wanted.size:
            raise ContentError(
                f"the blob {wanted.digest}: {answer.host} sends more than its {wanted.size} bytes"
            )
        if end > offset:
            yield piece[max(0, offset - position) :]
        position = end
    if position < wanted.size:
        raise TransportError(
            f"the blob {wanted.digest}: {answer.host} sent {position} of {wanted.size} bytes", passing=True
        )


def _position(answer: Answer, wanted: Descriptor, offset: int) -> int:
    """Say at which byte of the blob an answer begins. Raises RegistryError when that cannot be right."""
    if answer.status == PARTIAL and offset:
        claim = answer.headers.get("Content-Range", "")
        found = CONTENT_RANGE.fullmatch(claim)
        if not found or int(found[1]) != offset or found[3] not in {"*", str(wanted.size)}:
            raise ContentError(
                f"the blob {wanted.digest}: asked for bytes {offset} to {wanted.size}, {answer.host} sends"
                f" {plain(claim) or 'some part'}"
            )
        return offset
    if answer.status != OK:
        raise RegistryError(f"the blob {wanted.digest}: {answer.host} answers {answer.status}")
    length = answer.headers.get("Content-Length", str(wanted.size))
    if length != str(wanted.size):
        raise ContentError(
            f"the blob {wanted.digest}: {answer.host} has {plain(length)} bytes, not {wanted.size}"
        )
    return 0


def exists(session: Session, reference: Reference, digest: str) -> bool:
    """Tell whether the repository has a blob. Raises RegistryError."""
    request = Request("HEAD", place(reference.path, digest))
    with session.send(request, [push_scope(reference.path)], f"the blob {digest}") as answer:
        if answer.status in {401, 403}:
            raise failure(answer, f"the blob {digest}", session.endpoint.name)
        return answer.status == OK
