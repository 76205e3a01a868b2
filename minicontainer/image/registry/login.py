"""Login: a name and a password are kept only after the registry has taken them.

See distribution-spec "Determining Support" (GET /v2/); docker-login(1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicontainer.image.registry.credentials import Credential
from minicontainer.image.registry.transport import Request

if TYPE_CHECKING:
    from minicontainer.image.registry.session import Session


def ping(session: Session) -> None:
    """See that a registry is there and takes what we have to show. Raises RegistryError."""
    session.ask(Request("GET", "/v2/"), [], f"the registry {session.endpoint.name}").close()


def proven(session: Session, credential: Credential) -> Credential:
    """Try a session's credential; give what to keep: an identity token where there is one, else itself."""
    ping(session)
    if token := session.identity_token:
        return Credential(credential.user, identity_token=token)
    return credential
