"""The start of both commands: one interpreter, started bare, and one file with all modules of the hot lane.

    launcher (sh) -> python -I -S __pycache__/hot-lane.TAG.pyc COMMAND LIBRARIES ARGUMENTS...
                     (or this file, when that one is missing or older than a module: it is then written anew)

Looking for 70 modules one by one costs 6 ms; making them from one file, 3. The hot lane's file is to the
package what a .pyc is to a module, and lies where Python keeps those. Nothing else of a virtual environment
is looked at: libraries become importable when `reach_libraries` is called, on the way to something that needs
them.

See docs/decisions/0001; `python -h` on -I and -S.
"""

from __future__ import annotations

import gc
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = __file__.rpartition("/")[0]
libraries = ""
FAILURE = 70  # sysexits(3) EX_SOFTWARE: a bug, with its traceback


def finish_interpreter() -> None:
    """Start the rest of Python, where it was started by bare_python.c: sys.path, sys.stdout, codecs, open."""
    if "_bare" in sys.builtin_module_names:
        import _bare

        _bare.finish()


def reach_libraries() -> None:
    """Make third-party libraries and the package's own parent directory importable. For cold code only."""
    finish_interpreter()
    for path in (PACKAGE.rpartition("/")[0], libraries):
        if path and path not in sys.path:
            sys.path.append(path)


def main(words: list[str]) -> None:
    """Run the command that the launcher names. Does not return."""
    global libraries
    gc.disable()  # a command lives for milliseconds
    command, libraries, *arguments = words
    try:
        code = choose(command)(arguments)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        finish_interpreter()
        sys.excepthook(*sys.exc_info())
        code = FAILURE
    for name in ("stdout", "stderr"):
        try:
            stream = getattr(sys, name, None)  # None is what the caller has closed, or nobody has asked for
            if stream:
                stream.flush()
        except (OSError, ValueError):
            code = code or 1
    posix._exit(code)


def choose(command: str) -> Callable[[list[str]], int]:
    """Import the main function of a command."""
    if command == "minicontainer-runtime":
        from minicontainer.runtime import main as program
    else:
        from minicontainer.cli import main as program  # type: ignore[no-redef]
    return program.main


if __name__ == "__main__":
    sys.path.append(PACKAGE.rpartition("/")[0])
    from minicontainer import launch
    from minicontainer.hot_build import make_all_modules, refresh

    refresh()
    make_all_modules()
    launch.main(sys.argv[1:])
