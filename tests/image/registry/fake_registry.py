"""A registry of a few lines that behaves, until a test says for which requests it does not.

registry.when("GET", "/blobs/", lambda exchange: exchange.reply(503))
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import uuid
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from minicontainer.oci.digest import digest_of
from minicontainer.oci.image import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor
from tests.image.registry.web_server import Exchange, WebServer

Behaviour = Callable[[Exchange], None]


class FakeRegistry(WebServer):
    """What a client needs of distribution-spec."""

    def __init__(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(host, tls)
        self.answer = self._answer
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}  # by tag and by digest
        self.uploads: dict[str, bytes] = {}
        self.wanted = ""  # the Authorization without which nothing is answered
        self.challenge = ""  # what is said then
        self._behaviours: list[tuple[str, str, Behaviour]] = []

    # --- what tests say -----------------------------------------------------------------------------

    def when(self, method: str, part: str, behaviour: Behaviour, times: int = -1) -> None:
        """Behave so for requests with a part in their target; for the first `times` of them, or all."""
        left = [times]

        def limited(exchange: Exchange) -> None:
            left[0] -= 1
            if left[0] == -1:
                self._behaviours.remove(entry)
                self._answer(exchange)
            else:
                behaviour(exchange)

        entry = (method, part, limited if times >= 0 else behaviour)
        self._behaviours.append(entry)

    def add_blob(self, data: bytes, media_type: str = OCI_LAYER) -> Descriptor:
        digest = digest_of(data)
        self.blobs[digest] = data
        return Descriptor(media_type=media_type, digest=digest, size=len(data))

    def add_manifest(self, tag: str, data: bytes, media_type: str = OCI_MANIFEST) -> str:
        digest = digest_of(data)
        self.manifests[tag] = self.manifests[digest] = (media_type, data)
        return digest

    def add_image(self, tag: str, layer: bytes) -> str:
        """Make a whole image, as far as a registry looks; gives the manifest's digest."""
        config, blob = self.add_blob(b"{}", OCI_CONFIG), self.add_blob(layer)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": describe(config),
            "layers": [describe(blob)],
        }
        return self.add_manifest(tag, json.dumps(manifest).encode())

    def want_password(self, user: str, password: str) -> None:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.wanted, self.challenge = f"Basic {pair}", 'Basic realm="fake"'

    def want_token(self, token: str, realm: str, **parameters: str) -> None:
        values = "".join(f',{name}="{value}"' for name, value in parameters.items())
        self.wanted, self.challenge = f"Bearer {token}", f'Bearer realm="{realm}"{values}'

    # --- what a registry does -----------------------------------------------------------------------

    def _answer(self, exchange: Exchange) -> None:
        for method, part, behaviour in self._behaviours:
            if method in {"", exchange.seen.method} and part in exchange.seen.target:
                behaviour(exchange)
                return
        self.serve(exchange)

    def serve(self, exchange: Exchange) -> None:
        """Answer as a registry should."""
        if self.wanted and exchange.seen.headers.get("authorization") != self.wanted:
            exchange.reply(401, error("UNAUTHORIZED", "who are you"), WWW_Authenticate=self.challenge)
            return
        parts = urlsplit(exchange.seen.target)
        for pattern, serve in self._routes():
            if found := re.fullmatch(pattern, parts.path):
                serve(exchange, *found.groups())
                return
        exchange.reply(404, error("UNSUPPORTED", "no such thing"))

    def _routes(self) -> list[tuple[str, Callable[..., None]]]:
        return [
            (r"/v2/", lambda exchange: exchange.reply(200, b"{}")),
            (r"/v2/.+/manifests/([^/]+)", self._manifest),
            (r"/v2/.+/blobs/uploads/", self._begin),
            (r"/v2/.+/blobs/uploads/([^/]+)", self._upload),
            (r"/v2/.+/blobs/([^/]+)", self._blob),
            (r"/v2/(.+)/tags/list", self._tags),
        ]

    def _manifest(self, exchange: Exchange, name: str) -> None:
        if exchange.seen.method == "PUT":
            digest = self.add_manifest(name, exchange.seen.body, exchange.seen.headers["content-type"])
            exchange.reply(201, Docker_Content_Digest=digest)
        elif name in self.manifests:
            media_type, data = self.manifests[name]
            exchange.reply(200, data, Content_Type=media_type, Docker_Content_Digest=digest_of(data))
        else:
            exchange.reply(404, error("MANIFEST_UNKNOWN", "manifest unknown"))

    def _blob(self, exchange: Exchange, digest: str) -> None:
        if digest not in self.blobs:
            exchange.reply(404, error("BLOB_UNKNOWN", "blob unknown to registry"))
            return
        data = self.blobs[digest]
        if found := re.fullmatch(r"bytes=(\d+)-", exchange.seen.headers.get("range", "")):
            start = int(found[1])
            exchange.reply(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            exchange.reply(200, data)

    def _begin(self, exchange: Exchange) -> None:
        query = parse_qs(urlsplit(exchange.seen.target).query)
        if query.get("mount", [""])[0] in self.blobs:
            exchange.reply(201, Location="/v2/mounted")
            return
        number = uuid.uuid4().hex
        self.uploads[number] = b""
        exchange.reply(202, Location=f"{exchange.seen.path}{number}?state=1")

    def _upload(self, exchange: Exchange, number: str) -> None:
        seen = exchange.seen
        if number not in self.uploads:
            exchange.reply(404, error("BLOB_UPLOAD_UNKNOWN", "upload unknown"))
        elif seen.method == "GET":
            exchange.reply(204, Location=seen.target, Range=f"0-{max(0, len(self.uploads[number]) - 1)}")
        elif seen.method == "PATCH":
            self._patch(exchange, number)
        elif seen.method == "PUT":
            self._put(exchange, number)
        else:
            del self.uploads[number]
            exchange.reply(204)

    def _patch(self, exchange: Exchange, number: str) -> None:
        seen, has = exchange.seen, len(self.uploads[number])
        start = seen.headers.get("content-range", "0-").partition("-")[0]
        if int(start) != has:
            exchange.reply(416, Range=f"0-{max(0, has - 1)}")
            return
        self.uploads[number] += seen.body
        exchange.reply(202, Location=seen.target, Range=f"0-{len(self.uploads[number]) - 1}")

    def _put(self, exchange: Exchange, number: str) -> None:
        data = self.uploads.pop(number) + exchange.seen.body
        wanted = parse_qs(urlsplit(exchange.seen.target).query)["digest"][0]
        if digest_of(data) != wanted:
            exchange.reply(400, error("DIGEST_INVALID", "provided digest did not match uploaded content"))
            return
        self.blobs[wanted] = data
        exchange.reply(201, Docker_Content_Digest=wanted)

    def _tags(self, exchange: Exchange, name: str) -> None:
        tags = sorted(tag for tag in self.manifests if ":" not in tag)
        exchange.reply(200, json.dumps({"name": name, "tags": tags}).encode())


def describe(descriptor: Descriptor) -> dict[str, object]:
    """Write a descriptor as a manifest has it."""
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


def error(code: str, message: str) -> bytes:
    """Write an error as the specification has it."""
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()
