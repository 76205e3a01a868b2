"""Writing the hot lane's file: all modules that the everyday commands use, compiled, in one .pyc.

Docstrings are left out: nobody reads them there. The file is written beside and renamed, so two commands that
do it at once do no harm; where it cannot be written the commands work all the same, only slower.

See docs/decisions/0001; marshal, importlib.util "MAGIC_NUMBER".
"""

from __future__ import annotations

import marshal
import posix
import sys

from minicontainer import launch

PACKAGES = ("", "trace", "linux", "oci", "runtime", "cli")
NOT_COMPILED = ("hot_build", "hot_start")


def refresh() -> None:
    """Write the file anew unless the directory belongs to somebody else."""
    folder = f"{launch.PACKAGE}/__pycache__"
    path = f"{folder}/hot-lane.{sys.implementation.cache_tag}.pyc"  # no module can have this name
    beside = f"{path}.{posix.getpid()}"
    try:
        if not posix.access(folder, posix.F_OK):
            posix.mkdir(folder, 0o755)
        fd = posix.open(beside, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o644)
    except OSError:
        return
    try:
        content = compiled()
        while content:
            content = content[posix.write(fd, content) :]
        posix.rename(beside, path)
    finally:
        posix.close(fd)


def compiled() -> bytes:
    """Compile every module, and the code that serves them."""
    modules: dict[str, tuple[bytes, str, bool]] = {}
    sources: list[tuple[str, int, int]] = []
    for name, path in module_files():
        status = posix.stat(path)
        code = compile(read(path), path, "exec", dont_inherit=True, optimize=2)
        modules[name] = (marshal.dumps(code), path, path.endswith("/__init__.py"))
        sources.append((path, status.st_mtime_ns, status.st_size))
    starter = compile(
        read(f"{launch.PACKAGE}/hot_start.py"), "hot_start.py", "exec", dont_inherit=True, optimize=2
    )
    values = {"@modules@": modules, "@sources@": tuple(sources)}
    constants = tuple(
        values.get(value, value) if isinstance(value, str) else value for value in starter.co_consts
    )
    magic = __import__("_frozen_importlib_external").MAGIC_NUMBER
    return bytes(magic) + bytes(12) + marshal.dumps(starter.replace(co_consts=constants))


def module_files() -> list[tuple[str, str]]:
    """List the modules of the hot lane's packages with the paths of their sources."""
    found = []
    for package in PACKAGES:
        folder = f"{launch.PACKAGE}/{package}".rstrip("/")
        prefix = f"minicontainer.{package}".rstrip(".")
        for entry in sorted(posix.listdir(folder)):
            name = entry.removesuffix(".py")
            if name == entry or (not package and name in NOT_COMPILED):
                continue
            found.append((prefix if name == "__init__" else f"{prefix}.{name}", f"{folder}/{entry}"))
    return found


def read(path: str) -> bytes:
    """Read a source."""
    with open(path, "rb") as file:
        return file.read()
