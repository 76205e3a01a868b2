"""One form for calls that strace saw and calls that were told, so that the two lists can be compared.

What counts is here: `WATCHED` are the system calls by which a runtime changes the machine (what `tmpcopyup`
copies into files, and their times, is not part of the story), `only_asks` says which uses of them change
nothing, `BOOKKEEPING` which files a process may write to or rename without telling. Nothing else is left
out. Arguments are the same when they mean the same: flags are sets, a filter is its digest, a descriptor is
what it names, and what a wrapper adds to please the kernel (sizes, addresses, constant zeros) is dropped.

See strace(1); house rule "explain must not lie".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from minicontainer.linux.flags import MountAttr, Open
from tests.explain.bpf import assemble, assemble_ebpf, word
from tests.explain.words import Descriptor, Line, Macro, Name, Struct, read_line

WATCHED = frozenset(
    "unshare setns clone3 clone fork vfork mount umount2 pivot_root chroot fsopen fsconfig fsmount "
    "fspick move_mount open_tree mount_setattr swapon swapoff sethostname setdomainname setuid setgid "
    "setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset prctl seccomp bpf keyctl "
    "add_key request_key personality prlimit64 setrlimit setpriority sched_setattr sched_setscheduler "
    "sched_setparam sched_setaffinity ioprio_set set_mempolicy mbind migrate_pages mknod mknodat mkdir "
    "mkdirat symlink symlinkat link linkat unlink unlinkat rmdir rename renameat renameat2 chmod fchmod "
    "fchmodat fchmodat2 chown lchown fchown fchownat setxattr lsetxattr fsetxattr removexattr "
    "lremovexattr fremovexattr umask setsid setpgid ioctl sendto sendmsg sendmmsg kill tkill tgkill "
    "rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_getfd pidfd_send_signal process_madvise "
    "process_vm_writev ptrace reboot kexec_load kexec_file_load io_uring_setup init_module "
    "delete_module finit_module acct quotactl iopl ioperm settimeofday clock_settime adjtimex "
    "clock_adjtime syslog vhangup write pwrite64 writev execve execveat".split()
)
# Files that a process may write to without telling, because the machine does not change by it: what processes
# of one command say to each other, what the user sees, and the runtime's own notes, to which `delete` goes
# back.
BOOKKEEPING = (
    "pipe:[", "socket:[", "/memfd:", "/dev/pts/", "/dev/null",
    "/run/minicontainer-runtime/", "/run/minicontainer/", "/var/lib/minicontainer/leases/",
)  # fmt: skip
# The calls that do so by a path, not by the descriptor of a directory.
NAMING = frozenset("mknod mknodat mkdir mkdirat unlink unlinkat rmdir rename renameat renameat2".split())
ASKING_IOCTLS = frozenset(
    "TCGETS FIOCLEX FIONCLEX FIONBIO FIONREAD TIOCGWINSZ TIOCGPGRP TIOCGPTN SIOCGIFINDEX "
    "NS_GET_USERNS".split()
)
ASKING_KEYCTLS = frozenset("KEYCTL_DESCRIBE KEYCTL_READ KEYCTL_GET_KEYRING_ID".split())
ASKING_PRCTLS = frozenset(("PR_CAPBSET_READ",))
ASKING_BPF = frozenset(("BPF_PROG_QUERY", "BPF_OBJ_GET_INFO_BY_FD", "BPF_PROG_GET_FD_BY_ID"))


@dataclass(frozen=True)
class Call:
    """A call in the common form; `errno` is empty when it succeeded."""

    name: str
    arguments: tuple[Any, ...]
    errno: str = ""

    def __str__(self) -> str:
        inside = ", ".join(map(shown, self.arguments))
        return f"{self.name}({inside})" + (f" = {self.errno}" if self.errno else "")


def shown(value: object) -> str:  # noqa: PLR0911 - one for each form
    """Write a value for a person who reads a difference."""
    match value:
        case frozenset():
            return "|".join(sorted(map(str, value)))
        case bytes():
            return repr(value.decode("utf-8", "backslashreplace"))
        case Name(name):
            return name
        case Descriptor(target):
            return f"<{target}>"
        case tuple():
            return "[" + ", ".join(map(shown, value)) + "]"
        case Struct(members):
            return "{" + ", ".join(f"{name}={shown(member)}" for name, member in members) + "}"
        case Macro(name, arguments):
            return f"{name}({', '.join(map(shown, arguments))})"
        case _:
            return str(value)


# --- what counts -------------------------------------------------------------------------------


def counts(line: Line, notes: Iterable[str] = ()) -> bool:
    """Say whether a line is about a change of the machine; `notes` are further files for bookkeeping."""
    return line.name in WATCHED and not only_asks(line) and not keeps_books(line, (*BOOKKEEPING, *notes))


def only_asks(line: Line) -> bool:
    """Say whether this use of the call changes nothing."""
    first = name_of(line.arguments[0]) if line.arguments else ""
    changes_nothing = False
    match line.name:
        case "prlimit64":
            changes_nothing = line.arguments[2] is None
        case "prctl":
            changes_nothing = first.startswith("PR_GET") or first in ASKING_PRCTLS
        case "keyctl":
            changes_nothing = first in ASKING_KEYCTLS
        case "bpf":
            changes_nothing = first in ASKING_BPF
        case "ioctl":
            changes_nothing = name_of(line.arguments[1]) in ASKING_IOCTLS
        case "kill":
            changes_nothing = line.arguments[1] == 0
        case "sendto":
            changes_nothing = name_of(message_type(line)).startswith("RTM_GET")
    return changes_nothing


def keeps_books(line: Line, files: tuple[str, ...]) -> bool:
    """Say whether this is about a file that does not count."""
    where = line.arguments[0] if line.arguments else None
    if line.name == "linkat":  # gives a file its name, that had none: O_TMPFILE
        return bool(line.arguments[3].decode("utf-8", "surrogateescape").startswith(files))
    if line.name in NAMING and not isinstance(where, Descriptor):
        paths = [
            value.decode("utf-8", "surrogateescape") for value in line.arguments if isinstance(value, bytes)
        ]
        return all(f"{path}/".startswith(files) or "/__pycache__/" in path for path in paths)
    if line.name not in ("write", "pwrite64", "writev"):
        return False
    return isinstance(where, Descriptor) and (
        where.target.startswith(files) or "/__pycache__/" in where.target
    )


def message_type(line: Line) -> Any:
    """Give the type of a netlink message."""
    body = line.arguments[1]
    head = body[0] if isinstance(body, tuple) and body else None
    return head.get("nlmsg_type") if isinstance(head, Struct) else None


def name_of(value: object) -> str:
    """Give the name of a constant, or nothing."""
    return value.name if isinstance(value, Name) else ""


# --- the common form ---------------------------------------------------------------------------

Change = Callable[[tuple[Any, ...]], tuple[Any, ...]]


def common(line: Line, own_pid: int = 0, opened: Mapping[int, str] | None = None) -> Call:
    """Bring a line into the common form.

    `own_pid` is the caller's number on the host, for /proc/PID; `opened` says what its descriptors name.
    """
    name = SAME.get(line.name, line.name)
    arguments = FORMS.get(name, lambda same: same)(line.arguments)
    if name == "clone3" and isinstance(
        arguments[-1], int
    ):  # strace does not look up descriptors in structures
        arguments = (*arguments[:-1], Descriptor((opened or {}).get(arguments[-1], "")))
    if name == "clone3":
        arguments = (*arguments, line.result)  # the child's number
    return Call(name, tuple(own_names(value, own_pid) for value in arguments), line.errno)


SAME = {"pwrite64": "write", "clone": "fork", "vfork": "fork"}  # C libraries make fork(2) of clone(2)


def own_names(value: Any, own_pid: int) -> Any:
    """Name the caller's own directory in /proc as it names it itself."""
    if isinstance(value, Descriptor):
        return Descriptor(re.sub(rf"^/proc/{own_pid}/", "/proc/self/", re.sub("^/+", "/", value.target)))
    return value


def first_only(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Drop the length that follows a text."""
    return arguments[:1]


def clone3(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keep what was asked for; addresses and sizes are the wrapper's."""
    asked = arguments[0]
    return (asked.get("flags"), asked.get("exit_signal"), asked.get("cgroup"))


def prctl(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Drop the zeros that fill up the call."""
    kept = list(arguments)
    while kept and kept[-1] == 0:
        kept.pop()
    return tuple(kept)


def write(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keep the file and what is written."""
    where, data = arguments[:2]
    return (Descriptor(where.decode()) if isinstance(where, bytes) else where, data)


def move_mount(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Drop what the moved mount's descriptor names: the call changes it; strace looks before, we after."""
    return (bool(isinstance(arguments[0], Descriptor)), *arguments[1:])


def mount_setattr(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Drop the user namespace where no mapping is asked for: it is 0, and strace looks up what 0 names."""
    where, path, flags, attributes, *_ = arguments
    wanted = attributes.get("attr_set")
    mapped = "MOUNT_ATTR_IDMAP" in (wanted if isinstance(wanted, frozenset) else {name_of(wanted)})
    bits = [number_of(attributes.get(name)) for name in ("attr_set", "attr_clr")]
    return (
        where,
        path,
        flags,
        *bits,
        attributes.get("propagation"),
        attributes.get("userns_fd") if mapped else None,
    )


def number_of(attributes: Any) -> str:
    """Add up a word of mount attributes: the mask of all times has a name that strace does not use."""
    return hex(word(attributes, MountAttr.__members__))


def ioctl(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Add up the flags of open(2) that TIOCGPTPEER takes: strace writes them as a number."""
    if name_of(arguments[1]) != "TIOCGPTPEER":
        return arguments
    return (*arguments[:2], word(arguments[2], Open.__members__))


def sendmsg(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keep what is sent, and the descriptors that are passed."""
    message = arguments[1]
    (vector,), (control,) = message.get("msg_iov"), message.get("msg_control")
    passed = [control.get(name) for name in ("cmsg_type", "cmsg_data")]
    return (arguments[0], vector.get("iov_base"), *passed, *arguments[2:])


def seccomp(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replace a filter by its length and its digest."""
    operation, flags, program = arguments
    code = program.get("filter")
    digest = program.get("sha256") if code is None else hashlib.sha256(assemble(code)).hexdigest()
    return (operation, flags, program.get("len"), digest)


def bpf(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keep type, name, length and digest of a program; of an attachment what is attached to what, and how."""
    command, request, *_ = arguments
    if command == Name("BPF_PROG_ATTACH"):
        replaces = "BPF_F_REPLACE" in shown(request.get("attach_flags"))
        members = ["target_fd", "attach_bpf_fd", "attach_type", "attach_flags"] + [
            "replace_bpf_fd"
        ] * replaces
        return (command, *map(request.get, members))
    if command != Name("BPF_PROG_LOAD"):
        return arguments[:2]
    code = request.get("insns")
    digest = request.get("sha256") if code is None else hashlib.sha256(assemble_ebpf(code)).hexdigest()
    return (command, *map(request.get, ("prog_type", "prog_name", "insn_cnt")), digest)


def sendto(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keep a netlink request: message, flags, device, and its attributes by name."""
    request = arguments[1]
    if not isinstance(request, tuple) or not isinstance(request[0], Struct):
        return arguments[:2]
    head, *rest = request
    return (head.get("nlmsg_type"), head.get("nlmsg_flags"), *map(netlink_part, rest))


def netlink_part(part: Any) -> Any:
    """Leave out lengths and zeros of a part of a netlink request, which only one side writes."""
    if isinstance(part, Struct):
        kept = {
            name: value
            for name, value in part.members
            if name and "len" not in name and value not in (0, None)
        }
        return frozenset((name, shown(value)) for name, value in kept.items())
    return part


def execve(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keep program, arguments, and the environment in any order."""
    path, argv, environment = arguments[:3]
    return (path, argv, tuple(sorted(environment)) if isinstance(environment, tuple) else environment)


def fork(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keep the flags of clone(2) that mean more than fork(2)."""
    flags = next((value for value in arguments if isinstance(value, frozenset)), frozenset())
    return (
        (flags - {"CLONE_CHILD_CLEARTID", "CLONE_CHILD_SETTID", "SIGCHLD"},) if arguments else (frozenset(),)
    )


FORMS: dict[str, Change] = {
    "fork": fork,
    "bpf": bpf,
    "clone3": clone3,
    "execve": execve,
    "ioctl": ioctl,
    "mount_setattr": mount_setattr,
    "move_mount": move_mount,
    "prctl": prctl,
    "seccomp": seccomp,
    "sendmsg": sendmsg,
    "sendto": sendto,
    "setdomainname": first_only,
    "sethostname": first_only,
    "write": write,
}


def as_printed(call: Call) -> Call:
    """Reduce a call to what the terminal shows of it: of a program the length, of an environment nothing."""
    if call.name == "seccomp" or call.arguments[:1] == (Name("BPF_PROG_LOAD"),):
        return Call(call.name, call.arguments[:-1], call.errno)
    if call.name == "execve":
        return Call(call.name, call.arguments[:2], call.errno)
    return call


def read_call(text: str, own_pid: int = 0) -> Call:
    """Read one line of either story into the common form."""
    return common(read_line(text), own_pid)
