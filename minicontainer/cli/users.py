"""Who a container's program is: from `--user` or the image's User to numbers, by the image's own files.

    NAME | UID [: GROUP | GID]      /etc/passwd gives the uid and its group, /etc/group the further groups

Nothing of the image is trusted: its files are opened inside its root, must be regular and not too long, and
no name service is asked (CVE-2019-14271). A number needs no file.

See passwd(5), group(5); docker-run(1), "--user"; github.com/moby/sys, user.GetExecUser.
"""

from __future__ import annotations

import posix

from minicontainer.errors import NotFound, SpecError
from minicontainer.runtime.program import read_regular_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_ID = 0xFFFFFFFE
PASSWD_FIELDS, GROUP_FIELDS = 4, 4  # that are looked at


class User:
    """The identity of a process, as runtime-spec has it."""

    __slots__ = ("additional_gids", "gid", "uid")

    def __init__(self, uid: int, gid: int, additional_gids: list[int]) -> None:
        self.uid = uid
        self.gid = gid
        self.additional_gids = additional_gids


def find_user(text: str, rootfs: str) -> User:
    """Find who is meant by `text`, root when it is empty. Raises SpecError, NotFound."""
    root = posix.open(rootfs, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        name, _, group = text.partition(":")
        entry = find_entry(entries(root, "/etc/passwd", PASSWD_FIELDS), name or "0")
        if entry is None:
            missing = f"unable to find user {name}: no matching entries in passwd file"
            user = User(number(name or "0", missing), 0, [])
        else:
            user = User(number(entry[2], text), number(entry[3], text), [])
        groups = entries(root, "/etc/group", GROUP_FIELDS)
        if group:
            found = find_entry(groups, group)
            missing = f"unable to find group {group}: no matching entries in group file"
            user.gid = number(found[2] if found else group, missing)
        elif entry is not None:
            user.additional_gids = [number(one[2], text) for one in groups if entry[0] in one[3].split(",")]
        return user
    finally:
        posix.close(root)


def entries(root: int, path: str, least: int) -> Iterator[list[str]]:
    """Yield the entries of a file of the image that have so many fields, and an id as the third."""
    for line in read_regular_file(root, path).split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= least and is_id(fields[2]):
            yield fields


def find_entry(found: Iterator[list[str]], word: str) -> list[str] | None:
    """Find the first entry of that name or number."""
    for fields in found:
        if fields[0] == word or (is_id(word) and int(fields[2]) == int(word)):
            return fields
    return None


def is_id(text: str) -> bool:
    """Tell whether a text is a number that can be a user's or a group's."""
    return text.isascii() and text.isdigit() and int(text) <= LARGEST_ID


def number(text: str, otherwise: str) -> int:
    """Read an id. Raises SpecError for too large a number; NotFound, saying `otherwise`, for a name."""
    if is_id(text):
        return int(text)
    if text.lstrip("-").isdigit():
        raise SpecError("--user", f"{text} is not from 0 to {LARGEST_ID}")
    raise NotFound(otherwise)
