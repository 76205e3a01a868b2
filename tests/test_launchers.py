"""The commands are small launchers, in C or in sh: each finds its way and changes nothing it was given."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import minicontainer

CHECKOUT = Path(__file__).parent.parent
COMMANDS = {
    "minicontainer": "minicontainer",
    "mini": "minicontainer",
    "minicontainer-runtime": "minicontainer-runtime",
}
PYTHON = Path(sys.executable).resolve()
PROTECTED = Path(f"/run/minicontainer-runtime/interpreter{PYTHON}")  # once the first container has run
STAND_IN = """
import sys
print({"argv": sys.argv, "flags": [sys.flags.isolated, sys.flags.no_site, sys.flags.utf8_mode],
       "environ": sorted(map(bytes.decode, __import__("posix").environ)),
       "python": sys.executable}.__repr__().replace("'", '"'))
"""


def build(directory: Path, **variables: str) -> None:
    """Write the launchers of an ordinary (not editable) installation."""
    command = [sys.executable, "setup.py", "-q", "build_scripts", "--build-dir", str(directory)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, env={**os.environ, **variables})


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("launcher.c", marks=pytest.mark.requires("tool:gcc", "arch:x86_64")),
        "launcher.sh",
    ],
)
def venv(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out an installation, in a place with a blank in its name; its program tells what it was given."""
    place = tmp_path_factory.mktemp("a venv")
    build(place / "bin", CC="gcc" if request.param == "launcher.c" else "false")
    assert (place / "bin" / "mini").read_bytes().startswith(b"#!/bin/sh") == (request.param == "launcher.sh")
    (place / "bin" / "minicontainer-python").unlink(missing_ok=True)  # test_bare_python.py
    beside = os.path.relpath(sysconfig.get_path("purelib"), sysconfig.get_path("scripts"))
    package = (place / "bin" / beside / "minicontainer").resolve()
    package.mkdir(parents=True)
    (package / "launch.py").write_text(STAND_IN)
    return place


def told(*command: str | Path, **options: object) -> dict[str, list[str]]:
    """Run a launcher whose program is the stand-in, with an empty environment unless told otherwise."""
    done = subprocess.run([*command], check=True, capture_output=True, text=True, **{"env": {}, **options})
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(("command", "program"), COMMANDS.items())
def test_a_command_starts_its_program_with_the_arguments_as_they_are(
    venv: Path, command: str, program: str
) -> None:
    answer = told(venv / "bin" / command, "--root=/a b", "", "$HOME", "*")
    package, name, libraries, *rest = answer["argv"]
    assert (name, rest) == (program, ["--root=/a b", "", "$HOME", "*"])
    assert Path(package).samefile(Path(libraries, "minicontainer", "launch.py"))
    assert answer["python"] == str(PROTECTED if PROTECTED.exists() else PYTHON)
    assert answer["flags"] == [1, 1, 1]


def test_it_is_found_through_a_symbolic_link(venv: Path, tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(venv / "bin" / "minicontainer-runtime")
    (tmp_path / "docker-runtime").symlink_to("again")
    assert told(tmp_path / "docker-runtime", "state")["argv"][1::2] == ["minicontainer-runtime", "state"]


def is_script(venv: Path) -> bool:
    return (venv / "bin" / "mini").read_bytes().startswith(b"#!")


@pytest.mark.parametrize("command", [["./bin/mini"], ["bin/mini"], ["/bin/sh", "bin/mini"]])
def test_from_a_relative_path_the_program_gets_absolute_ones(venv: Path, command: list[str]) -> None:
    if not is_script(venv):
        command = command[-1:]  # no shell reads it
    program, _, libraries = told(*command, cwd=venv)["argv"]
    assert Path(program).is_absolute()
    assert Path(libraries).is_absolute()


def test_it_is_found_by_sh_beside_itself(venv: Path) -> None:
    command = ["/bin/sh", "mini", "ps"] if is_script(venv) else ["/bin/sh", "-c", "PATH=.; mini ps"]
    assert told(*command, cwd=venv / "bin")["argv"][1::2] == ["minicontainer", "ps"]


def test_it_hides_no_variable_of_the_caller(venv: Path) -> None:
    exported = {"package": "kept", "python": "kept", "here": "kept", "program": "kept"}
    assert set(exported) <= set(told(venv / "bin" / "mini", env=exported)["environ"])
    assert set(told(venv / "bin" / "mini")["environ"]) <= {"PWD", "LC_CTYPE"}


def test_the_one_file_of_the_hot_lane_is_preferred(venv: Path) -> None:
    library = Path(told(venv / "bin" / "mini")["argv"][2]) / "minicontainer" / "__pycache__"
    library.mkdir(exist_ok=True)
    one = library / f"hot-lane.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(library.parent / "launch.py"), cfile=str(one), doraise=True)
    try:
        assert Path(told(venv / "bin" / "mini")["argv"][0]).samefile(one)
    finally:
        one.unlink()


def test_a_vanished_interpreter_is_said_in_one_line(venv: Path, tmp_path: Path) -> None:
    gone = f"/gone{str(PYTHON)[len('/gone') :]}"  # as long as the path that is written in there
    broken = tmp_path / "minicontainer-runtime"
    written = (venv / "bin" / "minicontainer-runtime").read_bytes()
    broken.write_bytes(written.replace(bytes(PYTHON), gone.encode()))
    broken.chmod(0o755)
    done = subprocess.run([broken, "state", "x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"minicontainer-runtime: the interpreter {gone} is gone: install minicontainer again\n"
    )


def test_the_interpreter_of_our_own_is_preferred(venv: Path, tmp_path: Path) -> None:
    shutil.copytree(venv / "bin", tmp_path / "bin")
    quick = tmp_path / "bin" / "minicontainer-python"
    quick.write_text('#!/bin/sh\necho "$0" "$@"')
    quick.chmod(0o755)
    done = subprocess.run([tmp_path / "bin" / "mini", "ps"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"{quick} -I -S -X utf8 -X no_debug_ranges ")
    assert done.stdout.endswith(" ps\n")


@pytest.mark.requires("tool:strace")
def test_on_the_usual_way_nothing_is_forked(venv: Path) -> None:
    command = ["strace", "-f", "-qq", "-e", "trace=process", venv / "bin" / "minicontainer-runtime"]
    calls = subprocess.run(
        command, check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    done = [line for line in calls.stderr.splitlines() if "execve(" in line and " = -1 " not in line]
    assert len(done) == 2
    assert not any(call in calls.stderr for call in ("clone", "fork"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_installed_commands_answer(command: str) -> None:
    installed = Path(sysconfig.get_path("scripts")) / command
    words = ["--version"] if command == "minicontainer-runtime" else ["version"]
    done = subprocess.run([installed, *words], capture_output=True, text=True, check=False, env={})
    assert (done.returncode, done.stderr) == (0, "")
    assert minicontainer.__version__ in done.stdout
