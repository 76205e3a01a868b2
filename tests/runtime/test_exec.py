"""A second program in a running container: it gets what the container has, and nothing of the caller's.

Implements: runc exec(8), and what podman's and containerd's exec rely on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.checks import accepts, refuses
from tests.runtime.test_process import STATUS, status_field
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Completed, Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")


def exec_process(runtime: Runtime, made: Bundle, *flags: str, **changes: Any) -> Completed:
    """Run exec with a process.json that is the container's own, changed."""
    path = made.path / "process.json"
    path.write_text(json.dumps(made.process | changes))
    return runtime.call("exec", "--process", str(path), *flags, made.id)


def test_exec_passes_on_streams_and_exit_code(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    done = runtime.exec(name, "sh", "-c", "cat; echo problem >&2; exit 7", text="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "in\n", "problem\n")


def test_exec_gives_128_plus_the_signal(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    assert runtime.exec(name, "sh", "-c", "kill -9 $$").returncode == 137


def test_exec_joins_every_namespace(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().namespace("cgroup")
    name = runtime.sleeping(made)
    kinds = ["cgroup", "ipc", "mnt", "net", "pid", "uts"]
    script = f"for kind in {' '.join(kinds)}; do readlink /proc/self/ns/$kind; done"
    done = runtime.exec(name, "sh", "-c", script)
    accepts(done)
    folder = Path(f"/proc/{runtime.pid(name)}/ns")
    assert done.stdout.split() == [str((folder / kind).readlink()) for kind in kinds]


def test_exec_joins_the_cgroup(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    done = runtime.exec(runtime.sleeping(made), "cat", "/proc/self/cgroup")
    accepts(done)
    assert f"0::/{made.id}\n" in done.stdout


def test_exec_works_before_start(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    accepts(runtime.create(made))
    assert runtime.exec(made.id, "hostname").stdout == "container\n"


def test_exec_in_a_paused_or_stopped_container_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    accepts(runtime.call("pause", name))
    done = runtime.exec(name, "true")
    refuses(runtime, done, "cannot exec in a paused container", code=255, deviation="exec-fails")
    accepts(runtime.call("resume", name))
    accepts(runtime.kill(name, "KILL"))
    runtime.wait_stopped(name)
    done = runtime.exec(name, "true")
    refuses(runtime, done, "cannot exec in a stopped container", code=255, deviation="exec-fails")


@pytest.mark.parametrize(
    ("argv", "flags", "words"),
    [
        (["nope"], [], 'exec: "nope": executable file not found in $PATH'),
        (["/etc/passwd"], [], "permission denied"),
        (["pwd"], ["--cwd", "/nope"], "no such file or directory"),
        (["id"], ["--user", "bob"], "bob"),
    ],
)
def test_exec_that_cannot_begin_exits_255(
    runtime: Runtime, bundle: MakeBundle, argv: list[str], flags: list[str], words: str
) -> None:
    done = runtime.exec(runtime.sleeping(bundle()), *argv, flags=flags)
    refuses(runtime, done, words, code=255, deviation="exec-fails")


def test_exec_with_a_relative_cwd_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    done = runtime.exec(runtime.sleeping(bundle()), "pwd", flags=["--cwd", "tmp"])
    refuses(runtime, done, "Cwd must be an absolute path", code=255, deviation="exec-relative-cwd")


def test_exec_has_the_containers_environment_and_folder(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["env"] += ["COLOUR=blue"]
    made.process["cwd"] = "/var"
    name = runtime.sleeping(made)
    done = runtime.exec(name, "sh", "-c", "echo $COLOUR $SIZE $HOME; pwd", flags=["--env", "SIZE=big"])
    folder = "/" if runtime.deviates("plain-exec") else "/var"
    assert done.stdout == f"blue big /root\n{folder}\n"
    assert runtime.exec(name, "pwd", flags=["--cwd", "/tmp"]).stdout == "/tmp\n"


def test_exec_has_the_containers_rights(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("KILL", "CHOWN")
    name = runtime.sleeping(made)
    text = runtime.exec(name, "sh", "-c", STATUS).stdout
    init = Path(f"/proc/{runtime.pid(name)}/status").read_text()
    for field in ("Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Seccomp"):
        assert status_field(text, field) == status_field(init, field), field
    assert status_field(text, "NoNewPrivs") == ("0" if runtime.deviates("plain-exec") else "1")


def test_exec_can_be_given_a_user(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["user"]["additionalGids"] = [77]
    name = runtime.sleeping(made)
    text = runtime.exec(name, "sh", "-c", STATUS, flags=["--user", "1000:50"]).stdout
    assert status_field(text, "Uid").split() == ["1000"] * 4
    assert status_field(text, "Gid").split() == ["50"] * 4
    assert int(status_field(text, "CapEff"), 16) == 0
    assert ("77" in status_field(text, "Groups").split()) == runtime.deviates("exec-keeps-groups")


def test_exec_can_be_given_capabilities(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    text = runtime.exec(name, "sh", "-c", STATUS, flags=["--cap", "CAP_NET_RAW"]).stdout
    assert int(status_field(text, "CapEff"), 16) >> 13 & 1


def test_exec_reads_a_process_file(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    runtime.sleeping(made)
    done = exec_process(
        runtime, made, args=["sh", "-c", "id -u; pwd; umask; ulimit -n"], cwd="/var",
        user={"uid": 1000, "gid": 1000, "umask": 0o027},
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}],
    )  # fmt: skip
    umask = "0022" if runtime.deviates("umask-of-exec") else "0027"
    assert done.stdout == f"1000\n/var\n{umask}\n77\n"


@pytest.mark.parametrize("field", ["args", "cwd"])
def test_exec_refuses_a_process_file_without(runtime: Runtime, bundle: MakeBundle, field: str) -> None:
    made = bundle()
    runtime.sleeping(made)
    done = exec_process(runtime, made, **{field: [] if field == "args" else ""})
    assert (done.returncode != 0) or (field == "cwd" and runtime.deviates("exec-relative-cwd"))


def test_exec_with_capabilities_left_out_has_none(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    runtime.sleeping(made)
    done = exec_process(
        runtime, made, args=["cat", "/proc/self/status"], user={"uid": 1000, "gid": 1000},
        capabilities={"bounding": ["CAP_KILL"]},
    )  # fmt: skip
    assert int(status_field(done.stdout, "CapEff"), 16) == 0
    assert int(status_field(done.stdout, "CapBnd"), 16) == 1 << 5


def test_a_detached_exec_goes_on_after_the_call(
    runtime: Runtime, bundle: MakeBundle, workspace: Path
) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    accepts(runtime.exec(name, "sleep", "1000", flags=["--detach", "--pid-file", str(workspace / "pid")]))
    pid = int((workspace / "pid").read_text())
    eventually(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes(), "the program never ran")
    assert str(pid) in (runtime.cgroup(made) / "cgroup.procs").read_text().split()


def test_exec_needs_only_the_callers_descriptors(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    done = runtime.exec(name, "ls", "/proc/self/fd")
    assert {int(word) for word in done.stdout.split()} == {0, 1, 2, 3}, "3 is ls's own"


@pytest.mark.vm
def test_exec_joins_a_cgroup_below(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    (runtime.cgroup(made) / "part").mkdir()
    done = runtime.exec(name, "cat", "/proc/self/cgroup", flags=["--cgroup", "part"])
    accepts(done)
    assert f"0::/{made.id}/part\n" in done.stdout


def test_exec_follows_the_first_process_into_its_own_cgroup(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    (runtime.cgroup(made) / "init").mkdir()
    (runtime.cgroup(made) / "init" / "cgroup.procs").write_text(str(runtime.pid(name)))
    done = runtime.exec(name, "cat", "/proc/self/cgroup")
    accepts(done)
    assert f"0::/{made.id}" in done.stdout


def test_exec_has_the_containers_additional_groups(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["user"]["additionalGids"] = [77, 78]
    text = runtime.exec(runtime.sleeping(made), "sh", "-c", STATUS).stdout
    assert {"77", "78"} <= set(status_field(text, "Groups").split())


def test_the_oom_score_of_an_exec_is_the_configs(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["oomScoreAdj"] = 300
    name = runtime.sleeping(made)
    expected = "0\n" if runtime.deviates("plain-exec") else "300\n"
    assert runtime.exec(name, "cat", "/proc/self/oom_score_adj").stdout == expected


def test_many_programs_can_be_executed_at_once(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(bundle())
    running = [runtime.spawn("exec", name, "sh", "-c", f"exit {code}") for code in range(6)]
    assert [process.wait(60) for process in running] == list(range(6))
    assert runtime.status(name) == "running"
