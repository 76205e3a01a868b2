"""The interpreter's read-only view follows an upgrade of the interpreter: a security update must arrive.

See docs/decisions/0002; overlayfs(5).
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.bare_python import QUICK

COMMAND = Path(sysconfig.get_path("scripts"), "minicontainer-runtime")
PYTHON = Path(sys.executable).resolve()
INTERPRETERS = [
    pytest.param(sys.base_prefix, PYTHON, id="python"),
    pytest.param(
        sys.prefix, QUICK, id="minicontainer-python", marks=pytest.mark.requires("minicontainer-python")
    ),
]
PLACE = "/run/minicontainer-runtime/interpreter"
# In a mount namespace of its own, an overlay makes the interpreter's prefix one that can be changed.
SCENE = f"""
set -eu
prefix=$2 interpreter=$3 shown={PLACE}$3
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=$prefix,upperdir=$1/upper,workdir=$1/work" none $prefix
enter() {{ {COMMAND} run --bundle /no/such/bundle nobody 2>&1 || echo "exit $?"; }}
enter
cp $interpreter $interpreter.new
mv $interpreter.new $interpreter
enter
stat -c %Y.%s $interpreter $shown
touch $shown 2>&1 || echo "still read-only"
grep -c " {PLACE}$prefix " /proc/self/mountinfo
"""


@pytest.mark.requires("root", "filesystem:overlay", "tool:unshare")
@pytest.mark.parametrize(("prefix", "interpreter"), INTERPRETERS)
def test_an_upgraded_interpreter_is_the_one_that_enters_containers(
    tmp_path: Path, prefix: str, interpreter: Path
) -> None:
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCENE, "sh", str(tmp_path)]
    command += [prefix, str(interpreter)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    *_, new, shown, _, still, views = done.stdout.splitlines()
    assert shown == new
    assert new.split(".")[0] > str(int(interpreter.stat().st_mtime))
    assert (still, views) == ("still read-only", "1")
    assert done.stdout.count("exit 1") == 2


VIEWS = """
import sys
from pathlib import Path
from minicontainer.runtime.interpreter_view import mounted_interpreter, remove_overlays
shown = Path(mounted_interpreter(sys.argv[1]))
print([shown.read_text(), str(shown) == f"/run/minicontainer-runtime/interpreter{sys.argv[1]}"])
print([place for place in remove_overlays() if sys.argv[2] in place], shown.exists())
"""


@pytest.mark.requires("root", "filesystem:overlay", "tool:unshare")
@pytest.mark.parametrize("name", ["plain", "with a blank", "a:colon", "a\\backslash"])
def test_a_view_can_be_made_and_removed_wherever_the_interpreter_lies(tmp_path: Path, name: str) -> None:
    interpreter = tmp_path / name / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text("the interpreter")
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", VIEWS]
    done = subprocess.run(
        [*command, interpreter, str(tmp_path)], check=True, capture_output=True, text=True, timeout=60
    )
    made, removed = done.stdout.splitlines()
    assert made == "['the interpreter', True]"
    assert removed == f"{[f'{PLACE}{tmp_path}/{name}']} False"
