"""What can be the id of a container: it becomes the name of directories and of a cgroup.

Implements what runc accepts; runtime-spec, runtime.md leaves the form open.
"""

from __future__ import annotations

from minicontainer.errors import SpecError

LONGEST_ID = 1024
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-"


def check_id(name: str) -> None:
    """Raise SpecError unless `name` can be the id of a container, and so the name of a directory."""
    if not name:
        raise SpecError("", "container id cannot be empty")
    if name in (".", "..") or name[0] == "-" or len(name) > LONGEST_ID or name.strip(CHARACTERS):
        raise invalid_id(name)
    for character in name:
        if character not in CHARACTERS:
            raise invalid_id(name)


def invalid_id(name: str) -> SpecError:
    """Say what is wrong with an id."""
    from minicontainer.oci.shape import member

    return SpecError(
        "",
        f"invalid container ID format: {member(name)[1:-1]} cannot be a container id",
        hint=f"an id is made of letters, digits and _ + . -, at most {LONGEST_ID}, and does not begin with -",
    )
