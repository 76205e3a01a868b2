"""One answer of a registry: status and headers at once, the body only as far as it is asked for.

The bytes are those of the wire: a digest is one of them, whatever Content-Encoding says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError

from minicontainer.image.registry.addresses import origin
from minicontainer.image.registry.errors import ContentError, TransportError
from minicontainer.image.registry.network_errors import translated

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse
    from urllib3._collections import HTTPHeaderDict

PIECE = 256 << 10  # the most that one call reads: what has come, it does not wait for more
UNREAD = 64 << 10  # more is not read just to keep a connection


class Answer:
    """What came back for one request; a context manager, because it holds a connection."""

    def __init__(self, raw: BaseHTTPResponse, url: str) -> None:
        self._raw = raw
        self.url = url
        self.status = raw.status
        self.headers: HTTPHeaderDict = raw.headers

    @property
    def host(self) -> str:
        """Who answered, for messages."""
        return str(origin(self.url))

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises TransportError when it ends too early or comes too slowly."""
        try:
            while piece := self._raw.read1(PIECE, decode_content=False):
                yield piece
        except HTTPError as problem:
            raise translated(problem, self.url) from problem

    def read(self, limit: int) -> bytes:
        """Read the whole body. Raises ContentError when it is longer than `limit` bytes."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) > limit:
                raise ContentError(f"{self.host} sent more than {limit} bytes where that is the most")
        return bytes(body)

    def start(self, limit: int) -> bytes:
        """Read the first `limit` bytes of the body, or what comes of it."""
        body = bytearray()
        with contextlib.suppress(TransportError):
            for piece in self.pieces():
                body += piece
                if len(body) >= limit:
                    break
        return bytes(body[:limit])

    def close(self) -> None:
        """Give the connection back if little or nothing of the body is still to come, else end it."""
        left = self._raw.length_remaining
        if left is not None and left <= UNREAD:
            self._raw.drain_conn()
            self._raw.release_conn()
        else:
            self._raw.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
