"""Why a control file of a cgroup, a program, a key or an address was refused: rows of the errno table.

See cgroups(7), <Documentation/admin-guide/cgroup-v2.rst>, execve(2), elf(5), keyctl(2), ip(7).
"""

# ruff: noqa: D401 - a row's docstring is the rule that was broken

from __future__ import annotations

import os
import re
from pathlib import Path

from minicontainer.linux.causes import Arguments, Cause, row
from minicontainer.linux.evidence import Evidence

ANYTHING = re.compile(r".*", re.DOTALL)
AMOUNT = re.compile(r"max|\d+[KMGTPEkmgtpe]?")
# How a value must look, and in words.
FORMS = {
    "memory": (AMOUNT, "bytes, or a number with K, M or G and no blank, or max"),
    "hugetlb": (AMOUNT, "bytes, or a number with K, M or G and no blank, or max"),
    "pids.max": (re.compile(r"max|\d+"), "a number that is not negative, or max"),
    "cpu.max": (
        re.compile(r"(max|\d{4,})( \d{4,7})?"),
        "microseconds of at least 1000, and a period: 20% is 20000 100000",
    ),
    "cpu.weight": (re.compile(r"[1-9]\d{0,3}|10000"), "a number from 1 to 10000"),
    "io.weight": (re.compile(r"(default |\d+:\d+ )?([1-9]\d{0,3}|10000)"), "a number from 1 to 10000"),
    "cpuset": (re.compile(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?"), "a list such as 0-3,8"),
    "cgroup.subtree_control": (re.compile(r"[+-]\w+( [+-]\w+)*"), "names with + or - before each"),
}


def group_of(arguments: Arguments, seen: Evidence) -> tuple[Path, str]:
    """Say which group a call is about, and which file of it."""
    whole = seen.folder(arguments[0]) / str(arguments[1])
    return whole.parent, whole.name


@row("write_control", "EINVAL", "ERANGE")
def value_is_malformed(arguments: Arguments, _seen: Evidence) -> Cause | None:
    """Control files take numbers without units, as they are printed."""
    name, value = str(arguments[1]).rpartition("/")[2], str(arguments[2])
    form, words = next((rule for key, rule in FORMS.items() if name.startswith(key)), (ANYTHING, ""))
    if form.fullmatch(value.strip()):
        return None
    return Cause(saw=f'"{value}"', means=f"{name} does not take this value", look_at=f"write {words}")


@row("write_control", "EINVAL")
def controller_is_unknown(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A kernel has the controllers that it was built with."""
    known = [line.split()[0] for line in seen.system("cgroups").splitlines()]
    unknown = [word for word in str(arguments[2]).split() if word[1:] not in known]
    if not str(arguments[1]).endswith("cgroup.subtree_control") or not unknown:
        return None
    return Cause(
        saw=f"/proc/cgroups has no {unknown[0][1:]}",
        means="the kernel has no such controller",
        look_at="use a kernel that has it, or do without the limit",
    )


@row("write_control", "EBUSY")
def group_has_processes(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A group that hands controllers down must have no processes of its own."""
    group, name = group_of(arguments, seen)
    inside = (group / "cgroup.procs").read_text().split() if name == "cgroup.subtree_control" else []
    if not inside:
        return None
    return Cause(
        saw=f"{group}/cgroup.procs: {' '.join(inside[:5])}",
        means="controllers cannot be handed down by a group that has processes of its own",
        look_at="move the processes to a group below first",
    )


@row("write_control", "EBUSY")
def group_hands_down(arguments: Arguments, seen: Evidence) -> Cause | None:
    """The same rule, seen from the process that wants in."""
    group, name = group_of(arguments, seen)
    handed = (group / "cgroup.subtree_control").read_text().split() if name == "cgroup.procs" else []
    if not handed:
        return None
    return Cause(
        saw=f"{group}/cgroup.subtree_control: {' '.join(handed)}",
        means="processes cannot enter a group that hands controllers down",
        look_at="make a group below it and enter that",
    )


@row("write_control openat open", "ENOENT", "EACCES")
def controller_is_missing(arguments: Arguments, seen: Evidence) -> Cause | None:
    """The files of a controller are only there if the group above hands it down."""
    group, name = group_of(arguments, seen)
    controller = name.partition(".")[0]
    listed = group / "cgroup.controllers"
    if controller == "cgroup" or (group / name).exists() or not listed.exists():
        return None
    given = listed.read_text().strip() or "nothing"
    return Cause(
        saw=f"{listed}: {given}",
        means=f"the controller {controller} is not available in this group, so {name} is not there",
        look_at=f"write +{controller} to cgroup.subtree_control of the group above",
    )


@row("write_control openat open", "ENOENT", "EACCES")
def group_is_of_v1(arguments: Arguments, seen: Evidence) -> Cause | None:
    """The files of cgroup v1 are others."""
    group, name = group_of(arguments, seen)
    if seen.mount_of(str(group)).kind != "cgroup":
        return None
    return Cause(
        saw=f"{group} is a cgroup v1 hierarchy",
        means=f"{name} is a file of cgroup v2",
        look_at="use the cgroup2 mount (/sys/fs/cgroup, on hybrid hosts /sys/fs/cgroup/unified)",
    )


@row("write_control", "ENOENT")
def controller_is_not_given(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Only what a group has can it hand down."""
    group, name = group_of(arguments, seen)
    wanted = [word[1:] for word in str(arguments[2]).split() if word.startswith("+")]
    given = (group / "cgroup.controllers").read_text().split()
    missing = [controller for controller in wanted if controller not in given]
    if name != "cgroup.subtree_control" or not missing:
        return None
    return Cause(
        saw=f"{group}/cgroup.controllers: {' '.join(given) or 'nothing'}",
        means=f"the controller {missing[0]} is not available in this group",
        look_at="hand it down from the groups above; a controller in use by cgroup v1 cannot be in v2 too",
    )


@row("write_control", "ESRCH")
def no_such_process(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A number means a process of the writer's PID namespace."""
    pid = str(arguments[2]).strip()
    if not str(arguments[1]).endswith(("cgroup.procs", "cgroup.threads")) or (seen.proc / pid).exists():
        return None
    return Cause(
        saw=f"/proc/{pid} does not exist",
        means="there is no such process in the PID namespace of the writer",
        look_at="write the number that the process has here, not inside its container (NSpid in status)",
    )


@row("write_control", "EOPNOTSUPP")
def group_is_threaded(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Beside threaded groups only threaded groups may be."""
    group, _ = group_of(arguments, seen)
    kind = (group / "cgroup.type").read_text().strip()
    if kind == "domain":
        return None
    return Cause(
        saw=f"{group}/cgroup.type: {kind}",
        means="the group is part of a threaded subtree and cannot hold whole processes",
        look_at='write "threaded" to its cgroup.type, or use a group elsewhere',
    )


@row("unlinkat rmdir", "EBUSY")
def group_is_populated(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A group goes only when nobody is in it, nor in a group below."""
    group = Path(*group_of(arguments, seen))
    populated = "populated 1" in (group / "cgroup.events").read_text()
    below = sorted(path.name for path in group.iterdir() if path.is_dir())
    if not populated and not below:
        return None
    return Cause(
        saw=f"{group}/cgroup.events: populated 1" if populated else f"groups below: {' '.join(below)}",
        means="the group still has processes" if populated else "the group still has groups below it",
        look_at="write 1 to cgroup.kill and wait for populated 0" if populated else "remove those first",
    )


# --- programs ----------------------------------------------------------------------------------


def interpreter(program: Path) -> str:
    """Tell which other file the kernel starts for a program: its `#!` or its ELF loader; "" for none."""
    with program.open("rb") as file:
        head = file.read(4096)
        if head.startswith(b"#!"):
            return os.fsdecode((head[2:].split(b"\n")[0].split() or [b""])[0])
        if not head.startswith(b"\x7fELF\x02"):
            return ""
        table, size, count = (
            int.from_bytes(head[at : at + n], "little") for at, n in ((32, 8), (54, 2), (56, 2))
        )
        for at in range(table, table + size * count, size):
            if head[at : at + 4] == b"\x03\0\0\0":  # PT_INTERP
                offset, length = (int.from_bytes(head[at + n : at + n + 8], "little") for n in (8, 32))
                file.seek(offset)
                return os.fsdecode(file.read(length).rstrip(b"\0"))
    return ""


@row("execve", "ENOENT")
def program_is_missing(arguments: Arguments, seen: Evidence) -> Cause | None:
    """The file itself."""
    if seen.path(arguments[0]).exists():
        return None
    return Cause(
        saw=f"{arguments[0]} does not exist in the root of the process",
        means="the program is not there",
        look_at="correct the path (process.args), or put the program into the rootfs",
    )


@row("execve", "ENOENT")
def interpreter_is_missing(arguments: Arguments, seen: Evidence) -> Cause | None:
    """The errno is about another file than the one that was named."""
    needed = interpreter(seen.path(arguments[0]))
    if not needed or seen.path(needed).exists():
        return None
    return Cause(
        saw=f"{arguments[0]} is there, and needs {needed}, which is not",
        means="the program that runs this one (its loader, or the one after #!) is missing in the rootfs",
        look_at="put it into the rootfs, or use a static program",
    )


@row("execve", "EACCES")
def program_on_noexec(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A mount may forbid programs."""
    here = seen.mount_of(arguments[0])
    if "noexec" not in here.options:
        return None
    return Cause(
        saw=f"{here.place} is mounted noexec",
        means="programs cannot be started from this mount",
        look_at="mount it without noexec, or put the program elsewhere",
    )


@row("execve", "EACCES")
def program_is_no_program(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A directory, or a file without an x."""
    place = seen.path(arguments[0])
    mode = place.stat().st_mode
    if place.is_file() and mode & 0o111:
        return None
    return Cause(
        saw=f"{arguments[0]} is a directory"
        if place.is_dir()
        else f"{arguments[0]} has mode {mode & 0o7777:04o}",
        means="this is not a file that may be executed",
        look_at="chmod +x, or name the program itself",
    )


@row("execve", "ENOEXEC")
def format_is_unknown(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Neither a script nor a program of this machine."""
    with seen.path(arguments[0]).open("rb") as file:
        head = file.read(20)
    if head.startswith(b"\x7fELF"):
        machine = int.from_bytes(head[18:20], "little")
        saw, look_at = (
            f"an ELF file for machine {machine}, this is {os.uname().machine}",
            "use an image of this architecture",
        )
    else:
        saw, look_at = f"it begins with {head[:4]!r}", "a script must begin with #! and its interpreter"
    return Cause(saw=saw, means="the kernel cannot run files of this format", look_at=look_at)


# --- the rest ----------------------------------------------------------------------------------


@row("connect sendto", "ENETUNREACH")
def loopback_is_down(arguments: Arguments, seen: Evidence) -> Cause | None:
    """In a new network namespace even the loopback device is down."""
    if not any("127." in str(value) for value in arguments) or "127.0.0.1" in seen.read("net/fib_trie"):
        return None
    return Cause(
        saw=f"/proc/{seen.pid}/net/fib_trie has no 127.0.0.1",
        means="the device lo of this network namespace is down",
        look_at="ip link set lo up",
    )


@row("keyctl", "EDQUOT")
def too_many_keys(_arguments: Arguments, seen: Evidence) -> Cause | None:
    """Keys are counted by user."""
    uid = seen.status("Uid").split()[1]
    line = next(line for line in seen.system("key-users").splitlines() if line.strip().startswith(f"{uid}:"))
    return Cause(
        saw=f"/proc/key-users: {' '.join(line.split())}",
        means="the user owns as many keys as kernel.keys.maxkeys allows",
        look_at="raise kernel.keys.maxkeys, or start with --no-new-keyring",
    )


@row("set_mempolicy", "EINVAL")
def no_such_node(arguments: Arguments, seen: Evidence) -> Cause | None:
    """At least one of the nodes must be allowed by the cpuset."""
    return Cause(
        saw=f"asked for {arguments[1]}, Mems_allowed_list is {seen.status('Mems_allowed_list')}",
        means="the nodes are not there or not allowed, or do not go with this mode",
        look_at="set_mempolicy(2), and cpuset.mems.effective of the cgroup",
    )


@row("write_procfs", "ENOENT")
def no_such_setting(arguments: Arguments, _seen: Evidence) -> Cause | None:
    """A sysctl that this kernel has not."""
    return Cause(
        saw=f"/proc/{arguments[1]} does not exist",
        means="the kernel has no such setting, or not in this namespace",
        look_at="sysctl -a shows what there is",
    )
