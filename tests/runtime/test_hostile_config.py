"""Spoilt configurations: whatever is in config.json, the runtime runs it or says in one line what is wrong.

Valid configurations that ask for much are spoilt at one to three places, as a careless or hostile writer
would, and sometimes the text itself is. Each is then really run, as root, in an enclosure where it can do no
harm: it may name "/" as the root file system, "/" as the cgroup, the host's namespaces. The program of
all is `true`. So a run ends with 0; or with an error that names the field, the system call or the object; or,
where limits are too tight to live, by a signal. Never by a traceback, never late, and nothing stays behind.

See tests/oci/mutations.py, tests/runtime/enclosure.py; security.md, R27.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.leftovers import names_in
from tests.oci.mutations import EDGES, WORDS, containers, keys, mutated_texts
from tests.runtime import enclosure
from tests.runtime.bundles import Bundle, bind, mount
from tests.runtime.runtimes import cgroup2_root, remove_cgroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2", "userns", "timens", "runtime:ours")

HERE = Path(__file__).parents[2]
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
LIMITS = ("AS", "CPU", "DATA", "FSIZE", "NOFILE", "STACK")

WARNING = "minicontainer-runtime: warning: "
FIELD = r"(ociVersion|process|root|hostname|domainname|mounts|hooks|annotations|linux)\b[^ ]*: "
CALL = r"[a-z0-9_]+\("
OBJECTS = (
    r"/|\"[^\"]*\" |.* must be mounted on |.* and what is mounted on it ",
    r"error running \w+ hook #\d+: |exec: \"|(chdir to )?cwd |controller \w+ is not |(container's )?cgroup ",
    r"device filter: |seccomp: |the container's first process|the process that prepares ",
    r"invalid JSON|the JSON text|config cannot be null|expected an object, got ",
)
SENSIBLE = re.compile(f"minicontainer-runtime: ({'|'.join([FIELD, CALL, *OBJECTS])})")
"""What an error begins with: the field that is wrong, the system call that failed, or the object."""


def rich(bundle: Bundle) -> None:
    """Ask for much: so many places there are to spoil."""
    (bundle.path / "volume").mkdir()
    bundle.config["hooks"] = {
        kind: [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 20}] for kind in HOOKS
    }
    bundle.config["annotations"] = {"org.example": "value"}
    bundle.config["domainname"] = "example.org"
    bundle.process.update(
        rlimits=[
            {"type": f"RLIMIT_{name}", "soft": 2**40, "hard": 2**40} for name in LIMITS if name != "NOFILE"
        ],
        oomScoreAdj=100,
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4},
        scheduler={"policy": "SCHED_BATCH", "nice": 5},
        execCPUAffinity={"initial": "0", "final": "0"},
        consoleSize={"height": 24, "width": 80},
    )
    bundle.process["user"] = {"uid": 0, "gid": 0, "umask": 18, "additionalGids": [5, 50]}
    bundle.mounts += [
        mount("/etc", "tmpfs", "tmpfs", "tmpcopyup", "mode=755", "size=1m"),
        bind(bundle.path / "volume", "/mnt/volume", "ro", "rprivate"),
        bind(bundle.path / "config.json", "/mnt/file", "rro"),
    ]
    bundle.linux.update(
        devices=[
            {
                "path": "/dev/zero-too",
                "type": "c",
                "major": 1,
                "minor": 5,
                "fileMode": 438,
                "uid": 0,
                "gid": 0,
            }
        ],
        seccomp={
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                {
                    "names": ["kexec_load", "personality"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 1,
                    "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
        sysctl={"net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "8192"},
        rootfsPropagation="rprivate",
        personality={"domain": "LINUX"},
        timeOffsets={"monotonic": {"secs": 86400, "nanosecs": 5}},
    )
    bundle.linux["resources"]["devices"].append(
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}
    )
    bundle.linux["resources"]["cpu"] = {"shares": 1024}
    bundle.namespace("cgroup").namespace("time")


def mapped(bundle: Bundle) -> None:
    """Ask for a user namespace, and for a mount whose owners are translated."""
    (bundle.path / "volume").mkdir()
    bundle.map_users()
    bundle.mounts.append(bind(bundle.path / "volume", "/mnt/volume", "idmap"))
    bundle.mounts[-1]["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    bundle.mounts[-1]["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]


@st.composite
def sly_configs(draw: st.DrawFn, base: Any) -> bytes:
    """Give a config that is changed at one to three places, but keeps the type of each value."""
    config = copy.deepcopy(base)
    words = sorted(strings(base))
    for _ in range(draw(st.integers(1, 3))):
        places = [(holder, key) for holder in containers(config) for key in keys(holder)]
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "double", "move"])):
            case "remove":
                del holder[key]
            case "double" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case "move" if isinstance(holder, list):
                holder.insert(draw(st.integers(0, len(holder))), holder.pop(key))
            case _:
                holder[key] = alike(draw, holder[key], words)
    return json.dumps(config).encode()


def alike(draw: st.DrawFn, value: Any, words: list[str]) -> Any:
    """Give another value of the same type; a string is often one that stands elsewhere in the config."""
    match value:
        case bool():
            return not value
        case int():
            return draw(st.sampled_from(EDGES))
        case str():
            return draw(st.sampled_from([*WORDS, *words]))
    return type(value)()


def spoilt(bundle: Bundle) -> st.SearchStrategy[tuple[Bundle, bytes]]:
    """Give texts for config.json in place of a bundle's own, two thirds of them sly."""
    which = st.sampled_from([sly_configs, sly_configs, mutated_texts])
    return st.tuples(st.just(bundle), which.flatmap(lambda kind: kind(bundle.config)))


def strings(value: Any) -> set[str]:
    """Collect all strings within a decoded JSON value."""
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {text for element in inner for text in strings(element)}


class Enclosure:
    """The other end of enclosure.py."""

    def __init__(self, folder: Path, group: Path) -> None:
        self.group = group
        group.mkdir()
        script = f'echo $$ > {group}/cgroup.procs; cd {HERE}; exec "$@"'
        kinds = ("mount", "net", "uts", "ipc", "cgroup")
        own = ["unshare", *(f"--{kind}" for kind in kinds), "--propagation", "private"]
        server = [sys.executable, "-m", enclosure.__name__, str(folder), str(cgroup2_root())]
        self.process = subprocess.Popen(
            ["sh", "-c", script, "sh", *own, *server],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, *argv: str) -> dict[str, Any]:
        """Run a command there."""
        asked, answers = self.process.stdin, self.process.stdout
        assert asked
        assert answers
        print(json.dumps(argv), file=asked, flush=True)
        found: dict[str, Any] = json.loads(answers.readline())
        return found

    def close(self) -> None:
        """End it."""
        self.process.communicate()
        remove_cgroup(self.group)


@pytest.fixture
def enclosed(workspace: Path, runtime: Runtime, bundle: MakeBundle) -> Iterator[Enclosure]:
    """Give an enclosure; what the runtime makes once a boot is made before."""
    assert runtime.run(bundle()).returncode == 0
    made = Enclosure(workspace, cgroup2_root() / f"hostile-{os.getpid()}")
    yield made
    made.close()


def demand_sense(answer: dict[str, Any]) -> None:
    """Assert that a run went well, or failed as it should; and that nothing is left of it."""
    code, said = answer["code"], answer["said"]
    assert code != enclosure.HUNG, "hangs"
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if not line.startswith(WARNING)]
    if errors:
        assert code != 0
        assert len(errors) == 1
        assert SENSIBLE.match(errors[0]), errors[0]
    else:  # the program ran; a limit may have killed it, as the kernel says by a signal
        assert code == 0 or code > 128
    assert answer["left"] == []


def leave_only_true(made: Bundle) -> None:
    """Take all other programs away: `mount` is a word of configurations and would print."""
    for program in (made.rootfs / "bin").iterdir():
        if program.name not in {"busybox", "true"}:
            program.unlink()


@pytest.mark.timeout(3600)
def test_a_spoilt_config_runs_or_is_refused_in_one_line(
    enclosed: Enclosure, runtime: Runtime, bundle: MakeBundle, rounds: Callable[[int, int], int]
) -> None:
    bundles = [bundle(), bundle(), bundle()]
    rich(bundles[1])
    mapped(bundles[2])
    for made in bundles:
        leave_only_true(made)
        made.save()
        whole = enclosed.run(*runtime.argv("run", "--bundle", str(made.path), made.id))
        assert whole == {"code": 0, "said": "", "left": []}
    examples = rounds(500, 20_000)
    codes: Counter[int] = Counter()

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(bundles).flatmap(spoilt))
    def spoil(case: tuple[Bundle, bytes]) -> None:
        made, text = case
        (made.path / "config.json").write_bytes(text)
        answer = enclosed.run(*runtime.argv("run", "--bundle", str(made.path), made.id))
        demand_sense(answer)
        assert names_in(runtime.root) <= {".seccomp"}
        codes[answer["code"]] += 1

    spoil()
    assert codes.total() >= examples
    assert codes[0] >= examples // 20, "hardly a config was good enough to be run"
