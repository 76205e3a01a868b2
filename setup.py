"""Write the three commands as small sh launchers instead of pip's Python scripts.

pip's scripts start with the `site` module and `re`, which alone cost more than a container does. What a
launcher must know about this installation is filled in here once, so that it has nothing to search for.

See docs/decisions/0001 and minicontainer/launcher.sh, the text that is filled in.
"""

import os
import shlex
import sys
import sysconfig
from pathlib import Path
from typing import ClassVar

from setuptools import Command, setup

HERE = Path(__file__).resolve().parent
LAUNCHER = "minicontainer/launcher.sh"
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


class BuildLaunchers(Command):
    """setuptools' `build_scripts`: write every launcher into the build directory."""

    user_options: ClassVar = [("build-dir=", "d", "directory to write to")]

    def initialize_options(self) -> None:
        self.build_dir = None
        self.editable_mode = False  # `pip install -e` sets it

    def finalize_options(self) -> None:
        self.set_undefined_options("build", ("build_scripts", "build_dir"))

    def get_source_files(self) -> list[str]:
        return [LAUNCHER]

    def get_outputs(self) -> list[str]:
        return [os.path.join(self.build_dir, command) for command in COMMANDS]

    def run(self) -> None:
        directory = Path(self.build_dir)
        directory.mkdir(parents=True, exist_ok=True)
        for command, program in COMMANDS.items():
            file = directory / command
            file.write_text(launcher(command, program, editable=self.editable_mode))
            file.chmod(0o755)


setup(
    scripts=[LAUNCHER],
    cmdclass={"build_scripts": BuildLaunchers},
    # The launchers name one interpreter, so the wheel is for that version only.
    options={"bdist_wheel": {"python_tag": f"cp{sys.version_info.major}{sys.version_info.minor}"}},
)
