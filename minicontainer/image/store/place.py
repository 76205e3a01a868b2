"""Where images lie: one directory, its root.

    images/     an OCI image layout: oci-layout, index.json (the names), blobs/sha256/HEX
    ingest/     what is not whole yet: sha256-HEX, a blob that is being fetched; new-*, any other file
    layers/HEX  a layer unpacked, named by its diff id; layers/chain-HEX, one made for a whole chain of them
    leases/ID   what a living container uses
    lock        shared: somebody adds, from a first blob to the name; exclusive: somebody takes away
    index.lock  held while index.json is read, changed and replaced

This is on the hot lane: `minicontainer run` asks it.

Implements image-spec image-layout.md. See XDG Base Directory Specification, "XDG_DATA_HOME".
"""

from __future__ import annotations

import posix

from minicontainer.linux.namespaces import in_user_namespace


def default_root() -> str:
    """Say where the store is: $MINICONTAINER_ROOT, or /var/lib for root, or the user's own data directory."""
    if named := variable(b"MINICONTAINER_ROOT"):
        return named if named[0] == "/" else f"{posix.getcwd()}/{named}"
    if posix.geteuid() == 0 and not in_user_namespace():
        return "/var/lib/minicontainer"
    data = variable(b"XDG_DATA_HOME") or f"{variable(b'HOME')}/.local/share"
    return f"{data}/minicontainer"


def variable(name: bytes) -> str:
    """Read an environment variable; "" when there is none."""
    return posix.environ.get(name, b"").decode("utf-8", "surrogateescape")


def index_path(root: str) -> str:
    """Name the file that holds the images' names."""
    return f"{root}/images/index.json"


def blob_path(root: str, digest: str) -> str:
    """Name the file of a blob; the digest must be one (oci/digest.py)."""
    return f"{root}/images/blobs/{digest.replace(':', '/')}"


def layer_path(root: str, diff_id: str) -> str:
    """Name the directory of an unpacked layer, by its diff id or by the digits of that."""
    return f"{root}/layers/{diff_id.rpartition(':')[2]}"
