"""How calls are written whose arguments are structures, or mean what another argument says.

Each function gets the wrapper's arguments and writes what stands between the brackets.

See the man page of each call; strace(1).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from minicontainer.linux import netlink, network, rlimits, scheduling
from minicontainer.linux.capabilities import NUMBERS as CAPABILITIES
from minicontainer.linux.flags import (
    Ambient,
    Clone,
    Interface,
    Ioctl,
    Keyctl,
    KeyPermission,
    Message,
    Prctl,
    SeccompFilter,
    SeccompOperation,
    Securebits,
)
from minicontainer.linux.words import (
    anything,
    descriptor,
    flags,
    hexadecimal,
    one_of,
    opening,
    raw,
    signal_name,
    text,
    whole,
)

Arguments = Sequence[object]
capability = one_of(CAPABILITIES)
# What the second argument of prctl means.
SECOND = {
    "PR_SET_PDEATHSIG": signal_name,
    "PR_SET_SECUREBITS": flags(Securebits),
    "PR_SET_DUMPABLE": one_of({"SUID_DUMP_DISABLE": 0, "SUID_DUMP_USER": 1, "SUID_DUMP_ROOT": 2}),
}
MESSAGES = {"RTM_NEWLINK": 16, "RTM_DELLINK": 17, "RTM_NEWADDR": 20, "RTM_NEWROUTE": 24}
LINK_ATTRIBUTES = {"IFLA_IFNAME": network.IFLA_IFNAME, "IFLA_NET_NS_FD": network.IFLA_NET_NS_FD}
ADDRESS_ATTRIBUTES = {
    "IFA_ADDRESS": network.IFA_ADDRESS,
    "IFA_LOCAL": network.IFA_LOCAL,
    "IFA_BROADCAST": network.IFA_BROADCAST,
}


def clone3(arguments: Arguments) -> str:
    """Write (flags, exit_signal, cgroup), and the flags that the wrapper adds by itself."""
    word, signal, cgroup = arguments
    into = "" if cgroup == -1 else f", cgroup={descriptor(cgroup)}"
    asked = whole(word) | Clone.CLONE_PIDFD | (Clone.CLONE_INTO_CGROUP if into else 0)
    return f"{{flags={flags(Clone)(asked)}, exit_signal={signal_name(signal) if signal else 0}{into}}}"


def openat2(arguments: Arguments) -> str:
    """Write (dirfd, path, flags)."""
    directory, path, word = arguments
    return f"{descriptor(directory)}, {text(path)}, {{flags={opening(word)}}}"


def capset(arguments: Arguments) -> str:
    """Write (effective, permitted, inheritable)."""
    sets = zip(("effective", "permitted", "inheritable"), arguments, strict=True)
    shown = ", ".join(f"{name}={capability_set(bits)}" for name, bits in sets)
    return f"{{version=_LINUX_CAPABILITY_VERSION_3, pid=0}}, {{{shown}}}"


def capability_set(value: object) -> str:
    """Write a set of capabilities."""
    bits = whole(value)
    return "|".join(f"1<<{capability(n)}" for n in range(64) if bits >> n & 1) or "0"


def prctl(arguments: Arguments) -> str:
    """Write (option, arg2, arg3): how many count, and what they mean, depends on the option."""
    option, second, third = (*arguments, 0, 0)[:3]
    name = one_of(Prctl)(option)
    if name in ("PR_CAPBSET_DROP", "PR_CAPBSET_READ"):
        return f"{name}, {capability(second)}"
    if name == "PR_CAP_AMBIENT":
        clear = second == Ambient.PR_CAP_AMBIENT_CLEAR_ALL
        return f"{name}, {one_of(Ambient)(second)}, {0 if clear else capability(third)}, 0, 0"
    if name == "PR_SET_NO_NEW_PRIVS":
        return f"{name}, {second}, 0, 0, 0"
    return name if name.startswith("PR_GET") else f"{name}, {SECOND.get(name, anything)(second)}"


def seccomp(arguments: Arguments) -> str:
    """Write (operation, flags, program): of the program only its length."""
    operation, word, program = arguments
    shown = f"{one_of(SeccompOperation)(operation)}, {flags(SeccompFilter)(word)}"
    return f"{shown}, {{len={len(raw(program)) // 8}}}"


def ioctl(arguments: Arguments) -> str:
    """Write (descriptor, request, argument)."""
    where, request, argument = (*arguments, 0)[:3]
    name = one_of(Ioctl)(request)
    if name == "TIOCGPTPEER":
        shown = opening(argument)
    elif isinstance(argument, int):
        shown = str(argument)
    else:
        shown = _block(name, raw(argument))
    return f"{descriptor(where)}, {name}, {shown}"


def _block(name: str, data: bytes) -> str:
    """Write the structure that an ioctl was given."""
    if name == "TIOCSPTLCK":
        return f"[{int.from_bytes(data, 'little')}]"
    if name == "TIOCSWINSZ":
        sizes = [int.from_bytes(data[at : at + 2], "little") for at in range(0, 8, 2)]
        return "{{ws_row={}, ws_col={}, ws_xpixel={}, ws_ypixel={}}}".format(*sizes)
    if name == "SIOCSIFFLAGS":
        word = flags(Interface)(int.from_bytes(data[16:18], "little"))
        return f"{{ifr_name={text(data[:16].rstrip(bytes(1)))}, ifr_flags={word}}}"
    return text(data)


def sendmsg(arguments: Arguments) -> str:
    """Write (connection, data, passed)."""
    connection, data, passed = arguments
    vector = f"msg_iov=[{{iov_base={text(data)}, iov_len={len(raw(data))}}}]"
    control = f"msg_control=[{{cmsg_type=SCM_RIGHTS, cmsg_data=[{descriptor(passed)}]}}]"
    return f"{descriptor(connection)}, {{{vector}, {control}}}, MSG_NOSIGNAL"


def sendto(arguments: Arguments) -> str:
    """Write (descriptor, request): a netlink message with its attributes."""
    where, request = arguments
    data = raw(request)
    head = int.from_bytes(data[4:8], "little")
    name = one_of(MESSAGES)(head & 0xFFFF)
    header = f"{{nlmsg_type={name}, nlmsg_flags={flags(Message)(head >> 16)}}}"
    return f"{descriptor(where)}, [{', '.join([header, *_body(name, data[netlink.HEADER :])])}]"


def _body(name: str, data: bytes) -> list[str]:
    if name == "RTM_NEWLINK":
        index, word, change = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8, 12))
        spell = flags(Interface)
        fixed = f"{{ifi_index={index}, ifi_flags={spell(word)}, ifi_change={spell(change)}}}"
        return [fixed, *_attributes(data[network.INFO :], LINK_ATTRIBUTES)]
    if name == "RTM_NEWADDR":
        index = int.from_bytes(data[4:8], "little")
        fixed = f"{{ifa_family={data[0]}, ifa_prefixlen={data[1]}, ifa_index={index}}}"
        return [fixed, *_attributes(data[network.ADDRESS :], ADDRESS_ATTRIBUTES)]
    return [text(data)]


def _attributes(data: bytes, names: dict[str, int]) -> list[str]:
    found = netlink.attributes(data).items()
    return [f"{{{one_of(names)(kind)}, {_value(kind, names, value)}}}" for kind, value in found]


def _value(kind: int, names: dict[str, int], value: bytes) -> str:
    if names is ADDRESS_ATTRIBUTES:
        return str(ipaddress.ip_address(value))
    name = one_of(names)(kind)
    return str(int.from_bytes(value, "little")) if name == "IFLA_NET_NS_FD" else text(value.rstrip(b"\0"))


def prlimit64(arguments: Arguments) -> str:
    """Write (pid, resource, soft, hard)."""
    pid, resource, *limits = arguments
    soft, hard = ("RLIM64_INFINITY" if whole(n) in (-1, rlimits.RLIM_INFINITY) else n for n in limits)
    return f"{pid}, {one_of(rlimits.NUMBERS)(resource)}, {{rlim_cur={soft}, rlim_max={hard}}}, NULL"


def sched_setattr(arguments: Arguments) -> str:
    """Write (pid, attributes, flags)."""
    pid, attributes, word = (*arguments, 0)[:3]
    policy, policy_flags, *rest = attributes if isinstance(attributes, list | tuple) else []
    names = ("nice", "priority", "runtime", "deadline", "period")
    shown = [f"sched_policy={one_of(scheduling.POLICIES)(policy)}"]
    shown.append(f"sched_flags={joined(policy_flags, scheduling.SCHEDULER_FLAGS)}")
    shown += [f"sched_{name}={value}" for name, value in zip(names, rest, strict=True)]
    return f"{pid}, {{size=48, {', '.join(shown)}}}, {word}"


def joined(value: object, names: dict[str, int]) -> str:
    """Write a word of flags whose names stand in a table."""
    word = whole(value)
    known = [name for name, bits in names.items() if word & bits]
    left = word & ~sum(names.values())
    return "|".join(known + ([hex(left)] if left else [])) or "0"


def ioprio_set(arguments: Arguments) -> str:
    """Write (which, who, ioprio)."""
    which, who, value = arguments
    word = whole(value)
    io_class = one_of(scheduling.IO_CLASSES)(word >> scheduling.IOPRIO_CLASS_SHIFT)
    priority = word & (1 << scheduling.IOPRIO_CLASS_SHIFT) - 1
    return f"{one_of({'IOPRIO_WHO_PROCESS': 1})(which)}, {who}, IOPRIO_PRIO_VALUE({io_class}, {priority})"


def set_mempolicy(arguments: Arguments) -> str:
    """Write (mode, nodes)."""
    word, nodes = arguments
    bits = sum(scheduling.MEMORY_FLAGS.values())
    policy = one_of(scheduling.MEMORY_MODES)(whole(word) & ~bits)
    extra = joined(whole(word) & bits, scheduling.MEMORY_FLAGS)
    return f"{policy if extra == '0' else f'{policy}|{extra}'}, {anything(nodes) if nodes else 'NULL'}"


def keyctl(arguments: Arguments) -> str:
    """Write (operation, argument, second)."""
    operation, argument, second = (*arguments, 0)[:3]
    name = one_of(Keyctl)(operation)
    if name == "KEYCTL_SETPERM":
        return f"{name}, {argument}, {flags(KeyPermission)(second)}"
    return f"{name}, {anything(argument)}" + (f", {hexadecimal(second)}" if second else "")


def execve(arguments: Arguments) -> str:
    """Write (path, argv, envp): of the environment only its size."""
    path, argv, envp = arguments
    size = len(envp) if isinstance(envp, list | tuple | dict) else 0
    return f"{text(path)}, {anything(argv)}, [/* {size} vars */]"


def bpf_prog_load(arguments: Arguments) -> str:
    """Write (program, name): of the program only its length."""
    program, name = arguments
    kind = "prog_type=BPF_PROG_TYPE_CGROUP_DEVICE"
    return f"BPF_PROG_LOAD, {{{kind}, insn_cnt={len(raw(program)) // 8}, prog_name={text(name)}}}"


def bpf_prog_attach(arguments: Arguments) -> str:
    """Write (cgroup, program, replaced)."""
    cgroup, program, replaced = (*arguments, -1)[:3]
    where = (
        f"target_fd={descriptor(cgroup)}, attach_bpf_fd={descriptor(program)}, attach_type=BPF_CGROUP_DEVICE"
    )
    how = "BPF_F_ALLOW_MULTI" if replaced == -1 else "BPF_F_ALLOW_MULTI|BPF_F_REPLACE"
    old = "" if replaced == -1 else f", replace_bpf_fd={descriptor(replaced)}"
    return f"BPF_PROG_ATTACH, {{{where}, attach_flags={how}{old}}}"


def bpf_prog_detach(arguments: Arguments) -> str:
    """Write (cgroup, program)."""
    cgroup, program = map(descriptor, arguments)
    return f"BPF_PROG_DETACH, {{target_fd={cgroup}, attach_bpf_fd={program}, attach_type=BPF_CGROUP_DEVICE}}"
