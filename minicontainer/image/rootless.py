"""Images without root: a user namespace in which an ordinary user is root and owns a range of other ids.

    this process ---- unshare(CLONE_NEWUSER) ---- is nobody ------------------- is root of its namespace
         `--fork--> mapper ------ waits ------- newuidmap, newgidmap --- exits

The files of an image belong to many users. An ordinary user may have the ids that /etc/subuid and /etc/subgid
grant him, and only two set-uid programs may hand them out - to a namespace that exists already, and from
outside of it: hence the second process. `podman unshare` does the same and maps the same ids.

See user_namespaces(7), subuid(5), newuidmap(1), unshare(2).
"""

from __future__ import annotations

import posix

from minicontainer.errors import Error, KernelError, Unsupported
from minicontainer.linux.descriptors import read_beginning
from minicontainer.linux.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare

LONGEST = 1 << 20  # bytes of /etc/subuid, and of what the mapper may say
GRANT = "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}"


def become_root() -> None:
    """Enter a user namespace in which we are root, with our subordinate ids; nothing for whoever is root.

    To be called before there are threads. The mounts that we make afterwards are seen by nobody else.
    Raises Unsupported when the machine does not let an ordinary user do that.
    """
    if posix.geteuid() == 0:
        return
    uid_map = ["0", str(posix.getuid()), "1", *subordinate_ids("/etc/subuid")]
    gid_map = ["0", str(posix.getgid()), "1", *subordinate_ids("/etc/subgid")]
    go, answer, mapper = start_mapper(posix.getpid(), uid_map, gid_map)
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        posix.write(go, b"!")
        said = posix.read(answer, LONGEST)
    except KernelError as problem:
        raise Unsupported(
            f"an ordinary user gets no user namespace here: {posix.strerror(problem.errno or 0).lower()}",
            hint="minicontainer doctor says what forbids it",
        ) from problem
    finally:
        posix.close(go)
        posix.close(answer)
        _, status = posix.waitpid(mapper, 0)
    if status:
        raise Unsupported(
            said.decode() or "newuidmap was interrupted",
            hint="minicontainer doctor looks at newuidmap and newgidmap",
        )


def start_mapper(pid: int, uid_map: list[str], gid_map: list[str]) -> tuple[int, int, int]:
    """Start the process that maps our ids when it is told; returns pipes to tell and hear it, and its pid."""
    told, go = posix.pipe2(posix.O_CLOEXEC)
    answer, said = posix.pipe2(posix.O_CLOEXEC)
    mapper = posix.fork()
    if mapper == 0:
        posix.close(go)
        be_mapper(told, said, [["newuidmap", str(pid), *uid_map], ["newgidmap", str(pid), *gid_map]])
    posix.close(told)
    posix.close(said)
    return go, answer, mapper


def be_mapper(told: int, said: int, commands: list[list[str]]) -> None:
    """Run the commands when we are told to; say what went wrong, and end."""
    from minicontainer.linux.programs import run

    try:
        if posix.read(told, 1):
            for command in commands:
                run(command)
        posix._exit(0)
    except Error as problem:
        posix.write(said, str(problem).encode())
    finally:
        posix._exit(1)


def subordinate_ids(path: str) -> list[str]:
    """Read a user's ranges: inside, outside, how many, of each; inside they follow each other from 1 on."""
    uid = str(posix.getuid())
    user = name_of(posix.getuid()) or uid
    granted: list[str] = []
    inside = 1
    for first, count in ranges_of((user, uid), path):
        granted += [str(inside), first, count]
        inside += int(count)
    if not granted:
        raise Unsupported(
            f"{user} has no subordinate ids in {path}, and the files of an image belong to many users",
            hint=GRANT.format(user),
        )
    return granted


def name_of(uid: int) -> str:
    """Ask the system for a user's name; "" when it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def ranges_of(names: tuple[str, ...], path: str) -> list[tuple[str, str]]:
    """Read lines such as `user:100000:65536` whose owner is one of `names`: first id, how many."""
    try:
        lines = read_beginning(path, LONGEST).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        owner, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if owner in names and first.isdigit() and count.isdigit() and int(count):
            found.append((first, count))
    return found
