"""What runc does with a profile and libseccomp, in a few lines: the oracle of the seccomp compiler.

The library is the newest at hand: that of the peers (`make peers`), else the machine's.

See runc's libcontainer/seccomp/seccomp_linux.go ("matchCall") and patchbpf; seccomp_rule_add(3).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import tempfile
from typing import Any

from tests.linux.classic_bpf import decode, run, seccomp_data
from tests.peers import peers_directory

PEERS = peers_directory() / "usr/lib/x86_64-linux-gnu/libseccomp.so.2"
SCMP_FLTATR_CTL_OPTIMIZE = 8
TREE = 2
ENOSYS = 0x00050000 | errno.ENOSYS
TOKENS = {
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
}
AUDIT = TOKENS | {"SCMP_ARCH_X32": 0xC000003E}
ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
OPERATORS = {
    f"SCMP_CMP_{name}": 1 + n for n, name in enumerate(["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"])
}


class Comparison(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


@functools.cache
def library() -> Any:
    """Load libseccomp."""
    found = ctypes.CDLL(str(PEERS) if PEERS.exists() else "libseccomp.so.2")
    found.seccomp_init.restype = ctypes.c_void_p
    found.seccomp_init.argtypes = [ctypes.c_uint32]
    found.seccomp_release.argtypes = [ctypes.c_void_p]
    found.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    found.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    found.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(Comparison),
    ]
    found.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    found.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    found.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
    found.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p  # leaks a few bytes a call, in a test
    return found


def number_of(name: str, architecture: str = "SCMP_ARCH_X86_64") -> int:
    """Give the number of a call: -1 for an unknown name, below that for a call of other machines."""
    return int(library().seccomp_syscall_resolve_name_arch(TOKENS[architecture], name.encode()))


def name_of(number: int, architecture: str) -> str | None:
    """Give the name of a number, None where there is none."""
    found = library().seccomp_syscall_resolve_num_arch(TOKENS[architecture], number)
    return None if found is None else found.decode()


def action(name: str, errno_ret: int | None) -> int:
    """Give the 32 bits that a filter answers."""
    takes_number = name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
    return ACTIONS[name] | ((errno.EPERM if errno_ret is None else errno_ret) if takes_number else 0)


class Oracle:
    """The filter that runc would load on x86-64."""

    def __init__(self, profile: dict[str, Any]) -> None:
        self._profile = profile
        self._architectures = {"SCMP_ARCH_X86_64", *(profile.get("architectures") or [])}
        self._default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
        self._filter = decode(self._export())
        self._last = {name: self._last_number(name) for name in self._architectures}

    def _export(self) -> bytes:
        context = library().seccomp_init(self._default)
        try:
            for name in self._architectures:
                assert library().seccomp_arch_add(context, TOKENS[name]) in (0, -errno.EEXIST)
            if sum(len(group["names"]) for group in self._profile["syscalls"]) > 32:
                assert library().seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, TREE) == 0
            for group in self._profile["syscalls"]:
                for name in group["names"]:
                    self._add(context, group, name)
            with tempfile.TemporaryFile() as file:
                assert library().seccomp_export_bpf(context, file.fileno()) == 0
                file.seek(0)
                return file.read()
        finally:
            library().seccomp_release(context)

    def _add(self, context: int, group: dict[str, Any], name: str) -> None:
        answer = action(group["action"], group.get("errnoRet"))
        if answer == self._default or number_of(name) == -1:
            return
        given = [
            Comparison(each["index"], OPERATORS[each["op"]], each["value"], each.get("valueTwo") or 0)
            for each in group.get("args") or []
        ]
        shared = len({each.arg for each in given}) < len(given)
        for comparisons in [[each] for each in given] if shared else [given]:
            array = (Comparison * len(comparisons))(*comparisons)
            done = library().seccomp_rule_add_array(context, answer, number_of(name), len(comparisons), array)
            assert done == 0, f"{name}: {errno.errorcode[-done]}"

    def _last_number(self, architecture: str) -> int:
        names = [name for group in self._profile["syscalls"] for name in group["names"]]
        return max([0, *(number_of(name, architecture) for name in names)])

    def __call__(self, number: int, architecture: str, arguments: tuple[int, ...] = ()) -> int:
        """Give the verdict on one call."""
        mode = architecture
        if AUDIT[architecture] == AUDIT["SCMP_ARCH_X86_64"]:
            mode = "SCMP_ARCH_X32" if number & (1 << 30) else "SCMP_ARCH_X86_64"
        last = self._last.get(mode, 0)
        permissive = self._profile["defaultAction"] in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
        if last and number > last and not permissive:
            return ENOSYS
        return run(self._filter, seccomp_data(number, AUDIT[architecture], arguments))[0]

    def __len__(self) -> int:
        """Count its instructions."""
        return len(self._filter)
