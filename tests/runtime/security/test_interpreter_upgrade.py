"""The interpreter's read-only view follows an upgrade of the interpreter: a security update must arrive.

See docs/decisions/0002; overlayfs(5).
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

COMMAND = Path(sysconfig.get_path("scripts"), "minicontainer-runtime")
PREFIX, PYTHON = sys.base_prefix, Path(sys.executable).resolve()
SHOWN = f"/run/minicontainer-runtime/interpreter{PYTHON}"
# In a mount namespace of its own, an overlay makes the interpreter's prefix one that can be changed.
SCENE = f"""
set -eu
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay -o "lowerdir={PREFIX},upperdir=$1/upper,workdir=$1/work" none {PREFIX}
enter() {{ {COMMAND} run --bundle /no/such/bundle nobody 2>&1 || echo "exit $?"; }}
enter
cp {PYTHON} {PYTHON}.new
mv {PYTHON}.new {PYTHON}
enter
stat -c %Y.%s {PYTHON} {SHOWN}
touch {SHOWN} 2>&1 || echo "still read-only"
grep -c " {SHOWN.removesuffix(str(PYTHON))}{PREFIX} " /proc/self/mountinfo
"""


@pytest.mark.requires("root", "filesystem:overlay", "tool:unshare")
def test_an_upgraded_interpreter_is_the_one_that_enters_containers(tmp_path: Path) -> None:
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCENE, "sh", str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    *_, new, shown, _, still, views = done.stdout.splitlines()
    assert shown == new
    assert new.split(".")[0] > str(int(PYTHON.stat().st_mtime))
    assert (still, views) == ("still read-only", "1")
    assert done.stdout.count("exit 1") == 2
