"""Why a process was refused an identity, a map of ids or an id: rows of the errno table.

See user_namespaces(7), credentials(7), setgroups(2), newuidmap(1).
"""

# ruff: noqa: D401 - a row's docstring is the rule that was broken

from __future__ import annotations

from minicontainer.linux.causes import Arguments, Cause, row
from minicontainer.linux.evidence import Evidence
from minicontainer.linux.words import whole


def about(arguments: Arguments, *kinds: str) -> bool:
    """Say whether a write_id_map is about one of these files."""
    return arguments[1] in kinds


@row("write_id_map", "EACCES")
def undumpable(arguments: Arguments, seen: Evidence) -> Cause | None:
    """After a change of identity, a process' own /proc files belong to root."""
    pid = arguments[0] or seen.pid
    # Without a map both may look the same; but otherwise a process may write its own files.
    owner, own = (seen.proc / str(pid) / "uid_map").stat().st_uid, int(seen.status("Uid").split()[1])
    if owner == own and pid != seen.pid:
        return None
    return Cause(
        saw=f"/proc/{pid}/{arguments[1]} may not be opened for writing, its owner is {owner}",
        means="the process is not dumpable, because it changed its user id: its files in /proc are root's",
        look_at="write the map before that, from the parent, or after prctl(PR_SET_DUMPABLE, 1) and execve",
    )


@row("write_id_map", "EPERM")
def map_is_written(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A map is written once."""
    name = f"{arguments[0] or seen.pid}/{arguments[1]}"
    now = (seen.proc / name).read_text().split()
    if not about(arguments, "uid_map", "gid_map") or not now:
        return None
    return Cause(
        saw=f"/proc/{name} holds {' '.join(now)}",
        means="the map has been written before, which can be done once only",
        look_at="write all lines in one write(2)",
    )


@row("write_id_map", "EPERM")
def setgroups_is_allowed(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Without privileges, gid_map may be written only when leaving groups has been given up."""
    name = f"{arguments[0] or seen.pid}/setgroups"
    if not about(arguments, "gid_map") or (seen.proc / name).read_text().strip() != "allow":
        return None
    if seen.can("CAP_SETGID") and seen.in_first_user_namespace():
        return None
    return Cause(
        saw=f"/proc/{name} is allow",
        means="without privileges gid_map may only be written after setgroups has been denied",
        look_at='write "deny" to setgroups first, or use newgidmap(1)',
    )


@row("write_id_map", "EPERM")
def range_is_not_yours(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Without privileges one may map oneself only."""
    if not about(arguments, "uid_map", "gid_map"):
        return None
    own = seen.status("Uid" if arguments[1] == "uid_map" else "Gid").split()[1]
    lines = [line.split() for line in str(arguments[2]).splitlines()]
    foreign = [" ".join(line) for line in lines if len(lines) > 1 or line[1:] != [own, "1"]]
    if not foreign:
        return None
    return Cause(
        saw=f"asked for {foreign[0]}, own id is {own}",
        means="without privileges only one's own id can be mapped",
        look_at="use newuidmap(1), newgidmap(1) and the ranges of /etc/subuid and /etc/subgid",
    )


@row("write_id_map", "EINVAL")
def lines_are_malformed(arguments: Arguments, _seen: Evidence) -> Cause | None:
    """Three numbers a line, a count that is not 0, no overlap."""
    lines = [line.split() for line in str(arguments[2]).splitlines()]
    wrong = [line for line in lines if len(line) != 3 or not all(map(str.isdigit, line)) or line[2] == "0"]  # noqa: PLR2004
    if not about(arguments, "uid_map", "gid_map") or not (wrong or overlap(lines)):
        return None
    return Cause(
        saw=" ".join(wrong[0]) if wrong else " and ".join(overlap(lines)),
        means="a line is three numbers (inside, outside, count above 0), and no two lines may overlap",
        look_at="correct the mapping; user_namespaces(7) has the rules",
    )


def overlap(lines: list[list[str]]) -> list[str]:
    """Find two lines that claim the same ids, inside or outside."""
    ranges = [tuple(map(int, line)) for line in lines]
    for at, (inside, outside, count) in enumerate(ranges):
        for other_inside, other_outside, other_count in ranges[:at]:
            for first, other in ((inside, other_inside), (outside, other_outside)):
                if first < other + other_count and other < first + count:
                    return [f"{other_inside} {other_outside} {other_count}", f"{inside} {outside} {count}"]
    return []


def ids_are_in(call: str, kind: str) -> None:
    """Enter the row of a call whose ids must have a line in the map `kind`."""

    @row(call, "EINVAL")
    def id_is_not_mapped(arguments: Arguments, seen: Evidence) -> Cause | None:
        first = arguments[0]
        wanted = map(whole, first if isinstance(first, list | tuple) else arguments)
        lines = [tuple(map(int, line.split())) for line in seen.read(kind).splitlines()]
        missing = [n for n in wanted if n >= 0 and not any(a <= n < a + count for a, _, count in lines)]
        if not missing:
            return None
        return Cause(
            saw=f"{missing[0]} is in no line of /proc/{seen.pid}/{kind}",
            means="the id does not exist in this user namespace",
            look_at="map it (linux.uidMappings, linux.gidMappings), or use an id that is",
        )


for name, kind in (("setresuid", "uid_map"), ("setresgid", "gid_map"), ("setgroups", "gid_map")):
    ids_are_in(name, kind)


@row("setgroups", "EPERM")
def groups_are_denied(_arguments: Arguments, seen: Evidence) -> Cause | None:
    """In a user namespace made without privileges, groups cannot be changed."""
    if seen.read("setgroups").strip() != "deny":
        return None
    return Cause(
        saw=f"/proc/{seen.pid}/setgroups is deny",
        means="this user namespace was made without privileges, and gave up changing groups",
        look_at="map the groups by newgidmap(1), or leave them as they are",
    )
