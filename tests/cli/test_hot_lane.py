"""`minicontainer run` imports nothing that a container start does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import run_to_its_end

PACKAGE = Path(__file__).resolve().parents[2]
# What runs a container and then says what was imported; the interpreter is started as the launcher starts it.
PROGRAM = """
import sys
sys.path.insert(0, {package!r})
from minicontainer import launch
launch.libraries = {libraries!r}
from minicontainer.cli.main import main
code = main({words!r})
import posix
posix.write(2, repr([code, sorted(sys.modules)]).encode())
posix._exit(0)
"""
FORBIDDEN = {
    "re", "json", "enum", "dataclasses", "typing", "pathlib", "contextlib", "functools", "collections",
    "ctypes", "subprocess", "argparse", "click", "rich", "msgspec", "asyncio", "pyroute2", "inspect", "ast",
    "os", "shutil",
}  # fmt: skip


def modules_after(*words: str) -> tuple[int, set[str]]:
    program = PROGRAM.format(package=str(PACKAGE), libraries="", words=list(words))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    code, names = json.loads(done.stderr.replace("'", '"'))
    return code, set(names)


@pytest.mark.requires("root", "cgroup2")
@pytest.mark.parametrize("options", [[], ["--memory", "0", "--cpus", "0", "--pids-limit", "-1"]])
def test_a_run_imports_nothing_that_is_forbidden_on_the_hot_lane(options: list[str]) -> None:
    run_to_its_end([str(Path(sys.executable).with_name("minicontainer")), "run", "busybox", "true"], "", None)
    code, names = modules_after("run", *options, "busybox", "true")
    assert code == 0
    assert ("minicontainer.cli.limits" in names) == bool(options)
    assert "minicontainer.runtime.lifecycle" in names
    # os is what the interpreter's own start may bring along; nothing of ours asks for it.
    assert names & FORBIDDEN - {"os"} == set()
    assert not [name for name in names if name.startswith("minicontainer.explain")]
