"""The reader of strace's lines: every form that a watched call can have."""

from __future__ import annotations

import pytest

from tests.explain.words import Descriptor, Line, Macro, Name, Struct, Unreadable, read_line


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ('sethostname("demo", 4) = 0', "sethostname", (b"demo", 4)),
        ("setsid() = 12", "setsid", ()),
        ('mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV, NULL) = 0', "mount",
         (b"proc", b"/proc", b"proc", frozenset({"MS_NOSUID", "MS_NODEV"}), None)),
        ("umount2(\".\", MNT_DETACH)          = 0", "umount2", (b".", Name("MNT_DETACH"))),
        ('mkdirat(AT_FDCWD</root>, "a\\n\\"b\\\\\\33\\x41", 0755) = 0', "mkdirat",
         (Name("AT_FDCWD"), b'a\n"b\\\x1bA', 0o755)),
        ("setns(7<net:[4026531840]>, CLONE_NEWNET) = 0", "setns",
         (Descriptor("net:[4026531840]"), Name("CLONE_NEWNET"))),
        ('write(3</memfd:story>(deleted), "x", 1) = 1', "write", (Descriptor("/memfd:story"), b"x", 1)),
        ('write(7</sys/fs/cgroup/x>/cgroup.procs, "1")', "write",
         (Descriptor("/sys/fs/cgroup/x/cgroup.procs"), b"1")),
        ('mknodat(8</dev>, "null", S_IFCHR|0666, makedev(0x1, 0x3)) = 0', "mknodat",
         (Descriptor("/dev"), b"null", frozenset({"S_IFCHR", 0o666}), Macro("makedev", (1, 3)))),
        ("capset({version=V3, pid=0}, {effective=1<<CAP_CHOWN|1<<CAP_KILL, permitted=0}) = 0", "capset",
         (Struct((("version", Name("V3")), ("pid", 0))),
          Struct((("effective", frozenset({"1<<CAP_CHOWN", "1<<CAP_KILL"})), ("permitted", 0))))),
        ("clone3({flags=CLONE_NEWNS, exit_signal=SIGCHLD, cgroup=5} => {pidfd=[6]}, 88) = 17", "clone3",
         (Struct((("flags", Name("CLONE_NEWNS")), ("exit_signal", Name("SIGCHLD")), ("cgroup", 5))), 88)),
        ("clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD) = 3", "clone",
         (None, frozenset({"CLONE_CHILD_SETTID", "SIGCHLD"}))),
        ("prlimit64(0, RLIMIT_STACK, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}, NULL) = 0", "prlimit64",
         (0, Name("RLIMIT_STACK"),
          Struct((("rlim_cur", 8192 * 1024), ("rlim_max", Name("RLIM64_INFINITY")))), None)),
        ('execve("/bin/sh", ["sh"], [/* 2 vars */]) = 0', "execve", (b"/bin/sh", (b"sh",), ())),
        ("f(0x10 /* MS_??? */, [1 2], ~[RTMIN]) = 0", "f", (16, (1, 2), Macro("~", (Name("RTMIN"),)))),
    ],
)  # fmt: skip
def test_a_line_is_read(text: str, name: str, arguments: tuple[object, ...]) -> None:
    found = read_line(text)
    assert (found.name, found.arguments, found.errno) == (name, arguments, "")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("setuid(5) = -1 EPERM (Operation not permitted)", Line("setuid", (5,), -1, "EPERM")),
        ("umask(022) = 077", Line("umask", (0o22,), 0o77)),
        ("openat(1) = 5</sys/fs/cgroup>", Line("openat", (1,), 5, named="/sys/fs/cgroup")),
        ("memfd_create(1) = 3</memfd:story>(deleted)", Line("memfd_create", (1,), 3, named="/memfd:story")),
        ("clone(1) = 2 /* 17316 in strace's PID NS */", Line("clone", (1,), 2, outside=17316)),
        ("execve(1) = ?", Line("execve", (1,), None)),
        ("execve(1)", Line("execve", (1,), None)),
    ],
)
def test_the_result_is_read(text: str, line: Line) -> None:
    assert read_line(text) == line


@pytest.mark.parametrize(
    "text", ['f("cut"...) = 0', "f(1", "f(1 2 3}) = 0", "f(@) = 0", "not a call", "f(1) = x y"]
)
def test_what_cannot_be_read_is_an_error_and_not_left_out(text: str) -> None:
    with pytest.raises(Unreadable):
        read_line(text)
