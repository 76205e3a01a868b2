"""Whom we believe: certificate authorities, our own certificates, and the few hosts that need no proof.

TLS 1.2 or newer, names and dates checked, is what every host gets. A registry may have authorities of its
own: in images.toml, or in a folder named after it, where Docker's, containers' and our own tools look:

    certs.d/registry.class:5000/ca.crt          (every *.crt)
    certs.d/registry.class:5000/client.cert     (every *.cert, with client.key beside it)

See docker docs "Verify repository client with certificates"; containers-certs.d(5).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from minicontainer.errors import SpecError
from minicontainer.image.configuration import SYSTEM, Registry, user_folder


@dataclass(frozen=True, slots=True)
class Trust:
    """What TLS with one host builds on; a key for connections, too: they are shared only by equals."""

    insecure: bool = False
    authorities: tuple[Path, ...] = ()  # beside those of the system
    identities: tuple[tuple[Path, Path], ...] = ()  # certificate and key

    def for_another_host(self) -> Trust:
        """Give what remains for a host to which the registry sends us: its authorities are believed, too."""
        return Trust(authorities=self.authorities)


def folders() -> list[Path]:
    """List where certs.d may be, ours first."""
    ours = [user_folder() / "certs.d", SYSTEM / "certs.d"]
    return [*ours, Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d")]


def trust_of(host: str, registry: Registry) -> Trust:
    """Gather what there is for a registry; `host` with its port, if references name one. Raises SpecError."""
    authorities = [Path(registry.ca)] if registry.ca else []
    identities = [(Path(registry.client_cert), Path(registry.client_key))] if registry.client_cert else []
    for folder in (folder / host for folder in folders()):
        if folder.is_dir():
            authorities += sorted(folder.glob("*.crt"))
            identities += [_identity(certificate) for certificate in sorted(folder.glob("*.cert"))]
    return Trust(registry.insecure, tuple(authorities), tuple(identities))


def _identity(certificate: Path) -> tuple[Path, Path]:
    key = certificate.with_suffix(".key")
    if not key.exists():
        raise SpecError(str(certificate), f"there is no {key.name} beside it")
    return certificate, key


def context(trust: Trust) -> ssl.SSLContext:
    """Make what a handshake needs. Raises SpecError, naming the file that cannot be used."""
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if trust.insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    for file in trust.authorities:
        try:
            made.load_verify_locations(cafile=file)
        except OSError as problem:  # ssl.SSLError is one
            raise SpecError(
                str(file), f"is not a file of certificates: {problem.strerror or problem}"
            ) from None
    for certificate, key in trust.identities:
        try:
            made.load_cert_chain(certificate, key, password=_no_password)
        except OSError as problem:
            raise SpecError(
                str(certificate), f"cannot be used with its key: {problem.strerror or problem}"
            ) from None
    return made


def _no_password() -> str:
    """Answer OpenSSL, which would else ask on the terminal."""
    return ""
