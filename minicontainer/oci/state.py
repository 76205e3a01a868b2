"""The state of a container: what `minicontainer-runtime state` prints and what a hook reads on its stdin.

    creating -> created -> running -> stopped
                             |  ^
                             v  |
                            paused      (not in the specification; runc and crun have it too)

Implements runtime-spec runtime.md, "State".
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Status = Literal["creating", "created", "running", "paused", "stopped"]


class State(Struct, frozen=True, kw_only=True, rename="camel"):
    """One container; `pid` is 0, or absent, when it is stopped."""

    oci_version: str
    id: str
    status: Status
    pid: Annotated[int, Meta(ge=0)] = 0
    bundle: str
    annotations: dict[str, str] | None = None


class ListedState(State, frozen=True, kw_only=True, rename="camel"):
    """What `state` and `list --format json` add: podman, containerd and cri-o read it; times are RFC 3339."""

    rootfs: str = ""
    created: str = ""
    owner: str = ""


class ContainerProcessState(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is sent, with the descriptors named in `fds`, to the listener of a seccomp filter."""

    oci_version: str
    fds: tuple[str, ...]
    pid: int
    metadata: str = ""
    state: State
