"""How a kernel call is written: as strace would print it.

    mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV, NULL): EPERM (Operation not permitted)

One row per call: how each of its arguments is spelled, by position. Calls whose arguments are packed into
structures have a function in `structures`. A test compares all of this with strace itself.

See strace(1); errno(3).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence

from minicontainer.linux import scheduling, structures
from minicontainer.linux.flags import (
    At,
    Clone,
    CloseRange,
    Fsconfig,
    Fsmount,
    Fsopen,
    Mount,
    MountAttr,
    MoveMount,
    OpenTree,
    Umount,
    Unlink,
)
from minicontainer.linux.words import (
    Speller,
    anything,
    descriptor,
    device,
    flags,
    hexadecimal,
    mode,
    octal,
    one_of,
    raw,
    sequence,
    signal_name,
    text,
    whole,
)

number: Speller = anything
LONGEST = 1000
PERSONALITY = one_of({f"PER_{name}": value for name, value in scheduling.PERSONALITIES.items()})
ROWS: dict[str, tuple[Speller, ...]] = {
    "chroot": (text,),
    "close_range": (number, number, flags(CloseRange)),
    "fchdir": (descriptor,),
    "fchmod": (descriptor, octal),
    "fchown": (descriptor, number, number),
    "fchownat": (descriptor, text, number, number, flags(At)),
    "fsconfig": (descriptor, one_of(Fsconfig), text, text, number),
    "fsmount": (descriptor, flags(Fsmount), flags(MountAttr)),
    "fsopen": (text, flags(Fsopen)),
    "kill": (number, signal_name),
    "linkat": (descriptor, text, descriptor, text, flags(At)),
    "mkdirat": (descriptor, text, octal),
    "mknodat": (descriptor, text, mode, device),
    "mount": (text, text, text, flags(Mount), text),
    "move_mount": (descriptor, text, descriptor, text, flags(MoveMount)),
    "open_tree": (descriptor, text, flags(OpenTree)),
    "personality": (PERSONALITY,),
    "pidfd_getfd": (descriptor, number),
    "pidfd_open": (number, number),
    "pidfd_send_signal": (descriptor, signal_name),
    "pivot_root": (text, text),
    "sched_setaffinity": (number, sequence(number, " ")),
    "setns": (descriptor, flags(Clone)),
    "setresgid": (number, number, number),
    "setresuid": (number, number, number),
    "setsid": (),
    "symlinkat": (text, descriptor, text),
    "umask": (octal,),
    "unlinkat": (descriptor, text, flags(Unlink)),
    "umount2": (text, flags(Umount)),
    "unshare": (flags(Clone),),
}
# Calls that are written well by the types of their arguments alone.
PLAIN = {
    # of `readable_prctl`
    *("limit_bounding", "set_ambient", "set_caps", "set_child_subreaper", "set_dumpable"),
    *("set_keepcaps", "set_no_new_privs", "set_pdeathsig", "set_securebits"),
}
# What the kernel is given and a wrapper leaves out, because it never changes.
CONSTANT = {"pidfd_getfd": "0", "pidfd_send_signal": "NULL, 0"}


def mount_setattr(arguments: Sequence[object]) -> str:
    """Write (dirfd, path, flags, attr_set, attr_clr, propagation, userns_fd)."""
    where, path, word, wanted, unwanted, propagation, userns = arguments
    attr = flags(MountAttr)
    change = f"attr_set={attr(wanted)}, attr_clr={attr(unwanted)}"
    rest = f"propagation={flags(Mount)(propagation)}, userns_fd={descriptor(userns)}"
    return f"{descriptor(where)}, {text(path)}, {flags(At)(word)}, {{{change}, {rest}}}, 32"


def named(arguments: Sequence[object]) -> str:
    """Write (name): the kernel also wants its length."""
    return f"{text(arguments[0])}, {len(raw(arguments[0]))}"


def setgroups(arguments: Sequence[object]) -> str:
    """Write (groups): the kernel also wants their number."""
    groups = arguments[0] if isinstance(arguments[0], list | tuple) else []
    return f"{len(groups)}, {anything(groups)}"


def fsetxattr(arguments: Sequence[object]) -> str:
    """Write (descriptor, name, value): the kernel also wants its length, and flags that are never given."""
    where, name, value = arguments
    return f"{descriptor(where)}, {text(name)}, {text(value)}, {len(raw(value))}, 0"


def tcsetattr(arguments: Sequence[object]) -> str:
    """Write (terminal, when, attributes): an ioctl(2); of the attributes the four words of flags."""
    where, when, attributes = arguments
    request = ("TCSETS", "TCSETSW", "TCSETSF")[whole(when)]
    words = attributes[:4] if isinstance(attributes, list | tuple) else []
    members = zip(("c_iflag", "c_oflag", "c_cflag", "c_lflag"), map(hexadecimal, words), strict=True)
    return f"{descriptor(where)}, {request}, {{{', '.join(f'{name}={word}' for name, word in members)}}}"


def write_id_map(arguments: Sequence[object]) -> str:
    """Write (pid, kind, lines): a write(2) to a file of /proc."""
    pid, kind, lines = arguments
    return f'"/proc/{pid or "self"}/{kind}", {text(lines)}'


def write_control(arguments: Sequence[object]) -> str:
    """Write (directory, name, value): a write(2) to a file below the directory, of a cgroup or of /proc."""
    directory, name, value = arguments
    return f"{descriptor(directory)}/{name}, {text(str(value))}"


def write_oom_score_adj(arguments: Sequence[object]) -> str:
    """Write (pid, value): a write(2) to a file of /proc."""
    pid, value = arguments
    return f'"/proc/{pid or "self"}/oom_score_adj", "{value}"'


WHOLE: dict[str, Callable[[Sequence[object]], str]] = {
    "bpf_prog_attach": structures.bpf_prog_attach,
    "bpf_prog_detach": structures.bpf_prog_detach,
    "bpf_prog_load": structures.bpf_prog_load,
    "capset": structures.capset,
    "clone3": structures.clone3,
    "execve": structures.execve,
    "fsetxattr": fsetxattr,
    "ioctl": structures.ioctl,
    "ioprio_set": structures.ioprio_set,
    "keyctl": structures.keyctl,
    "mount_setattr": mount_setattr,
    "openat2": structures.openat2,
    "prctl": structures.prctl,
    "prlimit64": structures.prlimit64,
    "sched_setattr": structures.sched_setattr,
    "seccomp": structures.seccomp,
    "sendmsg": structures.sendmsg,
    "sendto": structures.sendto,
    "set_mempolicy": structures.set_mempolicy,
    "setdomainname": named,
    "setgroups": setgroups,
    "tcsetattr": tcsetattr,
    "sethostname": named,
    "write_control": write_control,
    "write_id_map": write_id_map,
    "write_oom_score_adj": write_oom_score_adj,
    "write_procfs": write_control,
}
# Wrappers that are named for what they do, where one call does many things.
SPOKEN = {name: name.split("_")[0] for name in WHOLE if name.startswith(("bpf_", "write_"))}
SPOKEN["tcsetattr"] = "ioctl"


def spell_call(name: str, arguments: Sequence[object]) -> str:
    """Write a call as strace prints it, without its result.

    A descriptor may be given as `[7, "/run/x"]` and is then written `7</run/x>`, as `strace -y` does.
    A call that the tables do not know is written by the types of its arguments.
    """
    call = name.lstrip("_")
    try:
        inside = _inside(call, arguments)
    except (TypeError, ValueError):
        # Refused for an argument of a type that the kernel has no use for: that must be shown, not hidden.
        inside = ", ".join(map(anything, arguments))
    return f"{SPOKEN.get(call, call)}({inside})"


def _inside(call: str, arguments: Sequence[object]) -> str:
    if call in WHOLE:
        return WHOLE[call](arguments)
    spellers = ROWS.get(call, (anything,) * len(arguments))
    words = [spell(value) for spell, value in zip(spellers, arguments, strict=True)]
    if call in CONSTANT:
        words.append(CONSTANT[call])
    if call == "mknodat" and not arguments[-1]:
        words.pop()  # a FIFO or a file has no device number
    return ", ".join(words)


def spell_errno(number: int) -> str:
    """Write an errno by its name and what it says."""
    return f"{errno.errorcode.get(number, number)} ({os.strerror(number)})"


def spell_failure(call: str, arguments: Sequence[object], number: int) -> str:
    """Write a refused call, cut where it is longer than anybody reads, and the kernel's reason."""
    spelled = spell_call(call, arguments)
    if len(spelled) > LONGEST:
        spelled = f"{spelled[:LONGEST]}...)"
    return f"{spelled}: {spell_errno(number)}"
