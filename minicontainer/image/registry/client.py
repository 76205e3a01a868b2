"""What the rest of minicontainer asks of registries; everything here works on one repository at a time.

    reading     the mirrors of the registry, in their order, then the registry itself
    writing     the registry itself

See distribution-spec "Endpoints" for all requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import urlsplit

from minicontainer.errors import Error
from minicontainer.image.registry import blobs, listing, login, manifests, uploads
from minicontainer.image.registry.addresses import origin
from minicontainer.image.registry.credentials import Credential, Credentials
from minicontainer.image.registry.errors import Missing
from minicontainer.image.registry.patience import Patience
from minicontainer.image.registry.session import Endpoint, Session
from minicontainer.image.registry.tls import Trust, trust_of
from minicontainer.image.registry.transport import Transport

if TYPE_CHECKING:
    from minicontainer.image.configuration import Configuration
    from minicontainer.image.reference import Reference
    from minicontainer.oci.image import Descriptor

HUB_SERVERS = {"docker.io": "registry-1.docker.io"}
Result = TypeVar("Result")


class RegistryClient:
    """The talk with all registries. Opens nothing before it is asked for something.

    `tell` hears what does not stop us: that a mirror failed.
    """

    def __init__(
        self,
        configuration: Configuration,
        credentials: Credentials,
        tell: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._configuration, self._credentials, self._tell = configuration, credentials, tell
        self._transport = Transport(configuration.network)
        self._patience = Patience(configuration.network)
        self._sessions: dict[str, Session] = {}

    def reopen(self) -> None:
        """Forget all connections; for a child after fork(2), whose parent goes on using them."""
        self._transport.reopen()
        for session in self._sessions.values():
            session.reopen()

    # --- reading -----------------------------------------------------------------------------------

    def resolve(self, reference: Reference) -> Descriptor:
        """Ask what a reference stands for now. Raises RegistryError, Missing (also a NotFound)."""
        return self._read(reference, lambda session: manifests.resolve(session, reference))

    def manifest(self, reference: Reference, digest: str = "") -> tuple[Descriptor, bytes]:
        """Fetch a manifest by `digest`, else by what the reference names. Raises RegistryError."""
        wanted = digest or reference.digest or reference.with_default_tag().tag
        return self._read(reference, lambda session: manifests.fetch(session, reference, wanted))

    def blob(self, reference: Reference, wanted: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Yield a blob's bytes from an offset on, through cuts and busy servers. Raises RegistryError.

        Their number is as the descriptor says; their digest is the caller's to check.
        """
        sources = self._sources(reference.domain)
        for session in sources[:-1]:
            try:
                for piece in blobs.fetch(session, reference, wanted, offset):
                    yield piece
                    offset += len(piece)
                return
            except Error as problem:
                self._tell_of(session, problem)
        try:
            for piece in blobs.fetch(sources[-1], reference, wanted, offset):
                yield piece
                offset += len(piece)
        except Missing:
            if not wanted.urls:
                raise
            yield from blobs.fetch_from_outside(sources[-1], self._outside, wanted, offset)

    def tags(self, reference: Reference) -> Iterator[str]:
        """Yield the tags of a repository, page by page. Raises RegistryError."""
        return listing.tags(self._session(reference.domain), reference)

    def referrers(self, reference: Reference, digest: str, artifact_type: str = "") -> Iterator[Descriptor]:
        """Yield what refers to a manifest: signatures, lists of contents. Raises RegistryError."""
        return listing.referrers(self._session(reference.domain), reference, digest, artifact_type)

    # --- writing -----------------------------------------------------------------------------------

    def has_blob(self, reference: Reference, digest: str) -> bool:
        """Tell whether the repository has a blob already. Raises RegistryError."""
        return blobs.exists(self._session(reference.domain), reference, digest)

    def mount_blob(self, reference: Reference, digest: str, source_path: str) -> bool:
        """Have the registry take a blob from another of its repositories; tells whether it did."""
        return uploads.mount(self._session(reference.domain), reference, digest, source_path)

    def push_blob(
        self,
        reference: Reference,
        blob: Descriptor,
        open_at: Callable[[int], BinaryIO],
        sent: Callable[[int], None],
    ) -> None:
        """Upload a blob, read from any offset by `open_at`; `sent` hears the bytes sent so far."""
        uploads.Upload(self._session(reference.domain), reference, blob, open_at, sent).run()

    def push_manifest(self, reference: Reference, media_type: str, data: bytes, tag_or_digest: str) -> str:
        """Give a manifest a name, after all that it names; returns its digest. Raises RegistryError."""
        return manifests.push(self._session(reference.domain), reference, media_type, data, tag_or_digest)

    # --- who we are --------------------------------------------------------------------------------

    def ping(self, host: str) -> None:
        """See that a registry is there and takes us as we are. Raises RegistryError."""
        login.ping(self._session(host))

    def login(self, host: str, user: str, password: str) -> str:
        """Try a name and a password and keep what the registry takes; says where. Raises RegistryError."""
        credential = Credential(user, password)
        session = self._new_session(self._endpoint(host), lambda: credential)
        session.keeps_identity = True
        return self._credentials.store(host, login.proven(session, credential))

    # --- where to ask ------------------------------------------------------------------------------

    def _read(self, reference: Reference, ask: Callable[[Session], Result]) -> Result:
        """Ask the mirrors, then the registry; the first that can answer does."""
        sources = self._sources(reference.domain)
        for session in sources[:-1]:
            try:
                return ask(session)
            except Error as problem:
                self._tell_of(session, problem)
        return ask(sources[-1])

    def _tell_of(self, mirror: Session, problem: Error) -> None:
        self._tell(f"the mirror {mirror.endpoint.name} does not help: {problem}")

    def _sources(self, domain: str) -> list[Session]:
        mirrors = self._configuration.registry(domain).mirrors
        return [*(self._mirror(url) for url in mirrors), self._session(domain)]

    def _mirror(self, url: str) -> Session:
        if url not in self._sessions:
            host = urlsplit(url).netloc
            endpoint = Endpoint(host, url.rstrip("/"), trust_of(host, self._configuration.registry(host)))
            self._sessions[url] = self._new_session(endpoint, lambda: self._credentials.find(host))
        return self._sessions[url]

    def _session(self, domain: str) -> Session:
        if domain not in self._sessions:
            self._sessions[domain] = self._new_session(
                self._endpoint(domain), lambda: self._credentials.find(domain)
            )
        return self._sessions[domain]

    def _endpoint(self, domain: str) -> Endpoint:
        server = HUB_SERVERS.get(domain, domain)
        return Endpoint(domain, f"https://{server}", trust_of(domain, self._configuration.registry(domain)))

    def _outside(self, url: str) -> Session:
        """Make a session for a server that is no registry and never sees a credential."""
        server = origin(url)
        return self._new_session(Endpoint(str(server), f"{server.scheme}://{server}", Trust()), lambda: None)

    def _new_session(self, endpoint: Endpoint, find: Callable[[], Credential | None]) -> Session:
        return Session(endpoint, self._transport, self._patience, find)
