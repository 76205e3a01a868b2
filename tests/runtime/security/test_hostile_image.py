"""R13, R14: nothing of an image is ever executed, imported or read by the runtime itself (CVE-2019-14271).

The image lays traps wherever a Python, a libc or a hook of the host would look: modules and packages at the
interpreter's and at our own paths, path configuration, shared libraries, nsswitch.conf. Each leaves /marker.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import re
import shutil
import site
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

CHECKOUT = Path(__file__).parents[3]
TRAP = "import os\nos.close(os.open('/marker', os.O_CREAT | os.O_WRONLY))\n"
MODULES = (
    *(
        "os",
        "sys",
        "json",
        "re",
        "encodings/idna",
        "encodings/utf_8",
        "encodings/ascii",
        "encodings/__init__",
    ),
    *(
        "site",
        "sitecustomize",
        "usercustomize",
        "linecache",
        "traceback",
        "pwd",
        "grp",
        "posixpath",
        "codecs",
    ),
    *(
        "minicontainer/__init__",
        "minicontainer/errors",
        "minicontainer/linux/__init__",
        "warnings",
        "io",
        "abc",
    ),
)


def lay_traps(root: Path) -> None:
    """Fill a root file system with everything that an interpreter of the host could pick up by mistake."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    places = {stdlib, CHECKOUT, CHECKOUT / ".venv/lib", Path("/"), *map(Path, site.getsitepackages())}
    for folder in places:
        for name in MODULES:
            target = root / str(folder).lstrip("/") / f"{name}.py"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(TRAP)
    for place in site.getsitepackages():
        (root / place.lstrip("/") / "evil.pth").write_text(TRAP.replace("\n", ";") + "import os\n")
    dynload = root / str(stdlib).lstrip("/") / "lib-dynload"
    dynload.mkdir(parents=True, exist_ok=True)
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        for name in ("_json", "_socket", "select", "fcntl", "_ctypes", "zlib", "_hashlib"):
            (dynload / f"{name}{suffix}").write_bytes(b"\x7fELF not a library")
    (root / "etc/nsswitch.conf").write_text("passwd: evil\ngroup: evil\nhosts: evil\n")
    for place in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64"):
        (root / place).mkdir(parents=True, exist_ok=True)
        for name in ("libnss_evil.so.2", "libc.so.6", "libpthread.so.0", "libgcc_s.so.1", "libcap.so.2"):
            (root / place / name).write_bytes(b"\x7fELF not a library")


@pytest.fixture
def hostile(bundle: MakeBundle) -> Bundle:
    """Give a container full of traps, whose first process sleeps."""
    made = bundle()
    lay_traps(made.rootfs)
    made.process["env"] += [
        "PYTHONPATH=/", "PYTHONHOME=/", "PYTHONSTARTUP=/os.py", "PYTHONINSPECT=1", "LOCPATH=/",
        "LD_PRELOAD=/lib64/libcap.so.2", "LD_LIBRARY_PATH=/lib64", "GCONV_PATH=/", "BASH_ENV=/os.py",
    ]  # fmt: skip
    return made


def test_no_command_runs_anything_of_a_hostile_image(runtime: Runtime, hostile: Bundle) -> None:
    name = runtime.sleeping(hostile)
    for flags, argv in (
        ([], ["true"]),
        (["--user", "1000:1000"], ["true"]),
        (["--user", "bob"], ["true"]),
        (["--cwd", "/no/such"], ["true"]),
        ([], ["no-such-program"]),
        (["--env", "A=\udce4"], ["true"]),
        (["--env", "A=ä"], ["true"]),
    ):
        runtime.exec(name, *argv, flags=flags)
    for command in (["ps"], ["state"], ["pause"], ["resume"], ["delete", "--force"]):
        accepts(runtime.call(*command, name))
    assert not (hostile.rootfs / "marker").exists()


def test_a_failing_start_reads_nothing_of_a_hostile_image(runtime: Runtime, hostile: Bundle) -> None:
    for argv in (["no-such-program"], ["/etc/passwd"], ["/os.py"]):
        hostile.args(*argv)
        assert runtime.run(hostile).returncode != 0
    hostile.process["user"] = {"uid": 4242, "gid": 4242}
    hostile.process["cwd"] = "/etc/passwd"
    assert runtime.run(hostile).returncode != 0
    assert not (hostile.rootfs / "marker").exists()


def test_a_hostile_folder_of_the_caller_is_not_imported_from(runtime: Runtime, hostile: Bundle) -> None:
    env = os.environ | {"PYTHONPATH": str(hostile.rootfs), "PYTHONSTARTUP": str(hostile.rootfs / "os.py")}
    marker = Path("/marker")
    assert not marker.exists()
    accepts(runtime.run(hostile.args("true"), cwd=hostile.rootfs, env=env))
    assert not marker.exists()
    assert not (hostile.rootfs / "marker").exists()


ENTERING = re.compile(r"\b(setns\(\d+(<[^>]*>)?, .*CLONE_NEWNS|pivot_root\()")
OPENING = re.compile(r'\b(open|openat|openat2|execve)\((?:AT_FDCWD[^,]*, |\d+[^,]*, )?"([^"]*)"')
LEAVING = re.compile(r"\bexecve\(.*= 0$")


def opened_inside(trace: str) -> list[str]:
    """Give what each process opened between its entry into the container and its program's start."""
    inside: set[str] = set()
    found = []
    for line in trace.splitlines():
        pid, _, call = line.partition(" ")
        if LEAVING.search(call):
            inside.discard(pid)
        elif ENTERING.search(call) and "= 0" in call:
            inside.add(pid)
        elif pid in inside and (match := OPENING.search(call)):
            found.append(match[2])
    return found


@pytest.mark.requires("tool:strace")
@pytest.mark.parametrize("command", ["exec", "run"])
def test_after_entering_no_module_library_or_database_is_opened(
    runtime: Runtime, hostile: Bundle, workspace: Path, command: str
) -> None:
    strace = [shutil.which("strace") or "strace", "-f", "-qq", "-o", str(workspace / "trace"), "-e"]
    strace += ["trace=open,openat,openat2,execve,setns,pivot_root"]
    if command == "exec":
        argv = ["exec", runtime.sleeping(hostile), "true"]
    else:
        argv = ["run", "--bundle", str(hostile.args("true").save().path), hostile.id]
    real = runtime.argv
    runtime.argv = lambda *words: [*strace, *real(*words)]  # type: ignore[method-assign]
    try:
        accepts(runtime.call(*argv))
    finally:
        runtime.argv = real  # type: ignore[method-assign]
    trace = (workspace / "trace").read_text()
    assert ENTERING.search(trace), "nobody was seen to enter"
    traps = re.compile(r"\.(py|pyc|so|pth)\b|nsswitch|locale|gconv|/usr/lib")
    assert [path for path in opened_inside(trace) if traps.search(path)] == []


def test_hooks_get_only_their_own_environment(runtime: Runtime, hostile: Bundle) -> None:
    script = f"env > {hostile.path}/env; pwd > {hostile.path}/cwd"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin", "ONLY=this"]}
    hostile.config["hooks"] = {"createRuntime": [hook], "poststop": [hook]}
    accepts(runtime.run(hostile.args("true"), env=os.environ | {"LEAK": "1", "LC_ALL": "C"}))
    shown = dict(line.split("=", 1) for line in (hostile.path / "env").read_text().splitlines())
    assert {name for name in shown if name not in {"PWD", "SHLVL", "_", "OLDPWD"}} == {"PATH", "ONLY"}
    assert (hostile.path / "cwd").read_text().strip() in {str(hostile.path), "/"}


def test_the_state_of_a_hostile_image_is_plain_json(runtime: Runtime, hostile: Bundle) -> None:
    hostile.config["annotations"] = {"a": '\x1b[2J\n"quoted"', "b": "ä\u202e"}
    accepts(runtime.create(hostile.args("true")))
    assert runtime.state(hostile.id)["annotations"]["a"] == '\x1b[2J\n"quoted"'
    assert json.loads(runtime.succeed("list", "-f", "json").stdout)
    assert "\x1b" not in runtime.succeed("list").stdout
    assert sys.stdout is not None
