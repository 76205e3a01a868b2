"""Requests over urllib3: one request, one answer; no redirect is followed and nothing is tried twice here.

Connections are kept per server and per what we believe of it (tls.Trust). A server must send 1 KiB within the
time for reading, headers and chunk sizes included: one byte a minute is silence, too.

See urllib3's documentation, "Advanced Usage"; curl(1), "ENVIRONMENT" (HTTPS_PROXY, NO_PROXY).
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from minicontainer import __version__
from minicontainer.image.configuration import Network
from minicontainer.image.registry import tls
from minicontainer.image.registry.addresses import Origin, is_loopback, origin
from minicontainer.image.registry.answer import Answer
from minicontainer.image.registry.network_errors import translated

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

AGENT = f"minicontainer/{__version__}"
LEAST = 1 << 10  # bytes that must come within the time for reading
LONGEST_HEAD = 256 << 10  # bytes of all headers, those of interim answers (1xx) included
CONNECTIONS = 8  # kept per server
BLOCK = 64 << 10  # bytes that are sent at once


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. A body can be read again, for when it has to be sent again."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], Iterable[bytes]] | None = None
    length: int = 0  # of the body
    secret: bool = False  # the body holds a password: it is for this server alone


class Transport:
    """The connections of one client to all servers. Makes none before the first request."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.reopen()

    def reopen(self) -> None:
        """Forget all connections: in a child after fork(2) they are those of the parent."""
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, tls.Trust, str], urllib3.PoolManager] = {}

    def send(self, request: Request, trust: tls.Trust) -> Answer:
        """Send a request and wait for the head of its answer. Raises TransportError, UnsafeError."""
        server = origin(request.url)
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity", **request.headers}
        if request.body:
            headers["Content-Length"] = str(request.length)
        try:
            raw = self._pool(server, trust).urlopen(
                request.method,
                request.url,
                body=request.body() if request.body else None,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except HTTPError as problem:
            raise translated(problem, request.url) from problem
        return Answer(raw, request.url)

    def _pool(self, server: Origin, trust: tls.Trust) -> urllib3.PoolManager:
        key = server.scheme, trust, proxy_for(server)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self._new_pool(*key)
            return self._pools[key]

    def _new_pool(self, scheme: str, trust: tls.Trust, proxy: str) -> urllib3.PoolManager:
        if trust.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the user has said so
        settings: dict[str, Any] = {
            "ssl_context": tls.context(trust) if scheme == "https" else None,  # it takes 20 ms
            "timeout": urllib3.Timeout(
                connect=self._network.connect_timeout, read=self._network.read_timeout
            ),
            "maxsize": CONNECTIONS,
            "blocksize": BLOCK,
        }
        if not proxy:
            made = urllib3.PoolManager(**settings)
        else:
            secret = urllib3.util.parse_url(proxy).auth
            proxy_headers = urllib3.make_headers(proxy_basic_auth=secret) if secret else None
            made = urllib3.ProxyManager(proxy, proxy_headers=proxy_headers, **settings)
        made.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return made


def proxy_for(server: Origin) -> str:
    """Name the proxy that the environment wants for a server, "" for none; this machine needs none."""
    proxies = getproxies_environment()
    if is_loopback(server.host) or proxy_bypass_environment(f"{server.host}:{server.port}", proxies):
        return ""
    chosen = proxies.get(server.scheme, "") or proxies.get("all", "")
    return chosen if "://" in chosen or not chosen else f"http://{chosen}"


class _PatientFile(io.RawIOBase):
    """A socket's file that gives up when less than LEAST bytes come in a time; our pauses do not count."""

    def __init__(self, sock: socket.socket, file: io.RawIOBase) -> None:
        self._socket, self._file = sock, file
        self._time: float | None = sock.gettimeout()
        self._left = self._time
        self._came = 0
        self.allowance: int | None = None  # bytes that may still come; None: any number

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self._left is not None:
            if self._left <= 0:
                raise TimeoutError("it sends too slowly")
            self._socket.settimeout(self._left)
        start = time.monotonic()
        count = self._file.readinto(buffer)
        self._account(count or 0, time.monotonic() - start)
        return count

    def _account(self, count: int, took: float) -> None:
        self._came += count
        if self._came >= LEAST:
            self._came, self._left = 0, self._time
        elif self._left is not None:
            self._left -= took
        if self.allowance is not None:
            self.allowance -= count
            if self.allowance < 0:
                raise http.client.HTTPException("the headers are too long")

    def close(self) -> None:
        self._file.close()
        super().close()


class _PatientResponse(http.client.HTTPResponse):
    """An answer read through a patient file, and whose head has an end."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._patient = _PatientFile(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._patient)

    def begin(self) -> None:
        self._patient.allowance = LONGEST_HEAD
        super().begin()
        self._patient.allowance = None


class _HttpConnection(HTTPConnection):
    response_class = _PatientResponse


class _HttpsConnection(HTTPSConnection):
    response_class = _PatientResponse


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
