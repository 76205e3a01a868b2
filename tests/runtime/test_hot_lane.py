"""The life of a container loads no module that has no place on the hot lane.

See: the list of what costs milliseconds in CONTRIBUTING.md; docs/decisions/0001.
"""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.package_copy import PYTHON, PackageCopy, package_copy

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle

SLOW = {
    "re", "json", "enum", "dataclasses", "typing", "pathlib", "contextlib", "functools", "collections",
    "ctypes", "subprocess", "argparse", "click", "rich", "msgspec", "asyncio", "pyroute2", "inspect", "ast",
    "os", "shutil", "stat", "struct", "socket", "string", "traceback", "warnings", "tokenize", "linecache",
}  # fmt: skip
# What only tells: words for people, the names of flags, the causes of refused calls.
ONLY_TELLS = ("explain", "linux.words", "linux.spelling", "linux.flags", "linux.causes", "launch_cold")
# Runs the hot lane's file as the launcher does, and writes down which modules there are when it ends.
WATCHED = """
import marshal, posix, sys
hot, told = sys.argv[1:3]
leave, pid = posix._exit, posix.getpid()
def leave_and_tell(code):
    if posix.getpid() == pid:
        fd = posix.open(told, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC, 0o600)
        posix.write(fd, " ".join(sorted(sys.modules)).encode())
    leave(code)
posix._exit = leave_and_tell
sys.argv = [hot, *sys.argv[3:]]
with open(hot, "rb", buffering=0) as file:
    code = marshal.loads(file.read()[16:])
exec(code, {"__name__": "__main__", "__file__": hot})
"""


def modules_after(copy: PackageCopy, *words: str) -> set[str]:
    """Run a command by the hot lane's file; name the modules that it had at its end."""
    folder = copy.package.parent
    command = [PYTHON, "-I", "-S", "-X", "utf8", "-c", WATCHED, str(copy.hot), str(folder / "modules")]
    command += ["minicontainer-runtime", "", "--root", str(folder / "state"), *words]
    with (folder / "stderr").open("w+") as stderr:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            timeout=60,
            check=False,
        )
        stderr.seek(0)
        assert done.returncode == 0, stderr.read()
    return set((folder / "modules").read_text().split())


def is_slow(module: str) -> bool:
    """Tell whether a module has no place on the hot lane."""
    return module.partition(".")[0] in SLOW or module.removeprefix("minicontainer.").startswith(ONLY_TELLS)


@pytest.mark.requires("root", "cgroup2")
def test_a_containers_life_loads_nothing_that_is_slow(bundle: MakeBundle) -> None:
    place = bundle().args("sleep", "1000")
    place.save()
    life = [
        ("create", "--bundle", str(place.path), "hot"),
        ("start", "hot"),
        ("state", "hot"),
        ("exec", "hot", "true"),
        ("kill", "hot", "KILL"),
        ("delete", "--force", "hot"),
        ("run", "--bundle", str(place.path), "hot"),
    ]
    with package_copy() as copy:
        copy.say("--version")
        try:
            loaded = {words[0]: modules_after(copy, *words) for words in life[:-1]}
            place.args("true").save()
            loaded["run"] = modules_after(copy, *life[-1])
        finally:
            modules_after(copy, "delete", "--force", "hot")
    assert all("minicontainer.runtime.container" in modules for modules in loaded.values())
    slow = {command: sorted(filter(is_slow, modules)) for command, modules in loaded.items()}
    assert slow == {command: [] for command in loaded}


@pytest.mark.requires("root", "cgroup2", "tool:strace", "minicontainer-python")
def test_a_containers_life_needs_only_the_first_half_of_python(bundle: MakeBundle, tmp_path: Path) -> None:
    """The second half begins by reading `encodings` from Python's library: docs/decisions/0008."""
    place = bundle().args("sleep", "1000")
    place.save()
    commands = Path(sysconfig.get_path("scripts"))
    runtime = [commands / "minicontainer-runtime", "--root", tmp_path / "state"]

    def files_of(*command: str | Path) -> str:
        traced = ["strace", "-qq", "-e", "trace=openat", "-o", tmp_path / "files", *command]
        with (tmp_path / "stderr").open("w+") as stderr:
            streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": stderr}
            done = subprocess.run(traced, timeout=60, check=False, **streams)
            assert done.returncode == 0, (tmp_path / "stderr").read_text()
        return (tmp_path / "files").read_text()

    life = [("create", "--bundle", str(place.path), "half"), ("start", "half"), ("state", "half"), ("list",)]
    life += [("exec", "half", "true"), ("kill", "half", "KILL"), ("delete", "--force", "half")]
    files_of(*runtime, "list")  # writes the hot lane's file, if that is old
    try:
        whole = {words[0] for words in life if "/encodings/" in files_of(*runtime, *words)}
    finally:
        files_of(*runtime, "delete", "--force", "half")
    place.args("true").save()
    assert "hot-lane" in files_of(*runtime, "run", "--bundle", str(place.path), "half")
    whole |= {"run"} if "/encodings/" in (tmp_path / "files").read_text() else set()
    assert whole == set()
    files_of(commands / "minicontainer", "run", "busybox", "true")  # makes what is cached
    assert "/encodings/" not in files_of(commands / "minicontainer", "run", "busybox", "true")
