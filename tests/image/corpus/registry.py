"""A registry that serves one image layout as it lies there, right or wrong, and asks nobody for a password.

Implements distribution-spec, "Pulling manifests" and "Pulling blobs", of which a pull needs no more.
"""

from __future__ import annotations

import json
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from minicontainer.oci.image import OCI_MANIFEST
from tests.image.layouts import Layout

PATH = re.compile(r"/v2/(?P<name>[a-z0-9/-]+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: StaticRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = PATH.fullmatch(self.path)
        if self.path == "/v2/":
            self.send(HTTPStatus.OK, b"{}", "application/json")
        elif found is None:
            self.send(HTTPStatus.NOT_FOUND, b"{}", "application/json")
        else:
            self.find(found["kind"], found["reference"])

    do_HEAD = do_GET  # noqa: N815

    def find(self, kind: str, reference: str) -> None:
        """Look a blob up by its digest, or a manifest by whatever tag."""
        layout = self.server.layout
        named = json.loads(layout.index)["manifests"][0]
        digest = reference if ":" in reference else named["digest"]
        data = layout.blobs.get(digest)
        if data is None:
            self.send(HTTPStatus.NOT_FOUND, b"{}", "application/json")
            return
        usual = OCI_MANIFEST if kind == "manifests" else "application/octet-stream"
        self.send(HTTPStatus.OK, data, layout.types.get(digest, usual), digest)

    def send(self, status: HTTPStatus, data: bytes, media_type: str, digest: str = "") -> None:
        """Answer; to HEAD without the content."""
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class StaticRegistry(ThreadingHTTPServer):
    """A registry on a free port of this machine; `layout` may be replaced at any time."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.layout = Layout()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def host(self) -> str:
        """Its name in references."""
        return f"127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up: what they are sent is a reason to."""
