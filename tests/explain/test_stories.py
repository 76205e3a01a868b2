"""The comparison itself: a story that is not true is found out, whatever is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.explain.calls import counts, read_call
from tests.explain.stories import Process, differences, printed, read_page, read_strace, read_trace
from tests.explain.words import read_line

RUNTIME = """\
execve("/usr/bin/python3", ["python3"], ["PATH=/bin"]) = 0
prctl(PR_GET_DUMPABLE) = 1
unshare(CLONE_NEWNS)                    = 0
openat(AT_FDCWD</>, "/sys/fs/cgroup/x", O_RDONLY) = 5</sys/fs/cgroup/x>
write(2<pipe:[1]>, "what the user sees", 18) = 18
clone3({flags=CLONE_PIDFD|CLONE_NEWPID|CLONE_NEWNS|CLONE_INTO_CGROUP, pidfd=0x7f, exit_signal=SIGCHLD, \
stack=NULL, stack_size=0, cgroup=5} => {pidfd=[6]}, 88) = 20
write(7</proc/20/oom_score_adj>, "0", 1) = 1
unlinkat(5</sys/fs/cgroup>, "x", AT_REMOVEDIR) = 0
"""
INIT = """\
mount(NULL, "/", NULL, MS_REC|MS_SLAVE, NULL) = 0
setgroups(0, [])                        = -1 EPERM (Operation not permitted)
seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=1, filter=[BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW)]}) = 0
execve("/bin/true", ["true"], ["A=1", "B=2"]) = 0
mount("what", "the", "program", 0, "does") = 0
"""
ALLOW = "\x06\x00\x00\x00\x00\x00\udcff\x7f"  # that filter, as the trace file writes bytes


def called(role: str, name: str, *arguments: object, result: object = None, errno: int = 0) -> dict[str, Any]:
    pid = {"runtime": 10, "init": 1}[role]
    return {"kind": "called", "role": role, "pid": pid, "at": 0.5, "name": name, "arguments": list(arguments),
            "result": result, "errno": errno}  # fmt: skip


def true_story() -> list[dict[str, Any]]:
    return [
        called("runtime", "unshare", 0x20000),
        called("runtime", "clone3", 0x20020000, 17, [5, "/sys/fs/cgroup/x"], result=[20, 6]),
        called("init", "mount", None, "/", None, 0x84000, None),
        called("runtime", "write_oom_score_adj", 20, 0),
        called("init", "setgroups", [], errno=1),
        called("init", "seccomp", 1, 0, ALLOW),
        {**called("init", "execve", "/bin/true", ["true"], ["B=2", "A=1"]), "kind": "calling"},
        called("runtime", "unlinkat", [5, "/sys/fs/cgroup"], "x", 0x200),
    ]


@pytest.fixture
def seen(tmp_path: Path) -> list[Process]:
    (tmp_path / "log.10").write_text(RUNTIME)
    (tmp_path / "log.20").write_text(INIT)
    return read_strace(tmp_path / "log")


def compare(story: list[dict[str, Any]], seen: list[Process]) -> list[str]:
    return differences(read_trace("".join(json.dumps(event) + "\n" for event in story)), seen)


def test_a_true_story_has_no_differences(seen: list[Process]) -> None:
    assert compare(true_story(), seen) == []
    assert [len(process.calls) for process in seen] == [5, 5]


@pytest.mark.parametrize("number", range(8))
def test_a_call_that_is_not_told_is_found(seen: list[Process], number: int) -> None:
    story = true_story()
    del story[number]
    assert compare(story, seen) != []


@pytest.mark.parametrize("number", range(9))
def test_a_call_that_was_never_made_is_found(seen: list[Process], number: int) -> None:
    for role in ("runtime", "init"):
        story = true_story()
        story.insert(number, called(role, "sethostname", "invented"))
        assert compare(story, seen) != []


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, {"arguments": [0x20000 | 0x4000000]}),  # a flag more
        (1, {"arguments": [0x20000000, 17, [5, "/sys/fs/cgroup/x"]]}),  # a flag less
        (1, {"arguments": [0x20020000, 17, [5, "/sys/fs/cgroup/y"]]}),  # another cgroup
        (2, {"arguments": [None, "/", None, 0x44000, None]}),  # private instead of slave
        (3, {"arguments": [20, 1]}),  # another value
        (3, {"arguments": [21, 0]}),  # another process
        (4, {"errno": 0}),  # it was refused
        (4, {"errno": 22}),  # for another reason
        (5, {"arguments": [1, 0, "\x06\x00\x00\x00\x00\x00\x05\x00"]}),  # another filter of the same length
        (6, {"arguments": ["/bin/true", ["true"], ["A=1"]]}),  # a variable less
        (6, {"arguments": ["/bin/false", ["true"], ["A=1", "B=2"]]}),
        (7, {"arguments": [[5, "/sys/fs"], "x", 0x200]}),
        (7, {"role": "init", "pid": 1}),  # somebody else did it
    ],
)
def test_a_call_that_is_told_wrongly_is_found(
    seen: list[Process], number: int, change: dict[str, Any]
) -> None:
    story = true_story()
    story[number] = story[number] | change
    assert compare(story, seen) != []


def test_two_calls_of_one_process_in_the_wrong_order_are_found(seen: list[Process]) -> None:
    story = true_story()
    story[4], story[5] = story[5], story[4]
    assert compare(story, seen) != []


def test_the_order_between_processes_is_free(seen: list[Process]) -> None:
    story = true_story()
    story[2], story[3] = story[3], story[2]
    assert compare(story, seen) == []


def test_a_process_that_says_nothing_is_found(seen: list[Process]) -> None:
    assert compare([event for event in true_story() if event["role"] == "runtime"], seen) != []


def test_an_empty_story_is_not_a_true_one(seen: list[Process]) -> None:
    assert "nothing was told" in compare([], seen)


def test_a_story_that_does_not_begin_where_strace_does_is_found(seen: list[Process]) -> None:
    assert compare([called("runtime", "sethostname", "never"), *true_story()], seen) != []


def test_only_what_changes_nothing_is_left_out() -> None:
    assert not counts(read_line("prctl(PR_CAPBSET_READ, CAP_KILL) = 1"))
    assert not counts(read_line("ioctl(1</dev/null>, TCGETS, 0x7f) = -1 ENOTTY (x)"))
    assert not counts(read_line('write(1<pipe:[1]>, "x", 1) = 1'))
    assert not counts(read_line('rename("/run/minicontainer/a.1", "/run/minicontainer/a") = 0'))
    assert counts(read_line('rename("/run/minicontainer/a.1", "/etc/passwd") = 0'))
    assert counts(read_line('write(1</etc/passwd>, "x", 1) = 1'))
    assert counts(read_line('mkdirat(5</run/minicontainer/scratch>, "upper", 0755) = 0'))
    assert counts(read_line("fchown(5</etc/passwd>, 0, 0) = 0"))
    assert counts(read_line('fchmodat(AT_FDCWD</run/minicontainer>, "x", 0777) = 0'))
    assert counts(read_line("ioctl(1</dev/null>, TIOCSTI, 0x7f) = 0"))
    assert counts(read_line("prctl(PR_SET_KEEPCAPS, 1) = 0"))
    assert counts(read_line("prlimit64(0, RLIMIT_AS, {rlim_cur=1, rlim_max=1}, NULL) = 0"))
    assert not counts(read_line("prlimit64(0, RLIMIT_AS, NULL, {rlim_cur=1, rlim_max=1}) = 0"))


def test_a_user_namespace_counts_only_where_ids_are_mapped() -> None:
    attributes = "{attr_set=MOUNT_ATTR_RDONLY, attr_clr=0, propagation=0, userns_fd=%s}"
    plain = f'mount_setattr(4</a>, "", 0, {attributes}, 32)'
    mapped = plain.replace("MOUNT_ATTR_RDONLY", "MOUNT_ATTR_IDMAP")
    assert read_call(plain % "0") == read_call(plain % "0</dev/null>")
    assert read_call(mapped % "5<user:[1]>") != read_call(mapped % "5<user:[2]>")


PAGE = """
-- runtime: process 10, on the host --
> Leave.
  [unshare(2)]
    unshare(CLONE_NEWNS)
    clone3({flags=CLONE_PIDFD|CLONE_NEWNS|CLONE_NEWPID|CLONE_INTO_CGROUP, exit_signal=SIGCHLD, \
cgroup=5</sys/fs/cgroup/x>}) = 20

-- init: becomes the container; inside it is process 1 --
    mount(NULL, "/", NULL, MS_REC|MS_SLAVE, NULL)
    setgroups(0, []) = -1 EPERM (Operation not permitted)
      why: something
  > Filter.
      seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=1})
    execve("/bin/true", ["true"], [/* 2 vars */])

-- runtime: process 10, on the host --
    write("/proc/20/oom_score_adj", "0")
    unlinkat(5</sys/fs/cgroup>, "x", AT_REMOVEDIR)
"""


def test_the_page_on_the_terminal_is_held_to_the_same(seen: list[Process]) -> None:
    assert differences(read_page(PAGE), printed(seen)) == []
    for lie in (
        ("MS_SLAVE", "MS_PRIVATE"),
        ("EPERM", "EINVAL"),
        ("len=1", "len=2"),
        ("= 20", "= 21"),
        ("> Filter.", "setsid()"),
    ):
        assert differences(read_page(PAGE.replace(*lie, 1)), printed(seen)) != []


def test_folded_calls_are_unfolded() -> None:
    heading = "-- runtime: process 5 --\n"
    page = f"{heading}  prctl(PR_CAPBSET_DROP, CAP_KILL)\n  ... and 2 more: CAP_CHOWN, CAP_MKNOD\n"
    (process,) = read_page(page)
    assert list(map(str, process.calls)) == [
        f"prctl(PR_CAPBSET_DROP, CAP_{name})" for name in ("KILL", "CHOWN", "MKNOD")
    ]
