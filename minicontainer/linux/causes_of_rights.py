"""Why a process was refused a namespace, a limit, a filter or a single right: rows of the errno table.

See namespaces(7), user_namespaces(7), capabilities(7), prlimit(2), seccomp(2), sched(7), ioctl_tty(2).
"""

# ruff: noqa: D401 - a row's docstring is the rule that was broken

from __future__ import annotations

from minicontainer.linux.capabilities import NAMES
from minicontainer.linux.causes import Arguments, Cause, row
from minicontainer.linux.evidence import Evidence
from minicontainer.linux.ioctls import TIOCSCTTY
from minicontainer.linux.namespaces import CLONE_NEWUSER, KINDS
from minicontainer.linux.prctl import PR_CAPBSET_DROP
from minicontainer.linux.words import whole

# Of each switch under /proc/sys: the value that forbids, what it forbids, the value that allows.
SWITCHES = {
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "AppArmor gives user namespaces to known programs only",
        0,
    ),
    "kernel/unprivileged_userns_clone": ("0", "the administrator gives user namespaces to root only", 1),
}


@row("unshare setns", "EINVAL")
def has_threads(arguments: Arguments, seen: Evidence) -> Cause | None:
    """User and mount namespaces belong to a whole process, so it must not have threads."""
    count = int(seen.status("Threads"))
    if count == 1 or (len(arguments) == 1 and not whole(arguments[0]) & CLONE_NEWUSER):
        return None
    return Cause(
        saw=f"Threads: {count} in /proc/{seen.pid}/status",
        means="the program has threads, and a single thread cannot change its user or mount namespace",
        look_at="do it before the first thread is started, or in a forked child",
    )


@row("setns", "EINVAL")
def is_there_already(arguments: Arguments, seen: Evidence) -> Cause | None:
    """One cannot enter one's own user namespace again, which would give back all capabilities."""
    target = str(seen.folder(arguments[0]))
    if target != str((seen.proc / str(seen.pid) / "ns/user").readlink()):
        return None
    return Cause(
        saw=f"the descriptor names {target}, which is our own",
        means="the process is in that user namespace already",
        look_at="leave the user namespace out of the list of those to join",
    )


@row("unshare clone3", "ENOSPC", "EUSERS")
def too_many_namespaces(arguments: Arguments, seen: Evidence) -> Cause | None:
    """The number of namespaces per user is limited."""
    for flag, kind in KINDS.values():
        if not whole(arguments[0]) & flag:
            continue
        most = seen.system(f"sys/user/max_{kind}_namespaces")
        # Only 0 proves it: how many there are now cannot be read.
        if most == "0":
            return Cause(
                saw=f"/proc/sys/user/max_{kind}_namespaces is 0",
                means=f"no {kind} namespaces may be made here",
                look_at=f"sysctl user.max_{kind}_namespaces=10000",
            )
    return None


@row("unshare clone3", "EPERM", "EACCES")
def user_namespaces_are_off(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Distributions restrict user namespaces, each in its own way."""
    if not whole(arguments[0]) & CLONE_NEWUSER:
        return None
    for name, (value, means, remedy) in SWITCHES.items():
        if seen.system(f"sys/{name}") == value:
            return Cause(
                saw=f"/proc/sys/{name} is {value}",
                means=means,
                look_at=f"sysctl {name.replace('/', '.')}={remedy}, or run as root",
            )
    return None


@row("unshare clone3", "EPERM")
def nobody_inside(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Who has no number in the present user namespace cannot make another."""
    if not whole(arguments[0]) & CLONE_NEWUSER or seen.read("uid_map").strip():
        return None
    return Cause(
        saw=f"/proc/{seen.pid}/uid_map is empty",
        means="the caller has no user id in its own user namespace yet",
        look_at="write uid_map and gid_map before making a further user namespace",
    )


@row("unshare clone3 setns", "EPERM")
def no_right_to_namespaces(arguments: Arguments, seen: Evidence) -> Cause | None:
    """All kinds but user namespaces need CAP_SYS_ADMIN."""
    word = whole(arguments[0]) if len(arguments) != 2 else 0  # noqa: PLR2004 - setns(fd, nstype)
    if word & CLONE_NEWUSER or seen.can("CAP_SYS_ADMIN"):
        return None
    return Cause(
        saw=f"CapEff of /proc/{seen.pid}/status lacks CAP_SYS_ADMIN",
        means="only CAP_SYS_ADMIN may make or join these namespaces",
        look_at="make a user namespace in the same call (CLONE_NEWUSER), which gives it, or run as root",
    )


@row("pidfd_open", "ESRCH")
def it_has_ended(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A number means a process only until that has ended and its parent was told."""
    if (seen.proc / str(arguments[0])).exists():
        return None
    return Cause(
        saw=f"/proc/{arguments[0]} does not exist",
        means="the process has ended and is buried already",
        look_at="nothing, if that was wanted",
    )


@row("fork clone3", "ENOMEM")
def init_is_dead(_arguments: Arguments, seen: Evidence) -> Cause | None:
    """A PID namespace ends with its first process: nobody can be born in it any more."""
    folder = seen.proc / str(seen.pid) / "ns"
    mine, children = (folder / name for name in ("pid", "pid_for_children"))
    if mine.readlink() == children.readlink():
        return None
    return Cause(
        saw=f"children would be born in {children.readlink()}, the caller is in {mine.readlink()}",
        means="process 1 of the new PID namespace has died already; this is not about memory",
        look_at="keep the first child alive: it is the init of the namespace",
    )


@row("fork clone3", "EAGAIN")
def too_many_processes(_arguments: Arguments, seen: Evidence) -> Cause | None:
    """The limit on processes of one user, or of one cgroup."""
    limit = next(line for line in seen.read("limits").splitlines() if line.startswith("Max processes"))
    soft = limit.split()[2]
    if soft == "unlimited":
        return None
    return Cause(
        saw=f"Max processes {soft} in /proc/{seen.pid}/limits",
        means="the user has reached RLIMIT_NPROC, or the cgroup its pids.max",
        look_at="raise the limit; pids.events counts refusals of the cgroup",
    )


# --- single rights -----------------------------------------------------------------------------

NEEDS = {
    "sethostname": "CAP_SYS_ADMIN",
    "setdomainname": "CAP_SYS_ADMIN",
    "chroot": "CAP_SYS_CHROOT",
    "mknodat": "CAP_MKNOD",
    "setgroups": "CAP_SETGID",
    "setresgid": "CAP_SETGID",
    "setresuid": "CAP_SETUID",
    "sched_setattr": "CAP_SYS_NICE",
    "ioprio_set": "CAP_SYS_ADMIN",
    "fchown": "CAP_CHOWN",
    "bpf_prog_load": "CAP_BPF",
}


def needs(call: str, capability: str) -> None:
    """Enter the row of a call that one capability allows."""

    @row(call, "EPERM")
    def capability_is_missing(_arguments: Arguments, seen: Evidence) -> Cause | None:
        if seen.can(capability):
            return None
        return Cause(
            saw=f"CapEff of /proc/{seen.pid}/status lacks {capability}",
            means=f"{call} needs {capability}",
            look_at="run as root, or keep this capability until the call is made",
        )


for name, capability in NEEDS.items():
    needs(name, capability)


@row("mknodat", "EPERM")
def devices_are_the_machines(_arguments: Arguments, seen: Evidence) -> Cause | None:
    """A device node reaches the hardware, so only the first user namespace may make one."""
    if seen.in_first_user_namespace():
        return None
    return Cause(
        saw=f"/proc/{seen.pid}/uid_map is not that of the first user namespace",
        means="device nodes cannot be made inside a user namespace, whatever the capabilities",
        look_at="bind the device from the host's /dev",
    )


@row("bpf_prog_load bpf_prog_attach bpf_prog_detach", "EPERM")
def filters_are_the_machines(_arguments: Arguments, seen: Evidence) -> Cause | None:
    """Programs run in the kernel, so only the first user namespace may load them."""
    if seen.in_first_user_namespace():
        return None
    return Cause(
        saw=f"/proc/{seen.pid}/uid_map is not that of the first user namespace",
        means="a device filter cannot be set from inside a user namespace, whatever the capabilities",
        look_at="leave linux.resources.devices out: there the kernel itself refuses to make devices",
    )


@row("prctl", "EPERM")
def bounding_needs_setpcap(arguments: Arguments, seen: Evidence) -> Cause | None:
    """Dropping from the bounding set is a right of its own."""
    if arguments[0] != PR_CAPBSET_DROP or seen.can("CAP_SETPCAP"):
        return None
    return Cause(
        saw=f"CapEff of /proc/{seen.pid}/status lacks CAP_SETPCAP",
        means="the bounding set may only be reduced with CAP_SETPCAP",
        look_at="drop from the bounding set before dropping CAP_SETPCAP itself",
    )


@row("prctl", "OK")
def bounding_alone(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A capability dropped from the bounding set counts until execve."""
    if arguments[0] != PR_CAPBSET_DROP:
        return None
    name = "CAP_" + NAMES[whole(arguments[1])]
    if not seen.can(name):
        return None
    return Cause(
        saw=f"CapEff of /proc/{seen.pid}/status still has {name}",
        means="the bounding set limits what execve may give, and takes nothing away before that",
        look_at="also drop it from the effective and permitted sets (capset)",
    )


@row("seccomp prctl", "EACCES")
def may_gain_privileges(_arguments: Arguments, seen: Evidence) -> Cause | None:
    """A filter could mislead a set-uid program, so either privileges or their renunciation are needed."""
    if seen.status("NoNewPrivs") == "1" or seen.can("CAP_SYS_ADMIN"):
        return None
    return Cause(
        saw="NoNewPrivs: 0, and CapEff lacks CAP_SYS_ADMIN",
        means="without privileges a filter may only be loaded after no_new_privs has been set",
        look_at="prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) first, or load it before dropping capabilities",
    )


@row("prlimit64", "EPERM")
def hard_limit_is_raised(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A hard limit can be lowered by everybody, and raised with CAP_SYS_RESOURCE only."""
    if seen.can("CAP_SYS_RESOURCE") and seen.in_first_user_namespace():
        return None
    inside = "" if seen.in_first_user_namespace() else " (of the first user namespace)"
    return Cause(
        saw=f"asked for a hard limit of {arguments[3]}, and there is no CAP_SYS_RESOURCE{inside}",
        means="a hard limit cannot be raised without CAP_SYS_RESOURCE",
        look_at=f"compare /proc/{seen.pid}/limits, and ask for less (process.rlimits)",
    )


@row("sched_setaffinity", "EINVAL")
def no_such_processor(arguments: Arguments, seen: Evidence) -> Cause | None:
    """At least one of the processors must be allowed by the cpuset."""
    allowed = seen.status("Cpus_allowed_list")
    return Cause(
        saw=f"asked for {arguments[1]}, Cpus_allowed_list is {allowed}",
        means="none of these processors is there, or the cpuset forbids them all",
        look_at="cpuset.cpus.effective of the cgroup",
    )


@row("ioctl", "EPERM")
def leads_no_session(arguments: Arguments, seen: Evidence) -> Cause | None:
    """A controlling terminal is taken by the leader of a session that has none."""
    fields = seen.read("stat").rpartition(")")[2].split()
    session, terminal = int(fields[3]), int(fields[4])
    leader = str(session) == seen.read("stat").split()[0]
    if arguments[1] != TIOCSCTTY or (leader and not terminal):
        return None
    return Cause(
        saw=f"the session is {session}, its terminal {terminal}" if leader else "not the leader of a session",
        means="only the leader of a session without a controlling terminal may take one",
        look_at="setsid() first, in a process that leads no process group",
    )
