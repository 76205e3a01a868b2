"""Every claim of `features` is tried: a word that no check here knows makes a test fail.

The output is taken apart into claims, `linux.namespaces.pid` or `linux.cgroup.v1`; each family of them has a
check, which tries each of its words on a container. Of a peer only the words that ours claims as well are
tried.

Implements: runtime-spec features.md, features-linux.md.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.needs import CAPABILITIES, has_capability, met
from tests.runtime.bundles import bind, mount
from tests.runtime.checks import accepts, refuses
from tests.runtime.fake_systemd import FakeSystemd
from tests.runtime.runtimes import cgroup2_root
from tests.runtime.test_seccomp import filtered, receive, rule
from tests.runtime.test_systemd_scopes import ScopedRuntime, scoped, unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2", "arch:x86_64")

Check = "Callable[[Room, list[Any]], None]"
CHECKS: dict[str, Any] = {}
KILLED_BY_SIGSYS = 128 + 31


class Room:
    """What a check works with."""

    def __init__(self, runtime: Runtime, bundle: MakeBundle, workspace: Path) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.workspace = workspace

    def output(self, made: Bundle) -> str:
        """Run a container that must succeed."""
        return self.runtime.output(made)


def claim(path: str) -> Callable[[Any], Any]:
    """Mark the check of one family of claims."""

    def keep(check: Any) -> Any:
        CHECKS[path] = check
        return check

    return keep


def families(shown: Any, path: str = "") -> dict[str, list[Any]]:
    """Take an output apart: lists are families of words, other values stand alone."""
    if not isinstance(shown, dict):
        return {path: shown if isinstance(shown, list) else [shown]}
    found: dict[str, list[Any]] = {}
    for key, value in shown.items():
        found |= families(value, f"{path}.{key}".lstrip("."))
    return found


def claims_of(runtime: Runtime) -> dict[str, list[Any]]:
    """Ask for the claims."""
    return families(json.loads(runtime.succeed("features").stdout))


def expected(table: dict[str, Any], word: str) -> Any:
    """Look a word up that is claimed."""
    assert word in table, f"{word} is claimed, and nobody has tried it"
    return table[word]


UNCLAIMED = {
    "annotations.org.minicontainer.version": "crun runc",
    "linux.cgroup.rdma": "crun",
    "linux.memoryPolicy.flags": "runc",
    "linux.memoryPolicy.modes": "runc",
    "linux.netDevices.enabled": "runc",
    "linux.seccomp.archs": "crun",
    "linux.seccomp.knownFlags": "crun",
    "linux.seccomp.supportedFlags": "crun",
}
"""What a peer says nothing about."""

UNTRIED = {"linux.cgroup.systemdUser": "crun runc"}
"""What a peer claims and we cannot try: its view of cgroups (tests/peers) takes root to make."""


# --- the walk -----------------------------------------------------------------------------------------------


def test_no_claim_goes_untried(runtime: Runtime) -> None:
    claims = claims_of(runtime)
    assert set(CHECKS) - set(claims) == {
        family for family in CHECKS if runtime.kind in UNCLAIMED.get(family, "")
    }
    if runtime.kind == "ours":
        assert set(claims) == set(CHECKS)
        assert all(len(words) == len(set(map(str, words))) for words in claims.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each family, for the runtimes that can show it."""
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", [pytest.param(name, marks=for_runtimes(name)) for name in CHECKS])


def for_runtimes(family: str) -> list[pytest.MarkDecorator]:
    """Say by a mark for which runtimes a family is tried, if not for all."""
    silent = (UNCLAIMED | UNTRIED).get(family, "").split()
    kinds = [kind for kind in ("ours", "crun", "runc") if kind not in silent]
    return [pytest.mark.requires(f"runtime:{'|'.join(kinds)}")] if silent else []


def test_what_is_claimed_is_true(runtime: Runtime, bundle: MakeBundle, workspace: Path, family: str) -> None:
    CHECKS[family](Room(runtime, bundle, workspace), claims_of(runtime)[family])


# --- versions, hooks, annotations ---------------------------------------------------------------------------


@claim("ociVersionMin")
@claim("ociVersionMax")
def check_version(room: Room, versions: list[str]) -> None:
    """A configuration of this version runs."""
    for version in versions:
        made = room.bundle()
        made.config["ociVersion"] = version.removesuffix("+dev")
        accepts(room.runtime.run(made))


@claim("hooks")
def check_hooks(room: Room, kinds: list[str]) -> None:
    """Each hook is called once, between create and delete."""
    log = room.workspace / "hooks"
    made = room.bundle().args("true")
    inside = made.rootfs / "said"
    made.config["hooks"] = {
        kind: [
            {
                "path": "/bin/sh",
                "args": [
                    "sh",
                    "-c",
                    f"cat > /dev/null; echo {kind} >> {log if kind != 'startContainer' else '/said'}",
                ],
            }
        ]
        for kind in kinds
    }
    name = room.runtime.started(made)
    room.runtime.wait_stopped(name)
    accepts(room.runtime.delete(name))
    assert sorted(log.read_text().split() + inside.read_text().split()) == sorted(kinds)


@claim("annotations.org.minicontainer.version")
def check_own_version(room: Room, versions: list[str]) -> None:
    """It is the version that --version tells."""
    assert room.runtime.succeed("--version").stdout.splitlines()[0].endswith(f" {versions[0]}")


@claim("potentiallyUnsafeConfigAnnotations")
def check_annotations(room: Room, names: list[str]) -> None:
    """Each of these annotations has an effect outside of the container, or on its rights."""
    tries: dict[str, Callable[[Room], None]] = {
        "run.oci.hooks.stdout": lambda room: try_hook_stream(room, "stdout"),
        "run.oci.hooks.stderr": lambda room: try_hook_stream(room, "stderr"),
        "run.oci.keep_original_groups": try_groups,
        "run.oci.seccomp.receiver": try_receiver,
        "org.systemd.property.": try_unit_property,
    }
    for name in names:
        if name in tries or room.runtime.kind == "ours":
            expected(tries, name)(room)


def try_hook_stream(room: Room, stream: str) -> None:
    """What a hook says goes to the file."""
    file = room.workspace / f"hook-{stream}"
    made = room.bundle()
    made.config["annotations"] = {f"run.oci.hooks.{stream}": str(file)}
    said = f"echo hello >&{1 if stream == 'stdout' else 2}"
    made.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", said]}]}
    accepts(room.runtime.run(made))
    assert file.read_text() == "hello\n"


def try_groups(room: Room) -> None:
    """The caller's groups stay."""
    made = room.bundle().args("grep", "Groups", "/proc/self/status")
    made.config["annotations"] = {"run.oci.keep_original_groups": "1"}
    assert {"4", "6"} <= set(room.runtime.output(made, extra_groups=[4, 6]).split())


def try_receiver(room: Room) -> None:
    """The filter's descriptor goes to the socket."""
    made = room.bundle()
    path = str(room.workspace / "receiver")
    made.config["annotations"] = {"run.oci.seccomp.receiver": path}
    with_listener(room, filtered(made, rule("SCMP_ACT_NOTIFY", "mkdir")), path)


def with_listener(room: Room, made: Bundle, path: str) -> None:
    """Start a container while somebody listens, who gets one descriptor."""
    found: dict[str, Any] = {}
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(1)
        listening.settimeout(30)
        thread = threading.Thread(target=receive, args=(listening, found))
        thread.start()
        room.runtime.started(made)
        thread.join(30)
    assert len(found["descriptors"]) == 1
    os.close(found["descriptors"][0])


def try_unit_property(room: Room) -> None:
    """The property is the scope's."""
    with_systemd(room, user=False)


def with_systemd(room: Room, user: bool) -> None:
    """Create a container as a scope of the system's, or a user's own systemd, with a property."""
    if not met("tool:dbus-daemon"):
        pytest.skip("requires tool:dbus-daemon")
    folder = room.workspace / f"scoped-{user}-{len(list(room.workspace.iterdir()))}"
    folder.mkdir()
    own = f"/test{os.getpid()}.service" if user else ""
    with FakeSystemd(tree=cgroup2_root(), own_group=own) as bus:
        runtime = ScopedRuntime(folder, bus)
        made = scoped(room.bundle)
        made.config["annotations"] = {"org.systemd.property.TimeoutStopUSec": "uint64 7000000"}
        if user:
            runtime.variable = "DBUS_SESSION_BUS_ADDRESS"
            runtime.unshare = ["--user", "--map-root-user", "--mount"]
            made.linux["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
            made.mounts = [entry for entry in made.mounts if entry["destination"] in ("/proc", "/dev")]
        try:
            accepts(runtime.create(made))
            assert bus.units[unit(made)]["TimeoutStopUSec"] == ("t", 7_000_000)
            assert not bus.is_empty(unit(made))
        finally:
            runtime.clean()


# --- mounts -------------------------------------------------------------------------------------------------

# option -> (options of a mount, words that mountinfo then shows, words that it does not show)
MOUNTS: dict[str, tuple[list[str], set[str], set[str]]] = {
    "ro": (["ro"], {"ro"}, {"rw"}), "rw": (["ro", "rw"], {"rw"}, {"ro"}),
    **{f"no{word}": ([f"no{word}"], {f"no{word}"}, set()) for word in ("suid", "dev", "exec", "symfollow")},
    **{word: ([f"no{word}", word], set(), {f"no{word}"}) for word in ("suid", "dev", "exec", "symfollow")},
    "noatime": (["noatime"], {"noatime"}, {"relatime"}), "atime": (["noatime", "atime"], set(), {"noatime"}),
    "nodiratime": (["nodiratime"], {"nodiratime"}, set()),
    "diratime": (["nodiratime", "diratime"], set(), {"nodiratime"}),
    "relatime": (["noatime", "relatime"], {"relatime"}, {"noatime"}),
    "norelatime": (["norelatime"], set(), {"relatime", "noatime"}),
    "strictatime": (["strictatime"], set(), {"relatime", "noatime"}),
    "nostrictatime": (["strictatime", "nostrictatime"], {"relatime"}, {"noatime"}),
    "sync": (["sync"], {"sync"}, set()), "async": (["sync", "async"], set(), {"sync"}),
    "dirsync": (["dirsync"], {"dirsync"}, set()),
    "lazytime": (["lazytime"], {"lazytime"}, set()),
    "nolazytime": (["lazytime", "nolazytime"], set(), {"lazytime"}),
    # What the kernel no longer shows, or has no word for in a new mount, is taken and does no harm.
    **{word: ([word], set(), {"ro"}) for word in (
        "mand", "nomand", "iversion", "noiversion", "silent", "loud", "acl", "noacl", "defaults", "remount")},
    "tmpcopyup": (["tmpcopyup"], set(), {"ro"}),
}  # fmt: skip
SHARING = {"shared": "shared:", "slave": "master:", "private": "", "unbindable": "unbindable"}
BINDS = ("bind", "rbind", "idmap", "ridmap")


@claim("mountOptions")
def check_mount_options(room: Room, words: list[str]) -> None:
    """Each option shows in /proc/self/mountinfo of one container that uses them all."""
    with host_tree(room.workspace) as tree:
        made = room.bundle().args("cat", "/proc/self/mountinfo")
        known = [word for word in words if room.runtime.kind == "ours" or is_tried(word)]
        tried = [word for word in known if word not in OTHERWISE[room.runtime.kind]]
        made.mounts += [entry for word in tried for entry in entries_for(word, tree)]
        shown = Shown(room.output(made))
        for word in set(known) - set(tried):
            made = room.bundle().args("cat", "/proc/self/mountinfo")
            made.mounts += entries_for(word, tree)
            with pytest.raises(AssertionError):  # if not, it is true now: take it from OTHERWISE
                check_mount_option(Shown(room.output(made)), word)
    assert len(known) == len(tried) or room.runtime.deviates("claimed-mount-options")
    for word in tried:
        check_mount_option(shown, word)


def is_tried(word: str) -> bool:
    """Tell whether there is a try of an option."""
    return (
        word in MOUNTS or word in BINDS or word.removeprefix("r") in {**MOUNTS, **SHARING} or word in SHARING
    )


# What the peers claim and show otherwise. They run in a mount namespace
# without shared mounts, so that slaves have no master there.
SLAVES = {"slave", "rslave"}
OTHERWISE: dict[str, set[str]] = {
    "ours": set(),
    "runc": {"defaults", "remount", "relatime", "rrelatime", "norelatime", "rnorelatime", *SLAVES},
    "crun": {
        *("rw", "suid", "dev", "exec", "async", "atime", "diratime", "relatime", "norelatime"),
        *("nostrictatime", "remount", "shared", "unbindable", "rshared", "runbindable", *SLAVES),
        *("rrw", "rsuid", "rdev", "rexec", "rsync", "rasync", "rdirsync", "rmand", "rnomand", "ratime"),
        *("rnoatime", "rdiratime", "rnodiratime", "rrelatime", "rnorelatime", "rstrictatime"),
        "rnostrictatime",
    },
}


class host_tree:  # noqa: N801 - used like a function
    """A folder of the host with another mount below it, shared, so that it can have slaves."""

    def __init__(self, workspace: Path) -> None:
        self.top = workspace / "host-tree"

    def __enter__(self) -> Path:
        self.top.mkdir()
        for path in (self.top, self.top / "below"):
            path.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(path)], check=True)
            subprocess.run(["mount", "--make-shared", str(path)], check=True)
        return self.top

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-R", str(self.top)], check=True)


def entries_for(word: str, tree: Path) -> list[dict[str, Any]]:
    """Give the mounts that try an option."""
    place = f"/option-{word}"
    if word in ("bind", "rbind"):
        return [mount(place, "bind", str(tree), word)]
    if word in ("idmap", "ridmap"):
        entry = bind(tree, place, word)
        ids = [{"containerID": 0, "hostID": 5000, "size": 10}]
        return [{**entry, "uidMappings": ids, "gidMappings": ids}]
    if word in SHARING or word.removeprefix("r") in SHARING:
        return [mount(place, "bind", str(tree), "rbind", word)]
    if word in MOUNTS:
        return [mount(place, "tmpfs", "tmpfs", *MOUNTS[word][0])]
    assert word.removeprefix("r") in MOUNTS, f"{word} is claimed, and nobody has tried it"
    options = ["r" + each for each in MOUNTS[word.removeprefix("r")][0]]
    return [mount(place, "bind", str(tree), "rbind", *options)]


class Shown:
    """What /proc/self/mountinfo shows: for each place the options of the mount and its sharing."""

    def __init__(self, text: str) -> None:
        self.rows = {row.split()[4]: row for row in text.splitlines()}

    def words(self, place: str) -> set[str]:
        """Give the options of the mount and of its file system."""
        own, _, system = self.rows[place].partition(" - ")
        # Of the file system's own words ro and rw are another thing.
        return set(own.split()[5].split(",")) | set(system.split()[2].split(",")) - {"ro", "rw"}

    def sharing(self, place: str) -> str:
        """Give the optional fields."""
        return " ".join(self.rows[place].partition(" - ")[0].split()[6:])


def check_mount_option(shown: Shown, word: str) -> None:
    """Compare one option with what is shown at its place, and below it for recursive ones."""
    place = f"/option-{word}"
    if word in BINDS:
        assert place in shown.rows
        assert (f"{place}/below" in shown.rows) == (word == "rbind")
        return
    kind = word if word in SHARING else word.removeprefix("r")
    if kind in SHARING:
        assert shown.sharing(place).startswith(SHARING[kind]), word
        assert SHARING[kind] or not shown.sharing(place), word
        below = shown.sharing(f"{place}/below")
        assert word in SHARING or (below.startswith(SHARING[kind]) and bool(below) == bool(SHARING[kind])), (
            word
        )
        return
    _, there, absent = MOUNTS[word] if word in MOUNTS else MOUNTS[word.removeprefix("r")]
    for point in [place] if word in MOUNTS else [place, f"{place}/below"]:
        assert there <= shown.words(point), (word, shown.words(point))
        assert not absent & shown.words(point), (word, shown.words(point))


@claim("linux.mountExtensions.idmap.enabled")
def check_idmap(room: Room, values: list[bool]) -> None:
    """The owners of a volume are translated by the mount's own map."""
    assert values == [True]
    volume = room.workspace / "volume"
    volume.mkdir()
    os.chown(volume, 5003, 5004)
    made = room.bundle().args("stat", "-c", "%u:%g", "/volume")
    maps = [{"containerID": 5000, "hostID": 100, "size": 10}]
    made.mounts.append({**bind(volume, "/volume"), "uidMappings": maps, "gidMappings": maps})
    assert room.output(made) == "103:104\n"


# --- namespaces, capabilities, cgroups ----------------------------------------------------------------------

NAMESPACE_FILES = {"network": "net", "mount": "mnt"}


@claim("linux.namespaces")
def check_namespaces(room: Room, kinds: list[str]) -> None:
    """A container with all of them has none of the host's."""
    files = [NAMESPACE_FILES.get(kind, kind) for kind in kinds]
    made = room.bundle().shell(f"for n in {' '.join(files)}; do readlink /proc/self/ns/$n; done")
    made.map_users()
    for kind in kinds:
        made.namespace(kind)
    links = room.output(made).split()
    assert [link.partition(":")[0] for link in links] == files
    assert not set(links) & {str(Path(f"/proc/self/ns/{name}").readlink()) for name in files}


@claim("linux.capabilities")
def check_capabilities(room: Room, names: list[str]) -> None:
    """Each is a bit of its own, at the place where the kernel has it."""
    order = [name.upper() for name in CAPABILITIES]
    for name in names:
        made = room.bundle().args("grep", "CapEff", "/proc/self/status")
        made.capabilities(name.removeprefix("CAP_"))
        if not has_capability(name.removeprefix("CAP_")):
            continue_without(room, made, name)
            continue
        assert int(room.output(made).split()[1], 16) == 1 << order.index(name), name


def continue_without(room: Room, made: Bundle, name: str) -> None:
    """A capability that we do not have ourselves is known all the same: nobody calls it unknown."""
    done = room.runtime.run(made)
    assert "unknown" not in done.stderr, (name, done.stderr)
    assert done.returncode != 0 or int(done.stdout.split()[1], 16) == 0, name


@claim("linux.cgroup.v1")
def check_cgroup_v1(room: Room, values: list[bool]) -> None:
    """Groups of cgroup v1 are left as they are."""
    name = room.runtime.sleeping(room.bundle())
    if values == [False]:
        theirs = Path(f"/proc/{room.runtime.pid(name)}/cgroup").read_text().splitlines()
        ours = Path("/proc/self/cgroup").read_text().splitlines()
        assert [row for row in theirs if row[:3] != "0::"] == [row for row in ours if row[:3] != "0::"]


@claim("linux.cgroup.v2")
def check_cgroup_v2(room: Room, values: list[bool]) -> None:
    """The process is in the group of the configuration."""
    assert values == [True]
    made = room.bundle()
    pid = room.runtime.pid(room.runtime.sleeping(made))
    assert (room.runtime.cgroup(made) / "cgroup.procs").read_text().split() == [str(pid)]


@claim("linux.cgroup.systemd")
def check_systemd(room: Room, values: list[bool]) -> None:
    """The system's systemd makes the group."""
    assert values == [True]
    with_systemd(room, user=False)


@claim("linux.cgroup.systemdUser")
def check_systemd_user(room: Room, values: list[bool]) -> None:
    """A user's own systemd makes the group."""
    assert values == [True]
    with_systemd(room, user=True)


@claim("linux.cgroup.rdma")
def check_rdma(room: Room, values: list[bool]) -> None:
    """The limit is written, or its controller is missed by name; it is never ignored."""
    assert values == [True]
    made = room.bundle().args("true")
    made.linux["resources"]["rdma"] = {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}
    done = room.runtime.create(made)
    refuses(room.runtime, done, "rdma")  # no such device, or no controller


# --- seccomp ------------------------------------------------------------------------------------------------

TRY_KILL = "for s in CONT URG WINCH; do kill -$s $$ || echo $s; done 2>/dev/null"
# Of the signals CONT 18, URG 23 and WINCH 28: which are refused by a comparison with 23.
OPERATORS = {
    "SCMP_CMP_EQ": "URG", "SCMP_CMP_NE": "CONT WINCH", "SCMP_CMP_LT": "CONT", "SCMP_CMP_LE": "CONT URG",
    "SCMP_CMP_GT": "WINCH", "SCMP_CMP_GE": "URG WINCH", "SCMP_CMP_MASKED_EQ": "URG WINCH",
}  # fmt: skip
ACTIONS: dict[str, tuple[str, int]] = {
    "SCMP_ACT_ALLOW": ("made", 0), "SCMP_ACT_LOG": ("made", 0),
    "SCMP_ACT_ERRNO": ("Operation not permitted", 0), "SCMP_ACT_TRACE": ("Function not implemented", 0),
    "SCMP_ACT_TRAP": ("Bad system call", KILLED_BY_SIGSYS),
    "SCMP_ACT_KILL": ("Bad system call", KILLED_BY_SIGSYS),
    "SCMP_ACT_KILL_THREAD": ("Bad system call", KILLED_BY_SIGSYS),
    "SCMP_ACT_KILL_PROCESS": ("Bad system call", KILLED_BY_SIGSYS),
}  # fmt: skip
BIG_ENDIAN = {
    f"SCMP_ARCH_{name}" for name in ("S390", "S390X", "MIPS", "MIPS64", "MIPS64N32", "PPC", "PPC64")
}
"""They are of no use on this machine, and no filter can hold both byte orders."""


@claim("linux.seccomp.enabled")
def check_seccomp(room: Room, values: list[bool]) -> None:
    """A filter is loaded."""
    assert values == [True]
    made = filtered(
        room.bundle().args("grep", "Seccomp:", "/proc/self/status"), rule("SCMP_ACT_ERRNO", "mkdir")
    )
    assert room.output(made).split()[1] == "2"


@claim("linux.seccomp.actions")
def check_actions(room: Room, names: list[str]) -> None:
    """Each action does what seccomp(2) says of it, to a call to mkdir."""
    for name in names:
        made = room.bundle().shell("mkdir /new 2>&1 && echo made; echo code $?")
        if name == "SCMP_ACT_NOTIFY":
            path = str(room.workspace / "listener")
            more = {"listenerPath": path, "listenerMetadata": "x"}
            with_listener(room, filtered(room.bundle(), rule(name, "mkdir"), **more), path)
            continue
        said, code = expected(ACTIONS, name)
        made.shell("mkdir /new 2>&1 && echo made")
        done = room.runtime.run(filtered(made, rule(name, "mkdir", "mkdirat")))
        if code:
            assert done.returncode in (code, code - 128), (name, done)
        else:
            assert said in done.stdout, (name, done)


@claim("linux.seccomp.operators")
def check_operators(room: Room, names: list[str]) -> None:
    """Each comparison refuses exactly the calls to kill that it should."""
    for name in names:
        argument = {"index": 1, "value": 23, "op": name}
        if name == "SCMP_CMP_MASKED_EQ":
            argument |= {"value": 4, "valueTwo": 4}
        made = filtered(room.bundle().shell(TRY_KILL), rule("SCMP_ACT_ERRNO", "kill", args=[argument]))
        assert room.runtime.run(made).stdout.split() == expected(OPERATORS, name).split(), name


@claim("linux.seccomp.archs")
def check_architectures(room: Room, names: list[str]) -> None:
    """A filter may name each architecture beside the machine's own, which stays filtered."""
    for name in names:
        made = filtered(
            room.bundle().shell("mkdir /new 2>/dev/null || echo refused"),
            rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat"),
            architectures=sorted({"SCMP_ARCH_X86_64", name}),
        )
        done = room.runtime.run(made)
        if name in BIG_ENDIAN:
            refuses(room.runtime, done, "byte order" if room.runtime.kind == "ours" else "arch")
        else:
            assert done.stdout == "refused\n", (name, done)


@claim("linux.seccomp.knownFlags")
@claim("linux.seccomp.supportedFlags")
def check_flags(room: Room, names: list[str]) -> None:
    """The kernel takes a filter with each flag; one of them is only for filters with a listener."""
    for name in names:
        path = str(room.workspace / f"listener-{len(list(room.workspace.iterdir()))}")
        if name == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV":
            made = filtered(room.bundle(), rule("SCMP_ACT_NOTIFY", "mkdir"), flags=[name], listenerPath=path)
            with_listener(room, made, path)
            continue
        made = room.bundle().args("grep", "Seccomp:", "/proc/self/status")
        assert room.output(filtered(made, rule("SCMP_ACT_ERRNO", "mkdir"), flags=[name])).split()[1] == "2", (
            name
        )


# --- what depends on the machine, and what is not there -----------------------------------------------------


@claim("linux.apparmor.enabled")
def check_apparmor(room: Room, values: list[bool]) -> None:
    """A profile that cannot be had is refused; `unconfined` always can."""
    assert values == [True]
    check_label(room, "apparmorProfile", "no-such-profile")
    if met("lsm:apparmor"):
        made = room.bundle().args("cat", "/proc/self/attr/current")
        made.process["apparmorProfile"] = "unconfined"
        assert room.output(made).startswith("unconfined")


@claim("linux.selinux.enabled")
def check_selinux(room: Room, values: list[bool]) -> None:
    """A label that cannot be had is refused."""
    assert values == [True]
    check_label(room, "selinuxLabel", "no such label")


def check_label(room: Room, name: str, value: str) -> None:
    """A label that the machine does not know is refused."""
    made = room.bundle().args("true")
    made.process[name] = value
    done = room.runtime.create(made)
    refuses(room.runtime, done, deviation="ignored-profile" if name == "apparmorProfile" else None)


@claim("linux.intelRdt.enabled")
def check_intel_rdt(room: Room, values: list[bool]) -> None:
    """What is not there is refused, not ignored."""
    if values == [False]:
        made = room.bundle().args("true")
        made.linux["intelRdt"] = {"closID": "x"}
        refuses(room.runtime, room.runtime.create(made), "intelRdt")


@claim("linux.netDevices.enabled")
def check_network_devices(room: Room, values: list[bool]) -> None:
    """What is not there is refused, not ignored."""
    if values == [False]:
        made = room.bundle().args("true")
        made.linux["netDevices"] = {"eth7": {"name": "x"}}
        refuses(room.runtime, room.runtime.create(made), "netDevices")


POLICIES = {
    "MPOL_DEFAULT": "default", "MPOL_LOCAL": "local",
    "MPOL_BIND": "bind:0", "MPOL_INTERLEAVE": "interleave:0",
    "MPOL_PREFERRED": "prefer:0", "MPOL_PREFERRED_MANY": "prefer (many):0",
    "MPOL_WEIGHTED_INTERLEAVE": "weighted interleave:0",
}  # fmt: skip
POLICY_FLAGS = {
    "MPOL_F_STATIC_NODES": "bind=static:0", "MPOL_F_RELATIVE_NODES": "bind=relative:0",
    "MPOL_F_NUMA_BALANCING": "bind",
}  # fmt: skip


@claim("linux.memoryPolicy.modes")
def check_memory_modes(room: Room, names: list[str]) -> None:
    """Each policy is the program's."""
    for name in names:
        policy: dict[str, Any] = {"mode": name}
        if name not in ("MPOL_DEFAULT", "MPOL_LOCAL"):
            policy["nodes"] = "0"
        try_policy(room, policy, expected(POLICIES, name))


@claim("linux.memoryPolicy.flags")
def check_memory_flags(room: Room, names: list[str]) -> None:
    """Each flag is the policy's."""
    for name in names:
        try_policy(room, {"mode": "MPOL_BIND", "nodes": "0", "flags": [name]}, expected(POLICY_FLAGS, name))


def try_policy(room: Room, policy: dict[str, Any], shown: str) -> None:
    """Run a program with a memory policy, and look at it where the kernel shows it."""
    made = room.bundle().args("cat", "/proc/self/numa_maps" if met_numa() else "/proc/self/status")
    made.linux["memoryPolicy"] = policy
    done = room.runtime.run(made)
    if met_numa():
        assert shown in done.stdout, (policy, done)
    else:
        refuses(room.runtime, done, "mempolicy") if policy["mode"] != "MPOL_DEFAULT" else accepts(done)


def met_numa() -> bool:
    """Tell whether this kernel knows memory policies."""
    return Path("/proc/self/numa_maps").exists()
