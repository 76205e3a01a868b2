"""Make the three commands as small launchers instead of pip's Python scripts, and compile what they start.

pip's scripts start with the `site` module and `re`, which alone cost more than a container does. What a
launcher must know about this installation is filled in here once, so that it has nothing to search for.

With a C compiler the launchers are launcher.c, without one launcher.sh. With Python's static library as
well, `minicontainer-python` comes to lie beside them, if it does what Python does.

See docs/decisions/0001 and 0008.
"""

import importlib.util
import json
import os
import py_compile
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import ClassVar

from setuptools import Command, setup

HERE = Path(__file__).resolve().parent
LAUNCHER = "minicontainer/launcher.sh"
SOURCES = [LAUNCHER, "minicontainer/launcher.c", "minicontainer/bare_python.c"]
QUICK = "minicontainer-python"
COMMANDS = {
    "minicontainer": "minicontainer",
    "mini": "minicontainer",
    "minicontainer-runtime": "minicontainer-runtime",
}


ALONE = ["-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"]  # without libc
PYTHON = os.path.realpath(sys.executable)
# What minicontainer-python must be able to do: start, start the rest of Python, and be the very same Python.
TRIAL = """
import _bare, posix, sys
_bare.finish()
posix.write(1, sys.version.encode())
posix._exit(0)
"""


def facts(command: str, *, editable: bool) -> dict[str, str]:
    """Say what a launcher must know; in an editable installation the package is the checkout itself.

    Paths that are not absolute begin where the launcher lies.
    """
    site_packages = sysconfig.get_path("purelib")
    libraries = site_packages if editable else os.path.relpath(site_packages, sysconfig.get_path("scripts"))
    return {
        "COMMAND": command,
        "PROGRAM": COMMANDS[command],
        "PYTHON": PYTHON,
        "HOT": f"hot-lane.{sys.implementation.cache_tag}.pyc",
        "LIBRARIES": libraries,
        "PACKAGE": str(HERE / "minicontainer") if editable else f"{libraries}/minicontainer",
    }


def write_launcher(target: Path, told: dict[str, str]) -> None:
    """Compile a launcher, or write it in sh where that cannot be done."""
    try:
        compile_c("minicontainer/launcher.c", target, told, ALONE)
    except (OSError, subprocess.SubprocessError):
        text = (HERE / LAUNCHER).read_text()
        for word, value in told.items():
            quoted = shlex.quote(value)
            if word in ("LIBRARIES", "PACKAGE") and not os.path.isabs(value):
                quoted = f'"$mini_here"/{quoted}'
            text = text.replace(f"@{word}@", quoted)
        target.write_text(text)
        target.chmod(0o755)


def compile_c(source: str, target: Path, told: dict[str, str], words: list[str]) -> None:
    """Compile a program; what it is told of this installation becomes C strings."""
    of_python = sysconfig.get_config_vars()
    defined = [f"-D{name}={json.dumps(value, ensure_ascii=False)}" for name, value in told.items()]
    compiler = shlex.split(os.environ.get("CC") or of_python["CC"])
    command = [*compiler, "-s", "-no-pie", *defined, str(HERE / source), "-o", str(target), *words]
    subprocess.run(command, check=True, capture_output=True)


def write_interpreter(target: Path) -> None:
    """Compile minicontainer-python and try it; what cannot be compiled or does not work is left out."""
    status = os.stat(PYTHON)
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER, "little")
    numbers = {"PYTHON_SIZE": status.st_size, "PYTHON_TIME": int(status.st_mtime), "MAGIC": magic}
    of_python = sysconfig.get_config_vars()
    library = os.path.join(of_python["LIBPL"], of_python["LIBRARY"])
    flags = " ".join(of_python[name] for name in ("LINKFORSHARED", "MODLIBS", "LIBS", "SYSLIBS"))
    words = [f"-D{name}={value}" for name, value in numbers.items()]
    words += ["-O2", "-I", sysconfig.get_path("include"), "-Wl,--wrap=_Py_Deepfreeze_Init", library]
    try:
        compile_c("minicontainer/bare_python.c", target, {"PYTHON": PYTHON}, words + shlex.split(flags))
        said = trial_of(target)
    except (OSError, subprocess.SubprocessError) as problem:
        said = f"{problem} {getattr(problem, 'stderr', b'')!r}"
    if said != sys.version:
        target.unlink(missing_ok=True)
        sys.stderr.write(f"{QUICK} is left out: {said}\n")


def trial_of(interpreter: Path) -> str:
    """Run a small program with it as the launchers do; returns what that printed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "trial.py").write_text(TRIAL)
        program = py_compile.compile(f"{folder}/trial.py", f"{folder}/trial.pyc", doraise=True)
        command = [interpreter, "-I", "-S", "-X", "utf8", "-X", "no_debug_ranges", program]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


class BuildLaunchers(Command):
    """setuptools' `build_scripts`: write every launcher into the build directory."""

    user_options: ClassVar = [("build-dir=", "d", "directory to write to")]

    def initialize_options(self) -> None:
        self.build_dir = None
        self.editable_mode = False  # `pip install -e` sets it

    def finalize_options(self) -> None:
        self.set_undefined_options("build", ("build_scripts", "build_dir"))

    def get_source_files(self) -> list[str]:
        return SOURCES

    def get_outputs(self) -> list[str]:
        made = [os.path.join(self.build_dir, name) for name in (*COMMANDS, QUICK)]
        return [path for path in made if os.path.exists(path)]

    def run(self) -> None:
        directory = Path(self.build_dir)
        directory.mkdir(parents=True, exist_ok=True)
        for command in COMMANDS:
            write_launcher(directory / command, facts(command, editable=self.editable_mode))
        write_interpreter(directory / QUICK)


setup(
    scripts=[LAUNCHER],
    cmdclass={"build_scripts": BuildLaunchers},
    # The launchers name one interpreter and are compiled: the wheel is for that version and processor.
    options={
        "bdist_wheel": {
            "python_tag": f"cp{sys.version_info.major}{sys.version_info.minor}",
            "plat_name": sysconfig.get_platform(),
        }
    },
)
