"""Seccomp profiles for tests: Docker's, and made-up ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from minicontainer.oci.docker_profile import default_seccomp

DOCKER_CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP"),
        *("SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
    )
]
KERNEL = (6, 12)
X86 = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]

ACTIONS = [f"SCMP_ACT_{name}" for name in ("ALLOW", "KILL", "KILL_PROCESS", "TRAP", "ERRNO", "TRACE", "LOG")]
COMPARISONS = [f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")]
DIRECT = ["read", "write", "clone", "personality", "ioctl", "mount", "openat2", "execve", "fcntl", "prctl"]
"""Names with one number each on every architecture."""
NAMES = [*DIRECT, "socket", "socketcall", "semop", "recv", "ipc", "accept", "futex_time64", "no_such_call"]
VALUES = [0, 1, 2, 40, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40, 2**64 - 2**32, 2**64 - 1]


def docker(machine: str = "x86_64", capabilities: list[str] | None = None) -> dict[str, Any]:
    """Give Docker's profile as a container with Docker's capabilities gets it."""
    return default_seccomp(DOCKER_CAPABILITIES if capabilities is None else capabilities, machine, KERNEL)


def group(action: str, *names: str, **more: Any) -> dict[str, Any]:
    """Give one entry of `syscalls`."""
    return {"names": list(names), "action": f"SCMP_ACT_{action}", **more}


def condition(index: int, op: str, value: int, value_two: int = 0) -> dict[str, Any]:
    """Give one entry of `args`."""
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": value_two}


def profile(default: str, *groups: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Give a `linux.seccomp` object."""
    return {"defaultAction": f"SCMP_ACT_{default}", "syscalls": list(groups), **more}


values = st.sampled_from(VALUES) | st.integers(0, 2**64 - 1)
arguments = st.tuples(*[values] * 6)


def conditions(indexes: list[int], comparisons: list[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Give lists of conditions on these arguments; the same one can come twice if it is listed twice."""
    one = st.fixed_dictionaries(
        {"op": st.sampled_from(comparisons), "value": values}, optional={"valueTwo": values}
    )
    return st.lists(st.tuples(st.sampled_from(indexes), one), max_size=3).map(
        lambda chosen: [{"index": index, **each} for index, each in chosen]
    )


def profiles(groups: st.SearchStrategy[list[dict[str, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    """Give profiles with these groups, for some of the architectures of x86."""
    return st.fixed_dictionaries(
        {
            "defaultAction": st.sampled_from(ACTIONS),
            "architectures": st.lists(st.sampled_from(X86), unique=True),
            "syscalls": groups,
        }
    )


any_profile = profiles(
    st.lists(
        st.fixed_dictionaries(
            {
                "names": st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
                "action": st.sampled_from(ACTIONS),
                "args": conditions([0, 1, 5], COMPARISONS),
            }
        ),
        max_size=6,
    )
)
