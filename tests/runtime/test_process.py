"""What the process is given: streams, environment, folder, limits and scheduling, as the kernel shows it.

Implements: runtime-spec, config.md "Process" and config-linux.md "Personality".
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts, refuses

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

STATUS = "cat /proc/self/status"
PIPE_AND_FILE_SIZE = 1 << 12 | 1 << 24
"""SIGPIPE and SIGXFSZ, which CPython ignores, in the masks of /proc/PID/status."""


def status_field(text: str, name: str) -> str:
    """Give one field of a /proc/PID/status."""
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(name + ":"))


def test_the_standard_streams_are_the_callers(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("cat; echo problem >&2")
    done = runtime.run(made, text="from the caller\n")
    assert done.stdout == "from the caller\n"
    assert done.stderr == "problem\n"


def test_create_prints_nothing_itself(runtime: Runtime, bundle: MakeBundle) -> None:
    done = runtime.create(bundle())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def environment(runtime: Runtime, bundle: MakeBundle, *env: str, uid: int = 0) -> list[str]:
    """Run env(1) in a container and give its lines."""
    made = bundle().args("env")
    made.process["env"] = ["PATH=/bin", *env]
    made.process["user"]["uid"] = uid
    return runtime.output(made, env={"PATH": os.environ["PATH"], "CALLER": "1", "LC_CTYPE": "C"}).split("\n")[
        :-1
    ]


def test_the_environment_is_the_configs_and_home(runtime: Runtime, bundle: MakeBundle) -> None:
    assert sorted(environment(runtime, bundle, "A=1", "B=x=y z")) == [
        "A=1",
        "B=x=y z",
        "HOME=/root",
        "PATH=/bin",
    ]


@pytest.mark.parametrize(("uid", "home"), [(0, "/root"), (1000, "/home/bob"), (4242, "/")])
def test_home_comes_from_the_containers_passwd(
    runtime: Runtime, bundle: MakeBundle, uid: int, home: str
) -> None:
    assert f"HOME={home}" in environment(runtime, bundle, uid=uid)


def test_a_given_home_is_kept_and_an_empty_one_is_filled(runtime: Runtime, bundle: MakeBundle) -> None:
    assert [line for line in environment(runtime, bundle, "HOME=/mine") if "HOME" in line] == ["HOME=/mine"]
    filled = "HOME=" if runtime.deviates("empty-home") else "HOME=/root"
    assert [line for line in environment(runtime, bundle, "HOME=") if "HOME" in line] == [filled]


def test_the_last_of_two_values_wins(runtime: Runtime, bundle: MakeBundle) -> None:
    lines = environment(runtime, bundle, "A=1", "A=2")
    assert [line for line in lines if line.startswith("A=")] == ["A=2"]


def test_the_program_runs_in_its_cwd(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("pwd")
    made.process["cwd"] = "/home/bob"
    assert runtime.output(made) == "/home/bob\n"


@pytest.mark.parametrize("readonly", [False, True])
def test_a_missing_cwd_is_made(runtime: Runtime, bundle: MakeBundle, readonly: bool) -> None:
    made = bundle().shell("pwd; stat -c '%a %u:%g' .; touch new && echo written")
    made.process["cwd"] = "/srv/made/for/it"
    made.config["root"]["readonly"] = readonly
    done = runtime.run(made, umask=0o022)
    assert done.stdout.splitlines() == ["/srv/made/for/it", "755 0:0", *([] if readonly else ["written"])]
    assert ("Read-only file system" in done.stderr) == readonly


def test_a_cwd_that_only_the_user_may_enter_is_entered(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("pwd")
    (made.rootfs / "home/bob").chmod(0o700)
    made.process["cwd"] = "/home/bob"
    made.process["user"] = {"uid": 1000, "gid": 1000}
    assert runtime.output(made) == "/home/bob\n"


def test_a_cwd_that_only_root_may_enter_is_entered_for_a_user(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("readlink", "/proc/self/cwd")
    (made.rootfs / "root").chmod(0o700)
    made.process["cwd"] = "/root"
    made.process["user"] = {"uid": 1000, "gid": 1000}
    assert runtime.output(made) == "/root\n"


def test_the_user_and_the_groups_are_exact(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell(STATUS)
    made.process["user"] = {"uid": 1000, "gid": 50, "additionalGids": [10, 20, 50]}
    text = runtime.output(made)
    assert status_field(text, "Uid").split() == ["1000"] * 4
    assert status_field(text, "Gid").split() == ["50"] * 4
    assert {"10", "20", "50"} == set(status_field(text, "Groups").split())


def test_there_are_no_groups_of_the_caller(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell(STATUS)
    made.process["user"] = {"uid": 1000, "gid": 1000}
    text = runtime.output(made, extra_groups=[4, 6])
    assert set(status_field(text, "Groups").split()) <= {"1000"}


def test_the_callers_groups_are_kept_on_request(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell(STATUS)
    made.config["annotations"] = {"run.oci.keep_original_groups": "1"}
    text = runtime.output(made, extra_groups=[4, 6])
    assert ({"4", "6"} <= set(status_field(text, "Groups").split())) != runtime.deviates("no-keep-groups")


def test_the_umask_is_the_processs(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell(STATUS + "; ls -ld /dev/null /dev/shm /new")
    made.process["user"]["umask"] = 0o077
    made.mounts.append({"destination": "/new", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]})
    lines = runtime.output(made, umask=0o027)
    assert status_field(lines, "Umask") == "0077"
    assert [line.split()[0] for line in lines.splitlines()[-3:]] == ["crw-rw-rw-", "drwxrwxrwt", "drwxr-xr-x"]


def test_without_a_umask_it_is_022(runtime: Runtime, bundle: MakeBundle) -> None:
    text = runtime.output(bundle().shell(STATUS), umask=0o077)
    assert status_field(text, "Umask") == "0022"


def test_resource_limits_are_set(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("cat", "/proc/self/limits")
    made.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_STACK", "soft": 1048576, "hard": 2097152},
    ]
    rows = [line.split() for line in runtime.output(made).splitlines()]
    found = {tuple(row[1:3]): row for row in rows}
    assert found["open", "files"][3:5] == ["100", "200"]
    assert found["core", "file"][4:6] == ["0", "0"]
    assert found["stack", "size"][3:5] == ["1048576", "2097152"]


@pytest.mark.parametrize(("config", "shown"), [(500, "500"), (0, "0"), (None, "1")])
def test_the_oom_score_is_the_configs(
    runtime: Runtime, bundle: MakeBundle, config: int | None, shown: str
) -> None:
    made = bundle().args("cat", "/proc/self/oom_score_adj")
    if config is not None:
        made.process["oomScoreAdj"] = config
    text = runtime.output(made, preexec_fn=lambda: Path("/proc/self/oom_score_adj").write_text("1"))
    assert text == shown + "\n"


def test_no_new_privileges_is_set_on_request_only(runtime: Runtime, bundle: MakeBundle) -> None:
    for wanted in (True, False):
        made = bundle().shell(STATUS)
        made.process["noNewPrivileges"] = wanted
        assert status_field(runtime.output(made), "NoNewPrivs") == str(int(wanted))


def test_a_pipe_that_closes_ends_the_writer(runtime: Runtime, bundle: MakeBundle) -> None:
    text = runtime.output(bundle().shell("yes | head -n 1; " + STATUS))
    assert text.startswith("y\n")
    assert int(status_field(text, "SigBlk"), 16) == 0
    assert int(status_field(text, "SigIgn"), 16) & PIPE_AND_FILE_SIZE == 0


def test_the_personality_is_set(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("uname", "-m")
    made.linux["personality"] = {"domain": "LINUX32"}
    assert runtime.output(made) == "i686\n"


def test_the_scheduler_is_set(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("cut -d' ' -f 19,40,41 /proc/self/stat")
    made.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
    assert runtime.output(made) == "5 0 3\n"


def test_the_io_priority_is_set(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("ionice")
    made.process["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    assert runtime.output(made).startswith("idle")


def test_an_unknown_scheduler_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["scheduler"] = {"policy": "SCHED_MAGIC"}
    refuses(runtime, runtime.create(made), "SCHED_MAGIC")


@pytest.mark.requires("kernel:5.0")
def test_exec_can_be_bound_to_processors(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    name = runtime.sleeping(made)
    process = made.process | {"args": ["grep", "Cpus_allowed_list", "/proc/self/status"]}
    (made.path / "process.json").write_text(json.dumps(process))
    done = runtime.succeed("exec", "--process", str(made.path / "process.json"), name)
    assert done.stdout.split() == ["Cpus_allowed_list:", "0"]
    done = runtime.exec(name, *process["args"])
    accepts(done)
    assert (done.stdout.split()[1] != "0") == runtime.deviates("affinity-of-plain-exec")


def test_host_and_domain_name_are_the_containers(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("hostname; cat /proc/sys/kernel/domainname")
    made.config |= {"hostname": "inside", "domainname": "example.org"}
    before = Path("/proc/sys/kernel/domainname").read_text()
    assert runtime.output(made) == "inside\nexample.org\n"
    assert Path("/proc/sys/kernel/domainname").read_text() == before


def test_a_container_has_a_session_keyring_of_its_own(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("cat", "/proc/keys")
    made.linux["maskedPaths"] = []
    keys = runtime.output(made)
    assert made.id in keys


def test_a_session_keyring_is_not_made_when_declined(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("cat", "/proc/keys")
    made.linux["maskedPaths"] = []
    done = runtime.run(made, None, "--no-new-keyring")
    accepts(done)
    assert made.id not in done.stdout
