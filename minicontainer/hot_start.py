"""The first code of the hot lane's file: it serves the package's modules from memory and starts the command.

`hot_build.refresh` compiles this module and puts the modules' compiled code into the two constants below.
When a module's source is not the one that was compiled, the file starts `launch.py` instead, which reads the
sources and writes it anew.

See <Python>/Lib/importlib/_bootstrap.py; docs/decisions/0001.
"""

import posix
import sys
from marshal import loads

# name -> (compiled code as marshalled bytes, path of the source, is it a package)
MODULES: dict[str, tuple[bytes, str, bool]] = "@modules@"  # type: ignore[assignment]
# (path, time of change in ns, size) of every source
SOURCES: tuple[tuple[str, int, int], ...] = "@sources@"  # type: ignore[assignment]

Spec = sys.modules["_frozen_importlib"].ModuleSpec  # type: ignore[attr-defined]


class HotLane:
    """Finds and loads modules of the package in this file; all others are looked for as usual."""

    @staticmethod
    def find_spec(name, _path=None, _target=None):  # type: ignore[no-untyped-def]
        """Find a module. See importlib.abc.MetaPathFinder."""
        found = MODULES.get(name)
        if found is None:
            return None
        spec = Spec(name, HotLane, origin=found[1], is_package=found[2])
        if found[2]:
            spec.submodule_search_locations.append(found[1].rpartition("/")[0])
        return spec

    @staticmethod
    def create_module(_spec):  # type: ignore[no-untyped-def]
        """Let the import system make the module as usual."""

    @staticmethod
    def exec_module(module):  # type: ignore[no-untyped-def]
        """Run a module's code."""
        found = MODULES[module.__name__]
        module.__file__ = found[1]
        exec(loads(found[0]), module.__dict__)


def is_current() -> bool:
    """Tell whether every source is still the one that was compiled."""
    try:
        for path, changed, size in SOURCES:
            status = posix.stat(path)
            if status.st_mtime_ns != changed or status.st_size != size:
                return False
    except OSError:
        return False
    return True


if is_current():
    sys.meta_path.insert(0, HotLane)
    from minicontainer import launch

    launch.main(sys.argv[1:])
else:
    package = __file__.rpartition("/")[0].rpartition("/")[0]
    posix.execv(sys.executable, [*sys.orig_argv[:-len(sys.argv)], f"{package}/launch.py", *sys.argv[1:]])  # fmt: skip
