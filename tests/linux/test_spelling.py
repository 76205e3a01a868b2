"""Calls are written as strace writes them; and the constants of the hot modules are those of the enums."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minicontainer.linux
from minicontainer.errors import KernelError
from minicontainer.linux import flags, netlink, network, process, spelling, words
from minicontainer.linux.kernel import u32
from minicontainer.linux.mounts import MOUNT_ATTR__ATIME, MOUNT_ATTR_IDMAP
from minicontainer.linux.spelling import spell_call, spell_failure
from minicontainer.trace.file import DESCRIPTORS
from tests.linux import calls_under_strace

HERE = Path(__file__).resolve().parents[2]
LINUX = Path(minicontainer.linux.__file__).parent
# What strace adds (the addresses and sizes of structures) or writes as a bare number.
STRACE_ADDS = [
    (r"^(sched_setaffinity\(\d+, )\d+, ", r"\1"),
    (r", filter=0x[0-9a-f]+", ""),
    (r"\bpidfd=0x[0-9a-f]+, |, stack=NULL, stack_size=0| => \{pidfd=\[.*\]\}, \d+(?=\))", ""),
    (r"\[0x0*1\], 65", "[0]"),
    (r"(set_mempolicy\(MPOL_DEFAULT, NULL), 0", r"\1"),
    (r"msg_name=NULL, msg_namelen=0, |, msg_iovlen=1|cmsg_len=20, cmsg_level=SOL_SOCKET, ", ""),
    (r", msg_controllen=24, msg_flags=0", ""),
    (r"TIOCGPTPEER, 0x80102", "TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC"),
    (r"(?<=KEYCTL_SETPERM, )(\d+), ([A-Z_|]+)", r"\1, \2"),
]


@pytest.mark.requires("root", "tool:strace")
def test_a_traced_call_is_written_as_strace_writes_it(tmp_path: Path) -> None:
    told, seen = story(tmp_path)
    assert len(told) > 50
    # What a mount's descriptor names changes with the call itself: strace looks before, we after.
    assert [re.sub(r"^move_mount\(\d+<[^>]*>", "move_mount(", call) for call in told] == [
        re.sub(r"^move_mount\(\d+<[^>]*>", "move_mount(", call) for call in seen
    ]


def story(folder: Path) -> tuple[list[str], list[str]]:
    """Run the program under strace; return its calls as we tell them and as strace saw them."""
    trace, log = folder / "trace", folder / "strace"
    program = [sys.executable, "-m", calls_under_strace.__name__, str(trace), str(folder / "root")]
    subprocess.run(["strace", "-y", "-qq", "-s", "1000", "-o", log, *program], check=True, cwd=HERE)
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    told = [spell_call(event["name"], event["arguments"]) for event in events]
    lines = [line for line in log.read_text().splitlines() if "unfinished" not in line]
    first = next(number for number, line in enumerate(lines) if line.startswith("unshare("))
    names = {event["name"] for event in events}
    calls = [normal(line) for line in lines[first:] if line.split("(")[0] in names]
    return told, [call for call in calls if not call.startswith("keyctl(KEYCTL_DESCRIBE")]


def normal(line: str) -> str:
    """Take the result away, and what strace alone can see."""
    call = re.sub(r"\)\s+= \S.*$", ")", line)
    for pattern, replacement in STRACE_ADDS:
        call = re.sub(pattern, replacement, call)
    return call


def test_a_failure_is_the_call_and_the_reason() -> None:
    told = spell_failure("mount", ("proc", "/proc", "proc", 6, None), 1)
    assert told == 'mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV, NULL): EPERM (Operation not permitted)'


def test_a_kernel_error_prints_as_strace_would() -> None:
    with pytest.raises(KernelError) as caught:
        process.kill(2**22 + 1, 15)
    assert str(caught.value) == f"kill({2**22 + 1}, SIGTERM): ESRCH (No such process)"


@pytest.mark.parametrize(
    ("name", "arguments", "written"),
    [
        ("setns", ([7, "net:[4026531840]"], 0), "setns(7<net:[4026531840]>, 0)"),
        ("unshare", (0x10000001,), "unshare(CLONE_NEWUSER|0x1)"),
        ("write_id_map", (0, "setgroups", "deny"), 'write("/proc/self/setgroups", "deny")'),
        ("write_id_map", (12, "uid_map", "0 1000 1\n"), 'write("/proc/12/uid_map", "0 1000 1\\n")'),
        ("write_control", ([5, "/cg/x"], "cpu.max", "20%"), 'write(5</cg/x>/cpu.max, "20%")'),
        ("_execve", ("/bin/sh", ["sh", "-c"], ["A=1"]), 'execve("/bin/sh", ["sh", "-c"], [/* 1 vars */])'),
        ("openat2", (-100, "x", 0o12000000), 'openat2(AT_FDCWD, "x", {flags=O_RDONLY|O_CLOEXEC|O_PATH})'),
        ("umask", (0,), "umask(000)"),
        (
            "tcsetattr",
            ([0, "/dev/pts/0"], 1, [0, 4, 0xBF, 0xA30, 15, 15, []]),
            "ioctl(0</dev/pts/0>, TCSETSW, {c_iflag=0, c_oflag=0x4, c_cflag=0xbf, c_lflag=0xa30})",
        ),
        ("write_oom_score_adj", (0, 5), 'write("/proc/self/oom_score_adj", "5")'),
        ("write_oom_score_adj", (7, -5), 'write("/proc/7/oom_score_adj", "-5")'),
        ("write_procfs", ([4, "/proc"], "sys/a", "1"), 'write(4</proc>/sys/a, "1")'),
        (
            "bpf_prog_attach",
            ([3, "/cg"], 4, 5),
            "bpf(BPF_PROG_ATTACH, {target_fd=3</cg>, attach_bpf_fd=4, attach_type=BPF_CGROUP_DEVICE, "
            "attach_flags=BPF_F_ALLOW_MULTI|BPF_F_REPLACE, replace_bpf_fd=5})",
        ),
        (
            "bpf_prog_load",
            (bytes(16), "devices"),
            'bpf(BPF_PROG_LOAD, {prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt=2, prog_name="devices"})',
        ),
        ("unheard_of", ("a", 3, None, [1, b"\xff"]), 'unheard_of("a", 3, NULL, [1, "\\xff"])'),
        ("unheard_of", ({"k": "v"},), 'unheard_of({k="v"})'),
        ("mount", ("one", "argument", "missing"), 'mount("one", "argument", "missing")'),
        ("kill", (1, "TERM"), 'kill(1, "TERM")'),
        (
            "clone3",
            (0x20000000, 17, [9, "/cg"]),
            "clone3({flags=CLONE_PIDFD|CLONE_NEWPID|CLONE_INTO_CGROUP, exit_signal=SIGCHLD, cgroup=9</cg>})",
        ),
        (
            "mount_setattr",
            (4, "", 0x1000, MOUNT_ATTR_IDMAP, MOUNT_ATTR__ATIME, 0, 8),
            'mount_setattr(4, "", AT_EMPTY_PATH, {attr_set=MOUNT_ATTR_IDMAP, attr_clr=MOUNT_ATTR__ATIME, '
            "propagation=0, userns_fd=8}, 32)",
        ),
    ],
)
def test_what_strace_cannot_show_or_shows_otherwise(
    name: str, arguments: tuple[object, ...], written: str
) -> None:
    assert spell_call(name, arguments) == written


def test_a_netlink_request_is_written_by_message_and_attributes() -> None:
    link = bytes(4) + u32(2, 0, 1) + netlink.attribute(28, u32(9)) + netlink.attribute(3, b"eth0\0")
    assert spell_call("sendto", (3, netlink.message(16, 5, link))) == (
        "sendto(3, [{nlmsg_type=RTM_NEWLINK, nlmsg_flags=NLM_F_REQUEST|NLM_F_ACK}, "
        '{ifi_index=2, ifi_flags=0, ifi_change=IFF_UP}, {IFLA_NET_NS_FD, 9}, {IFLA_IFNAME, "eth0"}])'
    )
    address = bytes([2, 24, 0, 0]) + u32(2) + netlink.attribute(network.IFA_LOCAL, bytes([10, 0, 0, 1]))
    assert spell_call("sendto", (3, netlink.message(20, 1, address))).endswith(
        "{ifa_family=2, ifa_prefixlen=24, ifa_index=2}, {IFA_LOCAL, 10.0.0.1}])"
    )


# --- the cold form and the hot one -------------------------------------------------------------

HOT = [name for _, name, _ in pkgutil.iter_modules([str(LINUX)])]
ENUMS = [kind for kind in vars(flags).values() if getattr(kind, "__module__", "") == flags.__name__]
PREFIXES = sorted({name.split("_")[0] + "_" for kind in ENUMS for name in kind.__members__})
NAMED = {name: member.value for kind in ENUMS for name, member in kind.__members__.items()}
# The absence of flags; and numbers that are no flags of any call.
NOT_IN_THE_ENUMS = {"MOUNT_ATTR_RELATIME", "AT_FDCWD", "NLM_F_DUMP", "S_IFMT"}


def constants(module: str) -> dict[str, int]:
    """Give the integers that a module defines itself, whose names begin as the kernel's flags do."""
    found = vars(importlib.import_module(f"minicontainer.linux.{module}"))
    tree = ast.parse((LINUX / f"{module}.py").read_text())
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {
        name: value
        for name, value in found.items()
        if name in own and isinstance(value, int) and name.startswith(tuple(PREFIXES))
    }


@pytest.mark.parametrize("module", [name for name in HOT if name != "flags" and constants(name)])
def test_the_constants_of_a_hot_module_equal_the_enums(module: str) -> None:
    wanted = {name: value for name, value in constants(module).items() if name not in NOT_IN_THE_ENUMS}
    assert wanted == {name: NAMED.get(name) for name in wanted}


def kernel_calls() -> dict[str, ast.FunctionDef]:
    """Find every function of the package that is marked as a kernel call."""
    found = {}
    for path in sorted(LINUX.parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            marks = node.decorator_list if isinstance(node, ast.FunctionDef) else []
            if isinstance(node, ast.FunctionDef) and any(ast.unparse(m) == "kernel_call" for m in marks):
                found[node.name] = node
    return found


def test_every_kernel_call_has_a_spelling() -> None:
    told = {name.lstrip("_") for name in kernel_calls()}
    assert told - set(spelling.ROWS) - set(spelling.WHOLE) - spelling.PLAIN == set()


def test_a_spelling_has_as_many_words_as_the_call_has_arguments() -> None:
    calls = {name.lstrip("_"): node for name, node in kernel_calls().items()}
    different = {
        name: len(row)
        for name, row in spelling.ROWS.items()
        if name in calls and len(row) != len(calls[name].args.args)
    }
    assert different == {}


def test_the_trace_knows_which_arguments_are_descriptors() -> None:
    calls = kernel_calls()
    for name in sorted(calls.keys() & spelling.ROWS.keys()):
        positions = tuple(n for n, word in enumerate(spelling.ROWS[name]) if word is words.descriptor)
        assert DESCRIPTORS.get(name, ()) == positions, name
