"""Keyrings: where the kernel keeps secrets for processes.

The session keyring is inherited. Without one of its own a container could read the keys of whoever
started it, and all containers those of each other.

See keyctl(2), session-keyring(7), keyrings(7); runc's libcontainer/keys/keyctl.go does the same.
"""

from __future__ import annotations

from minicontainer.linux.kernel import address, buffer, check, kernel_call, long, syscall
from minicontainer.linux.numbers import SYS_keyctl

KEYCTL_JOIN_SESSION_KEYRING = 1
KEYCTL_SETPERM = 5
KEYCTL_DESCRIBE = 6

KEY_USR_SEARCH = 0x00080000


@kernel_call
def keyctl(operation: int, argument: int | str, second: int = 0) -> int:
    """Do one operation on a key or keyring; `argument` is its serial, or the name of a keyring to make."""
    if isinstance(argument, str):
        return check(syscall(SYS_keyctl, operation, argument.encode()))
    return check(syscall(SYS_keyctl, operation, argument, long(second)))


def join_session_keyring(name: str) -> int:
    """Leave the caller's session keyring for a new one called `name`; return its serial number.

    Every process of the container's user may search it, not only those that inherited it.
    Raises ENOSYS where the kernel has no keyrings, EDQUOT when the user owns too many keys (/proc/key-users).
    """
    serial = keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)
    keyctl(KEYCTL_SETPERM, serial, permissions(serial) | KEY_USR_SEARCH)
    return serial


def permissions(serial: int) -> int:
    """Read the permission bits of a key (keyrings(7), "Permissions")."""
    return int(describe(serial).split(";")[3], 16)


def describe(serial: int) -> str:
    """Read "type;uid;gid;permissions;description" of a key."""
    block = buffer(4096)
    check(syscall(SYS_keyctl, KEYCTL_DESCRIBE, serial, long(address(block)), long(4096)))
    return bytes(block).split(b"\0", 1)[0].decode(errors="surrogateescape")
