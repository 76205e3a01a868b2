"""minicontainer-python: a Python that starts with half of itself, and becomes whole when it is asked to.

See minicontainer/bare_python.c, docs/decisions/0008.
"""

from __future__ import annotations

import ast
import builtins
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from minicontainer import hot_build
from tests.bare_python import FLAGS, QUICK, run_program
from tests.call_graph import tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parent.parent
PYTHON = Path(sys.executable).resolve()
SAY = "import posix, sys\nsay = lambda *words: posix.write(1, repr(words).encode())\n"
# Where a stranger's Python library might be: in a process that is on its way into a container.
IN_A_CHILD = """
pid = posix.fork()
if not pid:
    import _bare
    try:
        _bare.finish()
    except RuntimeError as problem:
        say(str(problem))
    posix._exit(0)
posix.waitpid(pid, 0)
"""

pytestmark = pytest.mark.requires("minicontainer-python")


def build(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "setup.py", "-q", "build_scripts", "--build-dir", str(folder)]
    return subprocess.run(
        command, cwd=CHECKOUT, check=True, capture_output=True, text=True, env={**os.environ, **variables}
    )


def test_it_makes_no_module_that_is_not_asked_for() -> None:
    done = run_program("import sys; own = set(sys.modules)\n" + SAY + "say(*sorted(own))")
    assert {"builtins", "sys", "_signal"} <= set(ast.literal_eval(done.stdout.decode()))
    assert not {"io", "encodings", "abc", "site", "zipimport"} & set(ast.literal_eval(done.stdout.decode()))


def test_arguments_come_as_they_are() -> None:
    told = SAY + "say(sys.argv[1:], sys.orig_argv[1:], sys.executable, sys.flags.isolated, sys.flags.no_site)"
    words = ("--root=/a b", "", "-c", "b\N{LATIN SMALL LETTER E WITH ACUTE}", "\udcff")
    done = run_program(told, *words)
    arguments, command, executable, *flags = ast.literal_eval(done.stdout.decode())
    assert (arguments, executable, flags) == (list(words), str(PYTHON), [1, 1])
    assert command == [*FLAGS, command[len(FLAGS)], *words]


def test_when_it_is_finished_it_is_python() -> None:
    done = run_program(
        "import _bare; _bare.finish(); _bare.finish()\n"
        "import sys, json, subprocess\n"
        "print(json.dumps([sys.version, sys.argv[1:], sys.prefix, 'b\\u00e9', open('/dev/null').read()]))\n"
        "sys.stdout.flush()",
        "a",
    )
    assert ast.literal_eval(done.stdout.decode()) == [sys.version, ["a"], sys.base_prefix, "b\u00e9", ""]


def test_a_decoding_error_needs_nothing_of_the_rest() -> None:
    source = """
class Rest:
    @staticmethod
    def find_spec(*_):
        import _bare
        _bare.finish()
sys.meta_path.append(Rest)
def refused(coding):
    try:
        return b"\\x80".decode(coding)
    except (UnicodeDecodeError, LookupError) as problem:
        return type(problem).__name__
told = [refused("utf-8"), refused("ascii"), "\\udcff".encode("utf-8", "surrogateescape"), "io" in sys.modules]
told += [refused("cp1250"), refused("no-such"), b"\\x80".decode("utf-8", "backslashreplace")]
told += ["io" in sys.modules]
say(*told)
"""
    told = ast.literal_eval(run_program(SAY + source).stdout.decode())
    assert told[:4] == ("UnicodeDecodeError", "UnicodeDecodeError", b"\xff", False)
    assert told[4:] == ("\N{EURO SIGN}", "LookupError", "\\x80", True)


def test_it_is_never_finished_in_a_process_that_may_be_in_a_container() -> None:
    assert b"a process on its way into a container" in run_program(SAY + IN_A_CHILD).stdout


def test_a_failure_is_told_with_its_traceback() -> None:
    done = run_program("1 / 0", check=False)
    assert done.returncode == 70
    assert b"ZeroDivisionError" in done.stderr


def test_ctrl_c_is_an_exception_as_in_python() -> None:
    source = (
        "import posix\ntry:\n    posix.kill(posix.getpid(), 2)\nexcept KeyboardInterrupt:\n    posix._exit(7)"
    )
    assert run_program(source, check=False).returncode == 7


def test_its_door_to_the_kernel_takes_integers_none_and_blocks() -> None:
    """pread64(2) into a block, by the block and by its address; then what is refused."""
    calls = """
import _bare
fd = posix.open("/proc/self/comm", posix.O_RDONLY)
block, other = bytearray(5), bytearray(5)
read = _bare.syscall(17, fd, block, 5, 0), _bare.syscall(17, fd, _bare.address(other), 5, 0)
named = _bare.syscall(83, b"/proc/self/fd", 0o700), _bare.last_error()
closed = _bare.syscall(17, -1, None, 0, 0), _bare.last_error()
wrong = []
for argument in ("a text", 1.5):
    try:
        _bare.syscall(3, argument)
    except TypeError:
        wrong.append(argument)
say(read, bytes(block), bytes(other), named, closed, wrong)
"""
    read, *blocks, named, closed, wrong = ast.literal_eval(run_program(SAY + calls).stdout.decode())
    assert (read, blocks) == ((5, 5), [b"minic", b"minic"])
    assert (named, closed) == ((-1, errno.EEXIST), (-1, errno.EBADF))
    assert wrong == ["a text", 1.5]


def test_any_other_program_is_pythons() -> None:
    asked = [QUICK, "-I", "-c", "import sys; print(sys.version, '_bare' in sys.builtin_module_names)"]
    assert subprocess.check_output(asked, text=True).strip() == f"{sys.version} False"


@pytest.mark.requires("tool:gcc")
def test_a_python_that_was_replaced_is_started_itself(tmp_path: Path) -> None:
    """A security update must arrive: what is linked in is the old one."""
    python = Path(shutil.copy(PYTHON, tmp_path / "python3"))
    code = f"import setup, sys; setup.PYTHON = {str(python)!r}; "
    code += "setup.write_interpreter(setup.Path(sys.argv[1]))"
    quick = tmp_path / "minicontainer-python"
    stub = "import setuptools; setuptools.setup = lambda **_: None; "
    subprocess.run([sys.executable, "-c", stub + code, quick], cwd=CHECKOUT, check=True, timeout=60)
    told = SAY + "say('_bare' in sys.builtin_module_names)"
    assert run_program(told, python=quick).stdout == b"(True,)"
    os.utime(python, (1, 1))
    assert run_program(told, python=quick).stdout == b"(False,)"


def test_without_a_compiler_the_launchers_are_built_all_the_same(tmp_path: Path) -> None:
    said = build(tmp_path, CC="false").stderr
    assert "minicontainer-python is left out" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mini",
        "minicontainer",
        "minicontainer-runtime",
    ]


def names_read(module: str) -> Iterator[str]:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            yield f"sys.{node.attr}"


def test_the_hot_lane_uses_nothing_that_only_the_whole_python_has() -> None:
    """What is cold is reached by an import that no finder of ours answers: then the rest is started first."""
    told = "import sys, builtins; own = [*dir(builtins), *(f'sys.{name}' for name in dir(sys))]\n"
    there = set(ast.literal_eval(run_program(told + SAY + "say(*own)").stdout.decode()))
    there -= {"print", "input"}  # they are there, and their streams are not
    whole = {*dir(builtins), *(f"sys.{name}" for name in dir(sys))}
    assert {"open", "sys.path", "sys.stdout"} <= whole - there
    lane = hot_build.Lane()
    roots = (*hot_build.GROUPS.values(), hot_build.LATER)
    modules = {name for names in roots for name in lane.closure(names)} - {"minicontainer.launch"}
    wrong = {(module, name) for module in modules for name in names_read(module) if name in whole - there}
    assert wrong == set()
