"""`minicontainer pull` and `push`, and what else is asked of a registry: its tags, an image's referrers.

See man pages docker-pull(1), docker-push(1); distribution-spec, "Listing Tags", "Listing Referrers".
"""

from __future__ import annotations

import sys

from minicontainer.cli.failure import on_one_line
from minicontainer.cli.image_format import Columns, write_rows
from minicontainer.cli.image_words import switch, wanted_platform, warn, word
from minicontainer.cli.progress import PULL, PUSH, Teller, telling
from minicontainer.errors import Error, NotFound
from minicontainer.image import configuration
from minicontainer.image import reference as references
from minicontainer.image.configuration import Configuration
from minicontainer.image.layer.limits import Limits
from minicontainer.image.pull import Pull, Pulled
from minicontainer.image.push import Push, original
from minicontainer.image.reference import DEFAULT_TAG, Reference
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.credentials import Credentials
from minicontainer.image.rootless import become_root
from minicontainer.image.store.names import Named, names
from minicontainer.image.store.store import Store
from minicontainer.oci.image import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.image_words import Values

REFERRERS = Columns(
    {"Digest": "DIGEST", "ArtifactType": "ARTIFACT TYPE", "MediaType": "MEDIA TYPE", "Size": "SIZE"},
    ("Digest", "ArtifactType", "Size"),
)


def settings(values: Values, domain: str) -> Configuration:
    """Read images.toml; with `--tls-verify=false` this registry is trusted whoever answers for it."""
    found = configuration.load()
    return found if switch(values, "tls_verify", usual=True) else found.trusting(domain)


def client_for(values: Values, reference: Reference) -> RegistryClient:
    """Make the client for one command."""
    return RegistryClient(settings(values, reference.domain), Credentials(), warn)


# --- pull ------------------------------------------------------------------------------------------


def pull(values: Values) -> int:
    """Fetch an image, or all tags of a repository."""
    given = references.parse(word(values, "name"))
    everything, quiet, as_json = (bool(values[name]) for name in ("all_tags", "quiet", "json"))
    if everything and (given.tag or given.digest):
        raise Error("tag can't be used with --all-tags/-a")
    platform = wanted_platform(values)
    become_root()
    client, limits = client_for(values, given), settings(values, given.domain).limits
    wanted = [given.with_default_tag()]
    if everything:
        wanted = [Reference(given.domain, given.path, tag) for tag in client.tags(given)]
    with telling(PULL, quiet=quiet, as_json=as_json) as teller:
        if not everything and wanted[0] != given:
            teller.line(f"Using default tag: {DEFAULT_TAG}")
        pulled = [pull_one(client, reference, platform, limits, teller) for reference in wanted]
        result = given if everything else wanted[0]
        how = "Downloaded newer image" if any(each.changed for each in pulled) else "Image is up to date"
        teller.line(f"Status: {how} for {result.familiar()}")
    if not as_json:
        sys.stdout.write(f"{result}\n")
    return 0


def pull_one(
    client: RegistryClient, reference: Reference, platform: Platform, limits: Limits, teller: Teller
) -> Pulled:
    """Fetch one image."""
    teller.about(reference.tag or str(reference), f"Pulling from {reference.path}")
    pulled = Pull(Store(), client, reference, platform, teller, limits).run()
    teller.line(f"Digest: {pulled.digest}")
    return pulled


# --- push ------------------------------------------------------------------------------------------


def push(values: Values) -> int:
    """Send an image, or all tags of a repository, to its registry."""
    given = references.parse(word(values, "name"))
    everything, quiet = bool(values["all_tags"]), bool(values["quiet"])
    if given.digest:
        raise Error("cannot push a digest reference")
    if everything and given.tag:
        raise Error("tag can't be used with --all-tags/-a")
    store, client = Store(), client_for(values, given)
    with telling(PUSH, quiet=quiet, as_json=bool(values["json"])) as teller:
        if not everything and not given.tag:
            teller.line(f"Using default tag: {DEFAULT_TAG}")
        teller.line(f"The push refers to repository [{given.name}]")
        for named in to_push(store, given, everything=everything):
            push_one(store, client, named, teller)
    if quiet:
        sys.stdout.write(f"{given if everything else given.with_default_tag()}\n")
    return 0


def push_one(store: Store, client: RegistryClient, named: Named, teller: Teller) -> None:
    """Send one image."""
    reference = named.reference
    digest = Push(store, client, named, reference, teller).run()
    _, manifest = original(store, named)
    teller.about(reference.tag, f"digest: {digest} size: {len(manifest)}")


def to_push(store: Store, given: Reference, *, everything: bool) -> list[Named]:
    """Find what has the name. Raises NotFound, in docker's words."""
    if not everything:
        known = names(store).get(given.stored_name())
        found = [known] if known else []
    else:
        found = [
            named
            for named in names(store).values()
            if named.reference.name == given.name and named.reference.tag
        ]
    if not found:
        raise NotFound(f"An image does not exist locally with the tag: {given.familiar()}")
    return found


# --- questions -------------------------------------------------------------------------------------


def tags(values: Values) -> int:
    """List the tags that a registry has in a repository."""
    reference = references.parse(word(values, "repository"))
    for tag in client_for(values, reference).tags(reference):
        sys.stdout.write(f"{on_one_line(tag)}\n")
    return 0


def referrers(values: Values) -> int:
    """List what a registry has about an image: signatures, SBOMs and what else names it as its subject."""
    reference = references.parse(word(values, "image")).with_default_tag()
    client = client_for(values, reference)
    digest = reference.digest or client.resolve(reference).digest
    rows = [
        {
            "Digest": each.digest,
            "ArtifactType": on_one_line(each.artifact_type),
            "MediaType": on_one_line(each.media_type),
            "Size": str(each.size),
        }
        for each in client.referrers(reference, digest, word(values, "artifact_type"))
    ]
    sys.stdout.write(write_rows(rows, REFERRERS, word(values, "format")))
    return 0
