"""The first code of the hot lane's file: it makes the modules that a command needs and starts the command.

`hot_build.refresh` compiles this module, puts an index into the constants below and the compiled
modules behind it. A command's group is read at once, and its modules are made in an order in which each finds
what it imports. Those that only some containers need wait in memory, all others in the file. When a source
of the group is not the one that was compiled, `launch.py` is started instead, which reads the sources and
writes the file anew.

See <Python>/Lib/importlib/_bootstrap.py; docs/decisions/0001.
"""

from __future__ import annotations

import _imp
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any

    Buffer = bytes | memoryview

# family of commands -> (offset, length) of three marshalled lists: the sources, each (path, time of change in
# ns, size); the modules to make now, each (name, path, is it a package, code); those that may be wanted, each
# (name, path, where its code is in a block, and how long); and then (offset, length) of that block
GROUPS: dict[str, tuple[int, int, int, int]] = "@groups@"  # type: ignore[assignment]
# (offset, length) of the marshalled index: name -> (offset, length, path, is it a package, time, size)
INDEX: tuple[int, int] = "@index@"  # type: ignore[assignment]
LENGTH: int = "@length@"  # type: ignore[assignment]
# name -> path of a module of Python's own, "" for one that is built in: known, it need not be looked for
OF_PYTHON: dict[str, str] = "@of_python@"  # type: ignore[assignment]

FAMILIES = {
    "create": "create", "run": "create", "start": "start", "exec": "exec", "kill": "stop", "delete": "stop",
    "state": "show", "list": "show", "ps": "show", "features": "show", "spec": "show", "events": "show",
}  # fmt: skip
Module = type(sys)
loaded = sys.modules
# The module of bare_python.c, where we were started by that; and what it must be able to do.
bare: Any = __import__("_bare") if "_bare" in sys.builtin_module_names else None
ABILITIES = 2


def make_of_python(name: str, path: str) -> None:
    """Make a module of Python's own; one that has gone is looked for as usual, by whoever imports it."""
    spec = loaded["_frozen_importlib"].ModuleSpec(name, None, origin=path)
    if not path:
        loaded[name] = _imp.create_builtin(spec)
        _imp.exec_builtin(loaded[name])
        return
    try:
        loaded[name] = _imp.create_dynamic(spec)
    except ImportError:
        return
    _imp.exec_dynamic(loaded[name])


for name, path in OF_PYTHON.items():
    if name not in loaded and not (bare and name == "_ctypes"):
        make_of_python(name, path)

import gc  # noqa: E402
import posix  # noqa: E402
from marshal import loads  # noqa: E402

gc.disable()  # a command lives for milliseconds
waiting: dict[str, tuple[str, Buffer]] = {}  # name -> (path, marshalled code)
index: dict[str, tuple[int, int, str, bool, int, int]] = {}  # read when it is needed


def read(place: tuple[Any, ...]) -> Buffer:
    """Read one part of this file; bare_python.c has mapped it into memory."""
    if bare:
        start = len(bare.program) - LENGTH + place[0]
        part: memoryview = bare.program[start : start + place[1]]
        return part
    fd = posix.open(__file__, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.pread(fd, place[1], posix.fstat(fd).st_size - LENGTH + place[0])
    finally:
        posix.close(fd)


def is_current(path: str, changed: int, size: int) -> bool:
    """Tell whether a source is still the one that was compiled."""
    try:
        status = posix.stat(path)
    except OSError:
        return False
    return status.st_mtime_ns == changed and status.st_size == size


def make(name: str, path: str, is_package: bool, code: CodeType) -> None:
    """Make a module and run its code."""
    module = loaded[name] = Module(name)
    package, _, own = name.rpartition(".")
    if package:
        setattr(loaded[package], own, module)
    names = module.__dict__
    names["__file__"] = path
    if is_package:
        names["__path__"] = [path.rpartition("/")[0]]
    exec(code, names)


def spec_of(name: str, loader: Any, path: str, is_package: bool) -> ModuleSpec:
    """Describe a module to the import system."""
    spec: ModuleSpec = loaded["_frozen_importlib"].ModuleSpec(
        name, loader, origin=path, is_package=is_package
    )
    if is_package:
        spec.submodule_search_locations = [path.rpartition("/")[0]]
    return spec


class InMemory:
    """Finds and loads the modules that were read with the group. It needs no file."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Find a module. See importlib.abc.MetaPathFinder."""
        return spec_of(name, InMemory, waiting[name][0], False) if name in waiting else None

    @staticmethod
    def create_module(_spec: object) -> None:
        """Let the import system make the module as usual."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Run a module's code."""
        module.__file__, code = waiting[module.__name__]
        exec(loads(code), module.__dict__)


class Rest:
    """Stands where Python's own finders will be, and makes them when all others have found nothing."""

    @staticmethod
    def find_spec(_name: str, _path: object = None, _target: object = None) -> None:
        """Finish the start of the interpreter: the finders that it appends are asked next."""
        bare.finish()


class InFile:
    """Finds and loads single modules in this file; all others are looked for as usual."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Find a module. See importlib.abc.MetaPathFinder."""
        if not index:
            index.update(loads(read(INDEX)))
        found = index.get(name)
        if found is None or not is_current(found[2], found[4], found[5]):
            return None
        return spec_of(name, InFile, found[2], found[3])

    @staticmethod
    def create_module(_spec: object) -> None:
        """Let the import system make the module as usual."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Run a module's code."""
        found = index[module.__name__]
        module.__file__ = found[2]
        exec(loads(read(found)), module.__dict__)


def family(words: list[str]) -> str:
    """Guess from the command line which group of modules is wanted; a wrong guess costs time only."""
    if words[0] == "minicontainer":
        return "minicontainer run"
    for word in words[2:]:
        if word in FAMILIES:
            return FAMILIES[word]
    return "stop"


def start(words: list[str]) -> None:
    """Make the group's modules and start the command."""
    flags = sys.orig_argv[1 : -len(sys.argv)]
    if bare and bare.abilities != ABILITIES:  # it was compiled from another checkout
        posix.execv(sys.executable, [sys.executable, *flags, *sys.argv])
    group = GROUPS[family(words)]
    sources, now, later = loads(read(group))
    if not (bare.is_current(sources) if bare else all(is_current(*source) for source in sources)):
        package = __file__.rpartition("/")[0].rpartition("/")[0]
        posix.execv(sys.executable, [sys.executable, *flags, f"{package}/launch.py", *words])
    if bare:
        sys.meta_path.append(Rest)
    for module in now:
        make(*module)
    block = read(group[2:])
    for name, path, begin, length in later:
        waiting[name] = (path, block[begin : begin + length])
    sys.meta_path[:0] = [InMemory, InFile]
    loaded["minicontainer.launch"].main(words)


start(sys.argv[1:])
