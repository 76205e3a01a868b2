"""Running small programs with minicontainer-python, the way in which the launchers run the hot lane's file.

See minicontainer/bare_python.c.
"""

from __future__ import annotations

import py_compile
import subprocess
import sysconfig
import tempfile
from pathlib import Path

QUICK = Path(sysconfig.get_path("scripts"), "minicontainer-python")
FLAGS = ("-I", "-S", "-X", "utf8", "-X", "no_debug_ranges")


def run_program(
    source: str, *arguments: str, python: Path = QUICK, check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """Compile a program and run it; one that returns, and does not end by posix._exit, ends with 70."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "program.py").write_text(source + "\nimport posix\nposix._exit(0)\n")
        program = py_compile.compile(f"{folder}/program.py", f"{folder}/program.pyc", doraise=True)
        command = [python, *FLAGS, program, *arguments]
        return subprocess.run(command, capture_output=True, check=check, timeout=60)
