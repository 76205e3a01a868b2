"""The errno table, provoked for real: each refusal is made in a forked child, its cause found in /proc."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minicontainer.errors import KernelError
from minicontainer.linux import capabilities, mounts, namespaces, paths, prctl, process
from minicontainer.linux.causes import TABLE, Cause, cause_of, hint_for
from minicontainer.linux.cgroups import AT_REMOVEDIR, unlinkat, write_control
from minicontainer.linux.credentials import setgroups, setresgid, setresuid
from minicontainer.linux.evidence import Evidence, Mount
from minicontainer.linux.ioctls import TIOCSCTTY, ioctl
from minicontainer.linux.rlimits import limits_of, prlimit64
from minicontainer.linux.scheduling import sched_setaffinity, set_mempolicy
from minicontainer.linux.seccomp import SECCOMP_SET_MODE_FILTER, seccomp
from tests.linux.calls_under_strace import ALLOW_ALL
from tests.linux.children import in_child, own_mounts, sleeping_child
from tests.needs import cgroup2_tree

NOBODY = 65534
USER, MOUNT, PID = namespaces.CLONE_NEWUSER, namespaces.CLONE_NEWNS, namespaces.CLONE_NEWPID


def refused(call: Callable[..., object], *arguments: object) -> tuple[str, Cause | None]:
    """Make a call that fails; give its errno and the cause, seen from the same process."""
    try:
        call(*arguments)
    except KernelError as problem:
        return errno.errorcode[problem.errno or 0], cause_of(
            problem.call, problem.errno or 0, problem.arguments
        )
    raise AssertionError(f"{call.__name__}{arguments} was not refused")


def the_cause(
    number: str, words: str, scene: Callable[..., tuple[str, Cause | None]], *more: object
) -> Cause:
    """Play the scene in a child; the errno must be this one, and the cause that one."""
    seen, cause = in_child(scene, *more)
    assert getattr(errno, seen) == getattr(errno, number), seen
    assert cause is not None
    assert words in cause.means
    return cause


# --- mounts and roots --------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "new" / "old").mkdir(parents=True)
    return str(tmp_path)


def pivot(folder: str, prepare: str) -> tuple[str, Cause | None]:
    own_mounts()
    if prepare == "plain":  # on the root's own file system, which /tmp need not be
        return refused(mounts.pivot_root, "/etc", "/etc")
    new, old = folder + "/new", folder + "/new/old"
    mounts.mount("tmpfs", new, "tmpfs", 0, None)
    Path(old).mkdir()
    if prepare == "other fs":
        new, old = new + "/sub", new + "/sub/old"
        Path(old).mkdir(parents=True)
    if prepare == "elsewhere":
        mounts.mount("tmpfs", folder + "/new", "tmpfs", 0, None)
        old = folder
    if prepare == "shared":
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SHARED, None)
    if prepare == "missing":
        old += "/nothing"
    return refused(mounts.pivot_root, new, old)


@pytest.mark.requires("root")
@pytest.mark.parametrize(
    ("prepare", "number", "words"),
    [
        ("shared", "EINVAL", "still shared"),
        ("other fs", "EINVAL", "not a mount point"),
        ("plain", "EBUSY", "plain directory of the root"),
        ("missing", "ENOENT", "leads nowhere"),
    ],
)
def test_pivot_root_has_four_causes(folder: str, prepare: str, number: str, words: str) -> None:
    the_cause(number, words, pivot, folder, prepare)


@pytest.mark.requires("root")
def test_pivot_root_wants_the_old_root_below_the_new_one(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        own_mounts()
        for name in ("/new", "/elsewhere"):
            Path(folder + name).mkdir(exist_ok=True)
            mounts.mount("tmpfs", folder + name, "tmpfs", 0, None)
        return refused(mounts.pivot_root, folder + "/new", folder + "/elsewhere")

    the_cause("EINVAL", "put_old does not lie below new_root", scene)


@pytest.mark.requires("root")
def test_a_mount_in_use_is_not_unmounted(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        own_mounts()
        mounts.mount("tmpfs", folder, "tmpfs", 0, None)
        os.chdir(folder)
        return refused(mounts.umount2, folder, 0)

    assert "MNT_DETACH" in the_cause("EBUSY", "in use", scene).look_at


def overlay(folder: str, options: str) -> tuple[str, Cause | None]:
    own_mounts()
    mounts.mount("tmpfs", folder, "tmpfs", 0, None)
    for name in ("lower", "upper", "upper/work", "work", "other", "at"):
        Path(folder, name).mkdir()
    mounts.mount("tmpfs", folder + "/other", "tmpfs", 0, None)
    os.chdir(folder)
    return refused(mounts.mount, "overlay", folder + "/at", "overlay", 0, options)


@pytest.mark.requires("root", "filesystem:overlay")
@pytest.mark.parametrize(
    ("options", "number", "words"),
    [
        ("lowerdir=lower,upperdir=upper,workdir=other", "EINVAL", "must lie on the same mounted file system"),
        ("lowerdir=lower,upperdir=upper,workdir=upper/work", "EINVAL", "must be separate"),
        ("lowerdir=lower,upperdir=upper", "EINVAL", "needs a work directory"),
        ("lowerdir=lower:nothing", "ENOENT", "a directory of the overlay is missing"),
    ],
)
def test_an_overlay_that_is_put_together_wrongly(folder: str, options: str, number: str, words: str) -> None:
    the_cause(number, words, overlay, folder, options)


@pytest.mark.requires("root")
def test_a_file_system_that_the_kernel_has_not(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        own_mounts()
        return refused(mounts.mount, "none", folder, "nosuchfs", 0, None)

    assert the_cause("ENODEV", "no such file system", scene).saw == "nosuchfs is not in /proc/filesystems"
    the_cause("ENODEV", "no such file system", lambda: refused(mounts.fsopen, "nosuchfs", 0))


@pytest.mark.requires("root")
def test_a_plain_directory_has_no_propagation(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        own_mounts()
        return refused(mounts.mount, None, folder, None, mounts.MS_PRIVATE, None)

    the_cause("EINVAL", "this is a plain directory", scene)


@pytest.mark.requires("root")
def test_a_directory_is_not_bound_onto_a_file(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        own_mounts()
        Path(folder, "file").touch()
        return refused(mounts.mount, folder, folder + "/file", None, mounts.MS_BIND, None)

    cause = the_cause("ENOTDIR", "only be bound onto a directory", scene)
    assert cause.saw.endswith("file is a file")


@pytest.mark.requires("root", "userns")
def test_proc_belongs_to_the_owner_of_the_pid_namespace(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        namespaces.unshare(USER | MOUNT)
        return refused(mounts.mount, "proc", folder, "proc", 0, None)

    the_cause("EPERM", "owner of its PID namespace", scene)


@pytest.mark.requires("root", "userns")
def test_a_new_proc_must_not_reveal_what_was_covered(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        own_mounts()
        mounts.mount("tmpfs", "/proc/sys", "tmpfs", mounts.MS_RDONLY, None)
        namespaces.unshare(USER | MOUNT | PID)
        return in_child(lambda: refused(mounts.mount, "proc", folder, "proc", 0, None))

    cause = the_cause("EPERM", "would reveal", scene)
    assert "/proc/sys" in cause.saw


@pytest.mark.requires("root", "userns")
def test_flags_set_outside_of_a_user_namespace_stay(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        own_mounts()
        mounts.mount("tmpfs", folder, "tmpfs", mounts.MS_NODEV, None)
        namespaces.unshare(USER | MOUNT)
        return refused(mounts.mount, None, folder, None, mounts.MS_REMOUNT | mounts.MS_BIND, None)

    the_cause("EPERM", "cannot be taken off inside", scene)


@pytest.mark.requires("root")
def test_nobody_may_mount(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return refused(mounts.mount, "tmpfs", "/tmp", "tmpfs", 0, None)

    assert the_cause("EPERM", "needs CAP_SYS_ADMIN", scene).saw == "CapEff lacks CAP_SYS_ADMIN"


@pytest.mark.requires("root")
def test_a_device_on_a_nodev_mount_is_only_a_name(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        own_mounts()
        mounts.mount("tmpfs", folder, "tmpfs", mounts.MS_NODEV, None)
        os.mknod(folder + "/null", 0o020666, os.makedev(1, 3))
        try:
            os.open(folder + "/null", os.O_RDWR)
        except OSError as problem:
            return errno.errorcode[problem.errno], cause_of("openat", problem.errno, (-100, folder + "/null"))
        raise AssertionError

    the_cause("EACCES", "do not work on a mount with nodev", scene)


# --- namespaces and identity -------------------------------------------------------------------


def with_a_thread(call: Callable[..., object], *arguments: object) -> tuple[str, Cause | None]:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        return refused(call, *arguments)
    finally:
        done.set()
        thread.join()


@pytest.mark.requires("root")
def test_a_program_with_threads_cannot_change_its_user_namespace() -> None:
    cause = the_cause("EINVAL", "has threads", with_a_thread, namespaces.unshare, USER)
    assert cause.saw == "Threads: 2 in /proc/self/status"


@pytest.mark.requires("root")
def test_a_program_with_threads_cannot_change_its_mount_namespace() -> None:
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    try:
        the_cause("EINVAL", "has threads", with_a_thread, namespaces.setns, own, MOUNT)
    finally:
        os.close(own)


@pytest.mark.requires("root")
def test_nobody_enters_its_own_user_namespace_again() -> None:
    own = os.open("/proc/self/ns/user", os.O_RDONLY)
    try:
        the_cause("EINVAL", "in that user namespace already", lambda: refused(namespaces.setns, own, USER))
    finally:
        os.close(own)


@pytest.mark.requires("root", "userns")
def test_namespaces_can_be_switched_off() -> None:
    def scene() -> tuple[str, Cause | None]:
        namespaces.unshare(USER)
        namespaces.write_id_map(0, "uid_map", "0 0 1")
        Path("/proc/sys/user/max_user_namespaces").write_text("0")  # counts for this user namespace alone
        return refused(namespaces.unshare, USER)

    the_cause("ENOSPC", "no user namespaces may be made here", scene)


@pytest.mark.requires("root", "userns")
def test_who_is_nobody_inside_makes_no_further_user_namespace() -> None:
    def scene() -> tuple[str, Cause | None]:
        namespaces.unshare(USER)
        return refused(namespaces.unshare, USER)

    the_cause("EPERM", "no user id in its own user namespace", scene)


@pytest.mark.requires("root")
def test_namespaces_need_a_capability() -> None:
    def scene() -> tuple[str, Cause | None]:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return refused(namespaces.unshare, MOUNT)

    the_cause("EPERM", "only CAP_SYS_ADMIN", scene)


@pytest.mark.requires("root")
def test_nobody_is_born_after_the_death_of_process_1() -> None:
    def scene() -> tuple[str, Cause | None]:
        namespaces.unshare(PID)
        in_child(lambda: None)
        return refused(process.clone3, 0, process.SIGCHLD, -1)

    the_cause("ENOMEM", "process 1 of the new PID namespace has died", scene)


def mapping(kind: str, lines: str, *, dumpable: bool) -> tuple[str, Cause | None]:
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    prctl.prctl(prctl.PR_SET_DUMPABLE, int(dumpable))
    namespaces.unshare(USER)
    if kind == "twice":
        namespaces.write_id_map(0, "uid_map", lines)
        kind = "uid_map"
    return refused(namespaces.write_id_map, 0, kind, lines)


@pytest.mark.requires("root", "userns")
@pytest.mark.parametrize(
    ("kind", "lines", "dumpable", "number", "words"),
    [
        ("uid_map", f"0 {NOBODY} 1", False, "EACCES", "not dumpable"),
        ("gid_map", f"0 {NOBODY} 1", True, "EPERM", "after setgroups has been denied"),
        ("uid_map", "0 0 10", True, "EPERM", "only one's own id"),
        ("uid_map", f"0 {NOBODY} 1\n1 1 1", True, "EPERM", "only one's own id"),
        ("twice", f"0 {NOBODY} 1", True, "EPERM", "once only"),
        ("uid_map", f"0 {NOBODY} 0", True, "EINVAL", "three numbers"),
        ("uid_map", f"0 {NOBODY} 1\n0 5 1", True, "EINVAL", "three numbers"),
    ],
)
def test_a_map_that_may_not_be_written(
    kind: str, lines: str, dumpable: bool, number: str, words: str
) -> None:
    the_cause(number, words, lambda: mapping(kind, lines, dumpable=dumpable))


def mapped_root(more: int = 0) -> None:
    namespaces.unshare(USER | more)
    namespaces.write_id_map(0, "setgroups", "deny")
    namespaces.write_id_map(0, "uid_map", "0 0 1")
    namespaces.write_id_map(0, "gid_map", "0 0 1")


@pytest.mark.requires("root", "userns")
@pytest.mark.parametrize(
    ("call", "arguments", "number", "words"),
    [
        (setgroups, ([0],), "EPERM", "gave up changing groups"),
        (setresuid, (7, 7, 7), "EINVAL", "does not exist in this user namespace"),
        (setresgid, (-1, 7, -1), "EINVAL", "does not exist in this user namespace"),
    ],
)
def test_an_identity_that_is_not_there(
    call: Callable[..., None], arguments: tuple[object, ...], number: str, words: str
) -> None:
    def scene() -> tuple[str, Cause | None]:
        mapped_root()
        return refused(call, *arguments)

    the_cause(number, words, scene)


@pytest.mark.requires("root", "userns")
def test_devices_are_not_made_in_user_namespaces(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        mapped_root(MOUNT)
        mounts.mount("tmpfs", folder, "tmpfs", 0, None)
        root = os.open(folder, os.O_PATH)
        return refused(paths.mknodat, root, "null", paths.S_IFCHR | 0o666, os.makedev(1, 3))

    the_cause("EPERM", "cannot be made inside a user namespace", scene)


def as_nobody(call: Callable[..., object], *arguments: object) -> tuple[str, Cause | None]:
    os.setresuid(NOBODY, NOBODY, NOBODY)
    return refused(call, *arguments)


@pytest.mark.requires("root")
@pytest.mark.parametrize(
    ("number", "words", "call", "arguments"),
    [
        ("EPERM", "sethostname needs CAP_SYS_ADMIN", namespaces.sethostname, ("x",)),
        ("EPERM", "chroot needs CAP_SYS_CHROOT", mounts.chroot, ("/",)),
        ("EPERM", "setgroups needs CAP_SETGID", setgroups, ([],)),
        ("EPERM", "only be reduced with CAP_SETPCAP", prctl.prctl, (prctl.PR_CAPBSET_DROP, 0)),
        ("EACCES", "after no_new_privs has been set", seccomp, (SECCOMP_SET_MODE_FILTER, 0, ALLOW_ALL)),
        ("EPERM", "hard limit cannot be raised", prlimit64, (0, 7, 100, limits_of(0, 7)[1] + 1)),
    ],
)
def test_what_nobody_may_not(
    number: str, words: str, call: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    the_cause(number, words, as_nobody, call, *arguments)


@pytest.mark.requires("root")
def test_a_capability_dropped_from_the_bounding_set_alone_still_counts() -> None:
    def scene() -> Cause | None:
        drop = (prctl.PR_CAPBSET_DROP, capabilities.CAP_SYS_ADMIN)
        prctl.prctl(*drop)
        return cause_of("prctl", 0, drop)

    cause = in_child(scene)
    assert cause is not None
    assert cause.saw == "CapEff of /proc/self/status still has CAP_SYS_ADMIN"


@pytest.mark.requires("root")
def test_a_terminal_is_taken_by_the_leader_of_a_session() -> None:
    def scene() -> tuple[str, Cause | None]:
        in_child(lambda: None)
        _, slave = os.openpty()
        return refused(ioctl, slave, TIOCSCTTY, 0)

    the_cause("EPERM", "only the leader of a session", scene)


def test_processors_that_are_not_there() -> None:
    the_cause("EINVAL", "none of these processors", lambda: refused(sched_setaffinity, 0, [1000]))


def test_memory_that_is_not_there() -> None:
    the_cause("EINVAL", "the nodes are not there", lambda: refused(set_mempolicy, 2, [1000]))


# --- programs and addresses --------------------------------------------------------------------


def program(place: Path, content: bytes, mode: int = 0o755) -> str:
    place.write_bytes(content)
    place.chmod(mode)
    return str(place)


def starting(path: str) -> tuple[str, Cause | None]:
    return refused(process.execve, path, [path], {})


def test_a_program_whose_interpreter_is_missing(tmp_path: Path) -> None:
    script = program(tmp_path / "script", b"#!/no/such/shell -e\n")
    cause = the_cause("ENOENT", "the program that runs this one", starting, script)
    assert cause.saw == f"{script} is there, and needs /no/such/shell, which is not"


def test_a_program_whose_loader_is_missing(tmp_path: Path) -> None:
    content = Path("/bin/true").read_bytes()
    at = content.index(b"/ld-linux")
    changed = program(tmp_path / "true", content[:at] + b"/no" + content[at + 3 :])
    the_cause("ENOENT", "the program that runs this one", starting, changed)


def test_a_program_that_is_no_program(tmp_path: Path) -> None:
    the_cause("ENOENT", "the program is not there", starting, str(tmp_path / "nothing"))
    the_cause(
        "EACCES", "not a file that may be executed", starting, program(tmp_path / "a", b"#!/bin/sh\n", 0o644)
    )
    the_cause("EACCES", "not a file that may be executed", starting, str(tmp_path))
    cause = the_cause("ENOEXEC", "of this format", starting, program(tmp_path / "b", b"text"))
    assert cause.saw == "it begins with b'text'"
    other = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + (2).to_bytes(2, "little")
        + (243).to_bytes(2, "little")
        + bytes(44)
    )
    the_cause("ENOEXEC", "of this format", starting, program(tmp_path / "c", other))


@pytest.mark.requires("root")
def test_a_program_on_a_noexec_mount(folder: str) -> None:
    def scene() -> tuple[str, Cause | None]:
        own_mounts()
        mounts.mount("tmpfs", folder, "tmpfs", mounts.MS_NOEXEC, None)
        return starting(program(Path(folder, "p"), b"#!/bin/sh\n"))

    the_cause("EACCES", "cannot be started from this mount", scene)


@pytest.mark.requires("root")
def test_loopback_is_down_in_a_new_network_namespace() -> None:
    def scene() -> tuple[str, Cause | None]:
        namespaces.unshare(namespaces.CLONE_NEWNET)
        with socket.socket() as connection, contextlib.suppress(OSError):
            number = connection.connect_ex(("127.0.0.1", 80))
            return errno.errorcode[number], cause_of("connect", number, (3, "127.0.0.1:80"))
        raise AssertionError

    the_cause("ENETUNREACH", "lo of this network namespace is down", scene)


@pytest.mark.requires("root")
def test_the_evidence_may_be_another_process(tmp_path: Path) -> None:
    script = program(tmp_path / "script", b"#!/bin/sh\n")

    def chrooted() -> None:
        os.chroot(tmp_path)
        os.chdir("/")

    with sleeping_child(chrooted) as pid:
        inside = KernelError(errno.ENOENT, "execve", ("/script", ["/script"], []))
        assert "needs /bin/sh, which is not" in hint_for(inside, pid)
    assert hint_for(KernelError(errno.ENOENT, "execve", (script, [script], []))) == ""


# --- cgroups -----------------------------------------------------------------------------------


@pytest.fixture
def group() -> Iterator[Path]:
    tree = cgroup2_tree()
    assert tree is not None
    place = tree / f"minicontainer-causes-{os.getpid()}"
    place.mkdir()
    yield place
    for below in sorted(place.glob("*/"), reverse=True):
        below.rmdir()
    place.rmdir()


def control(group: Path, name: str, value: str) -> tuple[str, Cause | None]:
    return refused(write_control, os.open(group, os.O_PATH), name, value)


@pytest.mark.requires("root", "cgroup2")
def test_a_control_file_whose_controller_is_not_there(group: Path) -> None:
    inner = group / "inner"  # its parent hands nothing down
    inner.mkdir()
    cause = the_cause("ENOENT", "the controller pids is not available", control, inner, "pids.max", "1")
    assert cause.saw == f"{inner}/cgroup.controllers: nothing"
    the_cause("ENOENT", "controller pids is not available", control, inner, "cgroup.subtree_control", "+pids")
    the_cause("EINVAL", "no such controller", control, inner, "cgroup.subtree_control", "+nonsense")


@pytest.mark.requires("root", "cgroup2")
def test_a_process_that_is_not_there_enters_no_group(group: Path) -> None:
    the_cause("ESRCH", "no such process", control, group, "cgroup.procs", str(2**22 + 1))


@pytest.mark.requires("root", "cgroup2")
def test_a_group_beside_a_threaded_one_takes_no_processes(group: Path) -> None:
    (group / "threaded").mkdir()
    (group / "threaded/cgroup.type").write_text("threaded")
    (group / "invalid").mkdir()
    the_cause("EOPNOTSUPP", "part of a threaded subtree", control, group / "invalid", "cgroup.procs", "0")


@pytest.mark.requires("root", "cgroup2")
def test_a_group_with_processes_or_groups_stays(group: Path) -> None:
    def scene() -> tuple[str, Cause | None]:
        return refused(unlinkat, os.open(group.parent, os.O_PATH), group.name, AT_REMOVEDIR)

    with sleeping_child(lambda: (group / "cgroup.procs").write_text("0")):
        the_cause("EBUSY", "still has processes", scene)
    (group / "below").mkdir()
    the_cause("EBUSY", "still has groups below", scene)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory.max", "64 MB"),
        ("cpu.max", "20%"),
        ("pids.max", "-1"),
        ("cpu.weight", "0"),
        ("cpuset.cpus", "a"),
        ("cgroup.subtree_control", "memory"),
    ],
)
def test_a_value_that_a_control_file_does_not_take(name: str, value: str) -> None:
    cause = cause_of("write_control", errno.EINVAL, ([3, "/sys/fs/cgroup/x"], name, value))
    assert cause is not None
    assert cause.means == f"{name} does not take this value"


@pytest.mark.parametrize(
    ("name", "value"),
    [("memory.max", "64M"), ("cpu.max", "20000 100000"), ("pids.max", "max"), ("io.max", "x")],
)
def test_a_good_value_is_not_blamed(name: str, value: str) -> None:
    assert cause_of("write_control", errno.EINVAL, ([3, "/sys/fs/cgroup/x"], name, value)) is None


def test_processes_and_handed_down_controllers_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("12\n13\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    where = [3, str(tmp_path)]
    one = cause_of("write_control", errno.EBUSY, (where, "cgroup.subtree_control", "+memory"))
    other = cause_of("write_control", errno.EBUSY, (where, "cgroup.procs", "0"))
    assert one is not None and "cannot be handed down" in one.means and "12 13" in one.saw
    assert other is not None and "cannot enter a group" in other.means


class OnV1(Evidence):
    """A machine where the group lies in a cgroup v1 hierarchy."""

    def mount_of(self, name: object) -> Mount:
        return Mount(
            id=1, parent=0, place="/sys/fs/cgroup/memory", options=frozenset(), shared=False, kind="cgroup"
        )


def test_a_file_of_v2_is_not_in_v1(tmp_path: Path) -> None:
    cause = cause_of("write_control", errno.ENOENT, ([3, str(tmp_path)], "memory.max", "1"), OnV1())
    assert cause is not None
    assert cause.means == "memory.max is a file of cgroup v2"


# --- the table itself --------------------------------------------------------------------------


def test_what_nobody_knows_is_not_guessed() -> None:
    assert cause_of("mount", errno.EIO, ("a", "/", "b", 0, None)) is None
    assert cause_of("no_such_call", errno.EPERM) is None
    assert hint_for(KernelError(errno.EPERM, "unshare", ("nonsense",))) == ""


def test_a_process_that_is_gone_gives_no_hint() -> None:
    assert hint_for(KernelError(errno.EPERM, "unshare", (MOUNT,)), 2**22 + 1) == ""


def test_the_table_has_a_row_for_each_line_of_the_lesson() -> None:
    lesson = {
        *[("pivot_root", name) for name in ("EINVAL", "EBUSY", "ENOENT")],
        *[("mount", name) for name in ("EINVAL", "ENOENT", "ENODEV", "EPERM")],
        *[("unshare", name) for name in ("EINVAL", "EPERM")],
        *[("write_id_map", name) for name in ("EACCES", "EPERM")],
        *[("write_control", name) for name in ("EINVAL", "EBUSY", "EACCES", "ESRCH", "EOPNOTSUPP")],
        *[("umount2", "EBUSY"), ("clone3", "ENOMEM"), ("setns", "EINVAL"), ("unlinkat", "EBUSY")],
        *[("seccomp", "EACCES"), ("execve", "ENOENT"), ("connect", "ENETUNREACH"), ("openat", "EACCES")],
    }
    assert {(call, getattr(errno, name)) for call, name in lesson} <= set(TABLE)
    assert ("prctl", 0) in TABLE


def test_a_process_that_has_ended_has_no_handle() -> None:
    def scene() -> tuple[str, Cause | None]:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return refused(process.pidfd_open, pid, 0)

    the_cause("ESRCH", "has ended", scene)


def test_places_with_blanks_are_read_from_mountinfo(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    line = r"36 35 98:0 /mnt1 /mnt\0402/größe rw,noatime shared:1 master:2 - ext3 /dev/root rw"
    (folder / "mountinfo").write_text(line + "\n")
    [mount] = Evidence(7, tmp_path).mounts()
    assert (mount.place, mount.shared, mount.kind) == ("/mnt 2/größe", True, "ext3")
    assert mount.options == {"rw", "noatime"}
