"""Write the three commands as small sh launchers instead of pip's, and compile what they start.

pip's scripts start with the `site` module and `re`, which alone cost more than a container does. What a
launcher must know about this installation is filled in here once, so that it has nothing to search for.

Where there is a C compiler and Python's static library, `minicontainer-python` comes to lie beside them;
where there is not, or where it does not do what Python does, the launchers start Python itself.

See docs/decisions/0001 and minicontainer/launcher.sh, the text that is filled in; docs/decisions/0008.
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
INTERPRETER, QUICK = "minicontainer/bare_python.c", "minicontainer-python"
COMMANDS = {
    "minicontainer": "minicontainer",
    "mini": "minicontainer",
    "minicontainer-runtime": "minicontainer-runtime",
}


def launcher(command: str, program: str, *, editable: bool) -> str:
    """Return the text of one launcher; in an editable installation the package is the checkout itself."""
    site_packages = sysconfig.get_path("purelib")
    beside = f'"$mini_here/{os.path.relpath(site_packages, sysconfig.get_path("scripts"))}"'
    words = {
        "command": command,
        "program": program,
        "python": shlex.quote(os.path.realpath(sys.executable)),
        "cache_tag": sys.implementation.cache_tag,
        "libraries": beside,
        "package": '"$mini_libraries/minicontainer"',
    }
    if editable:
        words |= {
            "libraries": shlex.quote(site_packages),
            "package": shlex.quote(str(HERE / "minicontainer")),
        }
    text = (HERE / LAUNCHER).read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


# What minicontainer-python must be able to do: start, start the rest of Python, and be the very same Python.
TRIAL = """
import _bare, posix, sys
_bare.finish()
posix.write(1, sys.version.encode())
posix._exit(0)
"""


def compile_interpreter(target: Path) -> None:
    """Compile minicontainer-python and try it; what cannot be compiled or does not work is left out."""
    said = ""
    try:
        subprocess.run(compiler_command(target), check=True, capture_output=True)
        said = trial_of(target)
    except (OSError, subprocess.SubprocessError) as problem:
        said = f"{problem} {getattr(problem, 'stderr', b'')!r}"
    if said != sys.version:
        target.unlink(missing_ok=True)
        sys.stderr.write(f"{QUICK} is left out: {said}\n")


def compiler_command(target: Path) -> list[str]:
    """Say how to compile it, with what it must know of the Python that it is linked from."""
    python = os.path.realpath(sys.executable)
    status = os.stat(python)
    facts = {
        "PYTHON": json.dumps(python),
        "PYTHON_SIZE": status.st_size,
        "PYTHON_TIME": int(status.st_mtime),
        "MAGIC": '"' + "".join(f"\\x{byte:02x}" for byte in importlib.util.MAGIC_NUMBER) + '"',
    }
    of_python = sysconfig.get_config_vars()
    return [
        *shlex.split(os.environ.get("CC") or of_python["CC"]),
        *(f"-D{name}={value}" for name, value in facts.items()),
        *("-O2", "-s", "-no-pie", "-I", sysconfig.get_path("include"), str(HERE / INTERPRETER)),
        *("-o", str(target), "-Wl,--wrap=_Py_Deepfreeze_Init", *shlex.split(of_python["LINKFORSHARED"])),
        os.path.join(of_python["LIBPL"], of_python["LIBRARY"]),
        *shlex.split(f"{of_python['MODLIBS']} {of_python['LIBS']} {of_python['SYSLIBS']}"),
    ]


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
        return [LAUNCHER, INTERPRETER]

    def get_outputs(self) -> list[str]:
        made = [os.path.join(self.build_dir, name) for name in (*COMMANDS, QUICK)]
        return [path for path in made if os.path.exists(path)]

    def run(self) -> None:
        directory = Path(self.build_dir)
        directory.mkdir(parents=True, exist_ok=True)
        for command, program in COMMANDS.items():
            file = directory / command
            file.write_text(launcher(command, program, editable=self.editable_mode))
            file.chmod(0o755)
        compile_interpreter(directory / QUICK)


setup(
    scripts=[LAUNCHER],
    cmdclass={"build_scripts": BuildLaunchers},
    # The launchers name one interpreter, so the wheel is for that version only.
    options={"bdist_wheel": {"python_tag": f"cp{sys.version_info.major}{sys.version_info.minor}"}},
)
