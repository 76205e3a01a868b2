"""Build the program that tries all system calls, and read what it prints. See sysprobe.c."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("sysprobe.c")
NOT_TRIED = "-"


@functools.cache
def _binary() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "sysprobe")
        command = ["gcc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SOURCE)]
        subprocess.run(command, check=True)
        return program.read_bytes()


def build(folder: Path) -> Path:
    """Put the program into a folder."""
    program = folder / "sysprobe"
    program.write_bytes(_binary())
    program.chmod(0o755)
    return program


def letters(output: str) -> dict[str, str]:
    """Give one letter for each call, by architecture, and for each address family under `socket`."""
    return dict(line.split() for line in output.splitlines())
