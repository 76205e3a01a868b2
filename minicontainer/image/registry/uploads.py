"""Uploads: a blob in one request or in two, and what to do when the connection breaks in between.

    POST uploads/ --202 Location--> PATCH Location (all bytes) --202 Location--> PUT Location?digest=D --201
                                    PUT Location?digest=D (all bytes) --201      (a small one)
    after a cut:                    GET Location --204 Range: 0-n--> PATCH from n+1 on

Each answer may name another location for the next request; one on another host sees no credentials.

See distribution-spec "Pushing a blob monolithically", "Pushing a blob in chunks", "Mounting a blob".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlencode

from minicontainer.errors import Error
from minicontainer.image.registry import blobs
from minicontainer.image.registry.errors import ContentError, RegistryError, failure, plain
from minicontainer.image.registry.manifests import pull_scope, push_scope
from minicontainer.image.registry.patience import Tries
from minicontainer.image.registry.transport import BLOCK, Request

if TYPE_CHECKING:
    from minicontainer.image.reference import Reference
    from minicontainer.image.registry.answer import Answer
    from minicontainer.image.registry.session import Session
    from minicontainer.oci.image import Descriptor

CREATED, ACCEPTED, NO_CONTENT, WRONG_RANGE = 201, 202, 204, 416
SMALL = 1 << 20  # bytes that are sent in one request
RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")


def mount(session: Session, reference: Reference, digest: str, source: str) -> bool:
    """Have the registry take a blob from another repository; tells whether it did. Raises RegistryError."""
    query = urlencode({"mount": digest, "from": source})
    request = Request("POST", f"/v2/{reference.path}/blobs/uploads/?{query}")
    scopes, what = [push_scope(reference.path), pull_scope(source)], f"the blob {digest}"
    with session.send(request, scopes, what) as answer:
        if answer.status == ACCEPTED:  # it did not, and has begun an upload instead
            location = _location(session, answer)
            session.send(Request("DELETE", location), scopes[:1], what).close()
        return answer.status == CREATED


class Upload:
    """One blob on its way; `open_at` opens it at an offset, `sent` hears how many bytes have gone."""

    def __init__(
        self,
        session: Session,
        reference: Reference,
        blob: Descriptor,
        open_at: Callable[[int], BinaryIO],
        sent: Callable[[int], None],
    ) -> None:
        self._session, self._reference, self._blob = session, reference, blob
        self._open_at, self._sent = open_at, sent
        self._scopes = [push_scope(reference.path)]
        self._what = f"the blob {blob.digest}"
        self._location = ""
        self._offset = 0  # bytes that the registry has, as far as we know
        self._is_done = False

    def run(self) -> None:
        """Upload. Raises RegistryError."""
        self._begin()
        tries = Tries(self._session.patience)
        while not self._is_done:
            try:
                self._go_on()
            except RegistryError as problem:
                tries.failed(problem, self._offset)
                self._find_out()

    def _begin(self) -> None:
        request = Request("POST", f"/v2/{self._reference.path}/blobs/uploads/")
        with self._session.ask(request, self._scopes, self._what) as answer:
            self._location = _location(self._session, answer)
        self._offset = 0

    def _go_on(self) -> None:
        """Send what is missing, then the digest. Where it fails for now, what arrived must be found out."""
        if self._offset == 0 and self._blob.size <= SMALL:
            self._finish(self._rest)
            return
        while self._offset < self._blob.size:
            self._send_rest()
        self._finish()

    def _send_rest(self) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        if self._offset:
            headers["Content-Range"] = f"{self._offset}-{self._blob.size - 1}"
        length = self._blob.size - self._offset
        request = Request("PATCH", self._location, headers, self._rest, length)
        with self._session.attempt(request, self._scopes, self._what) as answer:
            if answer.status == WRONG_RANGE:
                raise ContentError(f"{self._what}: {answer.host} has another part of it", passing=True)
            if answer.status not in {ACCEPTED, NO_CONTENT}:  # quay.io answers 204
                raise failure(answer, self._what, self._session.endpoint.name)
            self._location = _location(self._session, answer)
            has = _end(answer) if "Range" in answer.headers else self._blob.size
        if has <= self._offset or has > self._blob.size:
            raise ContentError(
                f"{self._what}: {answer.host} says that it has {has} bytes of {self._blob.size}"
            )
        self._offset = has

    def _finish(self, body: Callable[[], Iterator[bytes]] | None = None) -> None:
        separator = "&" if "?" in self._location else "?"
        url = f"{self._location}{separator}{urlencode({'digest': self._blob.digest})}"
        headers = {"Content-Type": "application/octet-stream"}
        request = Request("PUT", url, headers, body, self._blob.size if body else 0)
        with self._session.attempt(request, self._scopes, self._what) as answer:
            if answer.status not in {CREATED, NO_CONTENT}:
                raise failure(answer, self._what, self._session.endpoint.name)
            claimed = answer.headers.get("Docker-Content-Digest", self._blob.digest)
        if claimed != self._blob.digest:
            raise ContentError(f"{self._what}: {answer.host} has stored {plain(claimed)}")
        self._is_done = True

    def _find_out(self) -> None:
        """Ask how far an upload came whose connection broke; where the registry does not know, begin anew."""
        with self._session.send(Request("GET", self._location), self._scopes, self._what) as answer:
            has = _end(answer) if answer.status == NO_CONTENT else 0
            if 1 < has <= self._blob.size:  # "0-0" is one byte, or none
                self._location = _location(self._session, answer, self._location)
                self._offset = has
                return
        if blobs.exists(self._session, self._reference, self._blob.digest):
            self._is_done = True  # only the last answer was lost
        else:
            self._begin()

    def _rest(self) -> Iterator[bytes]:
        position = self._offset
        with self._open_at(position) as file:
            while position < self._blob.size:
                piece = file.read(min(BLOCK, self._blob.size - position))
                if not piece:
                    raise Error(f"{self._what}: it has only {position} of its {self._blob.size} bytes here")
                yield piece
                position += len(piece)
                self._sent(position)


def _location(session: Session, answer: Answer, known: str = "") -> str:
    """Say where an upload goes on. Raises RegistryError, UnsafeError."""
    place = answer.headers.get("Location", known)
    if not place:
        raise RegistryError(f"{answer.host} does not say where the upload goes on")
    return session.location(answer, place)


def _end(answer: Answer) -> int:
    """Say how many bytes of an upload the registry has."""
    found = RANGE.fullmatch(answer.headers.get("Range", ""))
    return int(found[1]) + 1 if found else 0
